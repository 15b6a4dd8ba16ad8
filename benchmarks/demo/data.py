"""The stack that the demo runs on: a real micrograph, or a file of yours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage import data

from voxloom.errors import InvalidInput
from voxloom.imagefiles import Array, is_colour, open_image, read_item

DTYPES = ("uint8", "uint16", "float16", "float32", "float64")

FIELD = 256  # pixels
STEP = 128


def micrograph_stack() -> Array:
    """Nine fields of a real micrograph, (9, 256, 256) uint8: a tile scan in which neighbours overlap by half.

    The micrograph is `skimage.data.immunohistochemistry`, which the scikit-image wheel carries: colonic glands, FHL2
    protein stained brown with DAB, nuclei blue with hematoxylin; made at the Center for Microscopy and Molecular
    Imaging (CMMI), no known copyright restrictions. Brown absorbs blue, so the blue channel, inverted, is bright
    where the stain is. The slices lie side by side in the specimen: this is no focus series.
    """
    stain = 255 - data.immunohistochemistry()[..., 2]
    corners = range(0, stain.shape[0] - FIELD + 1, STEP)
    return np.stack([stain[y : y + FIELD, x : x + FIELD] for y in corners for x in corners])


def stack_from(path: Path, dataset: str | None = None) -> Array:
    """The grey images in a .h5, .npy or .tif file, (N, H, W); a single one becomes a stack of one.

    Raises InvalidInput or NotFound with one sentence that says what to do.
    """
    with open_image(path, dataset) as source:
        if is_colour(source):
            raise InvalidInput(f"{path} is a colour image; convert it to grey first.")
        stack = read_item(source, None).copy()
    if stack.ndim == 2:
        stack = stack[np.newaxis]
    if stack.ndim != 3 or stack.size == 0:
        raise InvalidInput(f"{path} holds an array of shape {stack.shape}; give an image (H, W) or a stack (N, H, W).")
    if stack.dtype.name not in DTYPES:
        raise InvalidInput(f"{path} holds {stack.dtype.name}; convert it to one of {', '.join(DTYPES)}.")
    if not np.isfinite(stack).all():
        raise InvalidInput(f"{path} holds NaN or infinite values; replace them first.")
    return stack.astype(stack.dtype.newbyteorder("="), copy=False)
