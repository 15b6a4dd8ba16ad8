"""TIFF files as images: which of their axes are colours, what they lack to be read, and where their pixels go.

Everything else about image files is in `voxloom.imagefiles`, which alone calls this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxloom.errors import InvalidInput
from voxloom.imagemeta import Meta, checked_axes
from voxloom.tiffmeta import axes_of, read_meta
from voxloom.tiffwhole import check_whole, losses_told

Array = NDArray[Any]

SEPARATE = 2
"""Planar configuration: one plane for each colour."""


class ImageArray:
    """The pixels of an image, colours before height and width, and what is known of them."""

    def __init__(self, pixels: Array, meta: Meta | None, *, colour: bool = False) -> None:
        self.pixels = pixels
        self.meta = meta
        self.colour = colour
        """It is one image of three axes, colours first: not a stack, though it looks like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    @property
    def dtype(self) -> Any:
        return self.pixels.dtype

    def __getitem__(self, index: Any, /) -> Any:
        return self.pixels[index]


def arranged(pixels: Array, axes: str) -> ImageArray:
    """An array whose axes somebody has told. Raises InvalidInput where they cannot be its."""
    pixels, axes = _colours_first(pixels, checked_axes(axes, pixels.shape))
    return ImageArray(pixels, Meta(axes=axes), colour=is_one_colour_image(axes))


def is_one_colour_image(axes: str) -> bool:
    return len(axes) == 3 and axes[0] == "s"


def open_tiff(path: Path, axes: str | None = None) -> ImageArray:
    """The image or stack, mapped where it lies plain in the file, else decoded.

    `axes`: those of the array as the file has it, in place of what the file says. Raises InvalidInput."""
    import tifffile

    try:
        with losses_told(path), tifffile.TiffFile(path) as file:
            series = _sole_series(path, file)
            check_whole(path, file, series)
            known = checked_axes(axes, series.shape) if axes is not None else _axes(path, file, series)
            pixels, known = _colours_first(_pixels(path, series, file.byteorder), known)
            return ImageArray(pixels, read_meta(file, series.kind, known), colour=is_one_colour_image(known))
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


def _axes(path: Path, file: Any, series: Any) -> str:
    """Raises InvalidInput where nobody can tell slices from colours: tifffile lays three slices out as red, green and
    blue, unless it is told otherwise."""
    page = file.pages.first
    guessed = series.kind == "shaped" and '"axes"' not in str(page.shaped_description)
    if guessed and series.axes == "SYX" and page.planarconfig == SEPARATE:
        count = series.shape[0]
        raise InvalidInput(
            f"{path} may be {count} slices or one image in {count} colours: tifffile saves both alike. Say --axes zyx "
            "for slices, --axes syx for colours (axes= in Python), or save it with metadata={'axes': 'ZYX'} or 'SYX'.",
            code="axes_unknown",
        )
    return axes_of(series.axes)


def _pixels(path: Path, series: Any, byte_order: str) -> Array:
    if series.dataoffset is None or series.dtype.kind not in "uifcb":
        return np.asarray(series.asarray())
    return np.memmap(path, series.dtype.newbyteorder(byte_order), "r", series.dataoffset, series.shape)


def _colours_first(pixels: Array, axes: str) -> tuple[Array, str]:
    if "s" not in axes:
        return pixels, axes
    rest = axes.replace("s", "")
    return np.moveaxis(pixels, axes.index("s"), -3), f"{rest[:-2]}s{rest[-2:]}"


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
    if dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise InvalidInput(f"{path} cannot hold {dtype}: TIFF keeps 64 bits of a number; use .npy or .h5.")
    if len(shape) < 2 or 0 in shape:
        raise InvalidInput(f"{path} cannot hold an array of shape {shape}: TIFF keeps images; use .npy or .h5.")


def lay_out_tiff(draft: Path, shape: tuple[int, ...], dtype: np.dtype[Any], how: dict[str, Any]) -> int:
    """Makes a file with room for an array, whose pixels are yet to be written; where they begin.

    `how`: see `tiffmeta.layout`.
    """
    import tifffile

    begin: int
    begin, _ = tifffile.imwrite(draft, None, shape=shape, dtype=dtype, returnoffset=True, **how) or (0, 0)
    return begin
