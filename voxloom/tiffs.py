"""TIFF files as images: which of their axes are colours, what they lack to be read, and where their pixels go.

Everything else about image files is in `voxloom.imagefiles`, which alone calls this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxloom.errors import InvalidInput
from voxloom.tiffwhole import check_whole, losses_told

Array = NDArray[Any]


@dataclass(frozen=True)
class ColourImage:
    """One image of three axes, colours first: not a stack, though it looks like one."""

    pixels: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    @property
    def dtype(self) -> Any:
        return self.pixels.dtype

    def __getitem__(self, index: Any, /) -> Any:
        return self.pixels[index]


def open_tiff(path: Path) -> Array | ColourImage:
    """The image or stack, mapped where it lies plain in the file, else decoded. Colours come before height and width.

    Raises InvalidInput."""
    import tifffile

    try:
        with losses_told(path), tifffile.TiffFile(path) as file:
            series = _sole_series(path, file)
            check_whole(path, file, series)
            return _colours_first(_pixels(path, series, file.byteorder), series.axes)
    except InvalidInput:
        raise
    except Exception as error:  # a broken file makes tifffile raise whatever comes of its numbers
        raise _no_tiff(path, error) from error


def _sole_series(path: Path, file: Any) -> Any:
    if len(file.series) > 1:
        shapes = ", ".join(str(series.shape) for series in file.series[:5])
        raise InvalidInput(
            f"{path} holds {len(file.series)} images that make no stack ({shapes}); save the one you mean by itself."
        )
    return file.series[0]


def _pixels(path: Path, series: Any, byte_order: str) -> Array:
    if series.dataoffset is None or series.dtype.kind not in "uifcb":
        return np.asarray(series.asarray())
    return np.memmap(path, series.dtype.newbyteorder(byte_order), "r", series.dataoffset, series.shape)


def _colours_first(pixels: Array, axes: str) -> Array | ColourImage:
    if "S" not in axes:
        return pixels
    pixels = np.moveaxis(pixels, axes.index("S"), -3)
    return ColourImage(pixels) if pixels.ndim == 3 else pixels


def _no_tiff(path: Path, error: Exception) -> InvalidInput:
    if "imagecodecs" in str(error):
        how = str(error).partition(" requires")[0].strip("<>").partition(":")[0].removeprefix("COMPRESSION.")
        return InvalidInput(
            f"{path} is compressed ({how}), which takes another package to read: pip install imagecodecs. "
            "Or save it without compression."
        )
    return InvalidInput(f"{path} cannot be read as TIFF; check that the file is whole, or convert it to .npy or .h5.")


def check_tiff(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raises InvalidInput for an array that no TIFF keeps."""
    if dtype.kind not in "uifc":
        raise InvalidInput(f"{path} cannot hold {dtype}: TIFF keeps numbers only; use .npy or .h5.")
    if len(shape) < 2 or 0 in shape:
        raise InvalidInput(f"{path} cannot hold an array of shape {shape}: TIFF keeps images; use .npy or .h5.")


def lay_out_tiff(draft: Path, shape: tuple[int, ...], dtype: np.dtype[Any], colour: bool) -> int:
    """Makes a file with room for an array, whose pixels are yet to be written; where they begin.

    `colour`: the third axis from the end is that of red, green and blue.
    """
    import tifffile

    layout: dict[str, Any] = {"photometric": "minisblack"}
    if colour:
        layout = {"photometric": "rgb", "planarconfig": "separate"}
    begin: int
    begin, _ = tifffile.imwrite(draft, None, shape=shape, dtype=dtype, returnoffset=True, **layout) or (0, 0)
    return begin
