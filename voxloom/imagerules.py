"""What `ImageSchema` takes, told of a shape and a dtype alone: runners check what they read, clients what they send."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IMAGE_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
SCHEMA = "ImageSchema"


def shape_fault(shape: Sequence[int]) -> str | None:
    """What is wrong with the shape of an image; None: nothing."""
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 3):
        return None
    return f"has the shape {tuple(shape)}: it must be (H, W), or (3, H, W) for colour"


def dtype_fault(dtype: np.dtype) -> str | None:
    if dtype.isnative and dtype.name in IMAGE_DTYPES:
        return None
    name = dtype.name if dtype.isnative else f"{dtype.name} ({dtype.str})"
    return f"has the dtype {name}: it must be uint8, uint16, float16, float32 or float64, in native byte order"


def advice(shape: Sequence[int], dtype: np.dtype) -> str:
    """What to do with an image that has a fault, as the end of a sentence."""
    if shape_fault(shape) is not None:
        return _shape_advice(shape)
    if dtype.name == "bool":
        return "convert it with .astype('uint8')"
    if dtype.name in ("int8", "int16"):
        return "convert it with .astype('float32'), which keeps every value"
    if dtype.name in ("int32", "uint32"):
        return "convert it with .astype('float64'), which keeps every value"
    return "convert it to one of these"


def _shape_advice(shape: Sequence[int]) -> str:
    if len(shape) == 3 and shape[0] == 4:
        return "of red, green, blue and alpha send the first three"
    if len(shape) == 3:
        return f"of {shape[0]} channels send one at a time"
    return "send one stack of images at a time"
