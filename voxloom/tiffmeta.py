"""Axes and voxel sizes of TIFF files, in and out.

| written by | says                                                                                        |
|------------|---------------------------------------------------------------------------------------------|
| ImageJ     | unit, spacing of slices and time step in its text; X- and YResolution are pixels per unit   |
| OME        | PhysicalSizeX, Y and Z with their units (µm where there is none), TimeIncrement             |
| others     | X- and YResolution, which are for printers: handed on as they are, no size of a voxel       |
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from voxloom.imagemeta import METERS, SPACE, Meta, converted, parse, positive, unit_named

_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": "s"}
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_LARGEST = 1 << 31
_OME_DTYPES = (*("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"), "complex64")
_IMAGEJ_UNITS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}
_OME_UNITS = {
    **{"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"},
    **{"inch": "in", "angstrom": "Å", "picometer": "pm"},
}
_TIME_UNITS = {"second": "s", "millisecond": "ms", "minute": "min", "hour": "h"}
_PRINTED = {2: "inch", 3: "centimeter"}


def axes_of(letters: str) -> str:
    """As Meta has them, of tifffile's; what Meta has no letter for is a row of items."""
    return "".join(_LETTERS.get(letter, "n") for letter in letters)


def read_meta(file: Any, kind: str, axes: str) -> Meta | None:
    """None where the file says nothing but that there are images. `kind` is tifffile's, of the series."""
    if kind == "imagej":
        known = _imagej(file)
    elif kind == "ome":
        known = _ome(file.ome_metadata)
    else:
        known = _plain(file.pages.first)
    spacing = {axis: size for axis in axes if axis in SPACE and (size := known.pop(axis, None)) is not None}
    if not spacing and not known and not set(axes) - set("nyxs"):
        return None
    known["source"] = {"format": kind if kind in ("imagej", "ome") else "tiff", **known.pop("source", {})}
    return Meta(axes=axes, spacing=spacing, **{name: known[name] for name in known if name not in SPACE})


def _imagej(file: Any) -> dict[str, Any]:
    about = file.imagej_metadata or {}
    unit = unit_named(about.get("unit", ""))
    x, y = (_inverse(file.pages.first, name) for name in ("XResolution", "YResolution"))
    known: dict[str, Any] = {"x": x, "y": y, "z": positive(about.get("spacing"))}
    if unit is not None:
        known |= {"unit": unit, "source": {"unit": str(about["unit"])}}
    elif (x, y) == (1.0, 1.0) and known["z"] in (None, 1.0):  # so it writes images of which it knows no size
        known = {}
    if (step := positive(about.get("finterval"))) is not None:
        known |= {"time_step": step, "time_unit": unit_named(about.get("tunit", "s")) or "second"}
    return {name: value for name, value in known.items() if value is not None}


def _inverse(page: Any, name: str) -> float | None:
    value = page.tags.valueof(name)
    if isinstance(value, tuple) and len(value) == 2:
        return positive(value[1] / value[0]) if value[0] and value[1] else None
    return None


def _ome(description: str) -> dict[str, Any]:
    root = ElementTree.fromstring(description)  # noqa: S314 - tifffile has parsed it before
    pixels = next((one for one in root.iter() if one.tag.endswith("Pixels")), None)
    if pixels is None:
        return {}
    sizes = {axis: positive(pixels.get(f"PhysicalSize{axis.upper()}")) for axis in SPACE}
    units = {axis: unit_named(pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")) for axis in SPACE}
    known: dict[str, Any] = {
        axis: converted(size, units[axis], units["x"]) for axis, size in sizes.items() if size is not None
    }
    if known and units["x"] is not None:
        known["unit"] = units["x"]
    if (step := positive(pixels.get("TimeIncrement"))) is not None:
        known |= {"time_step": step, "time_unit": unit_named(pixels.get("TimeIncrementUnit", "s")) or "second"}
    return known


def _plain(page: Any) -> dict[str, Any]:
    if (ours := _ours(page)) is not None:
        spacing = ours.pop("spacing", {})
        return {**spacing, **{name: value for name, value in ours.items() if name not in ("v", "axes")}}
    unit = _PRINTED.get(int(page.tags.valueof("ResolutionUnit") or 0))
    sizes = [_inverse(page, name) for name in ("XResolution", "YResolution")]
    if unit is None or None in sizes or sizes == [1.0, 1.0]:
        return {}
    printed = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    return {"source": {"resolution": [list(one) for one in printed], "resolution_unit": unit}}


def _ours(page: Any) -> dict[str, Any] | None:
    try:
        told = json.loads(page.description)["voxloom"]
    except (ValueError, KeyError, TypeError):
        return None
    meta = parse(json.dumps(told))
    return None if meta is None else json.loads(meta.text())


# --- out --------------------------------------------------------------------------------------------------


def layout(
    path: Path, shape: Sequence[int], dtype: np.dtype[Any], meta: Meta | None, *, colour: bool
) -> dict[str, Any]:
    """What tifffile's `imwrite` is told: as ImageJ has it, as OME has it, or else plain, with the meta beside it."""
    how: dict[str, Any] = {"photometric": "minisblack"}
    colour = colour if meta is None else "s" in meta.axes
    if colour:
        how = {"photometric": "rgb", "planarconfig": "separate"}
    if meta is None or len(meta.axes) != len(shape):
        # The axes tell colours from three slices, which are laid out in the same way.
        return {**how, "metadata": {"axes": "QQQ"[: len(shape) - 3] + "SYX"}} if colour else how
    single = set(meta.axes) <= set("tczyxs") and meta.axes.endswith("yx")
    wants_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff")) or meta.source.format == "ome"
    printed = meta.source.resolution is not None and not meta.spacing
    if single and not printed and not wants_ome and not colour and _fits_imagej(shape, dtype, meta):
        return {**how, **_as_imagej(meta)}
    if single and not printed and dtype.name in _OME_DTYPES:
        return {**how, **_as_ome(meta)}
    return {**how, **_as_plain(meta)}


def _fits_imagej(shape: Sequence[int], dtype: np.dtype[Any], meta: Meta) -> bool:
    in_order = "".join(axis for axis in "tzcyx" if axis in meta.axes)
    return (
        dtype.name in _IMAGEJ_DTYPES
        and math.prod(shape) * dtype.itemsize < _IMAGEJ_LARGEST
        and meta.axes == in_order
        and set(meta.spacing) in (set(), {"y", "x"}, set("zyx"))
    )


def _as_imagej(meta: Meta) -> dict[str, Any]:
    told: dict[str, Any] = {"axes": meta.axes.upper()}
    if meta.unit is not None:
        given = meta.source.unit
        told["unit"] = given if unit_named(given) == meta.unit else _IMAGEJ_UNITS.get(meta.unit, meta.unit)
    if "z" in meta.spacing:
        told["spacing"] = meta.spacing["z"]
    if meta.time_step is not None:
        told |= {"finterval": meta.time_step, "tunit": _TIME_UNITS.get(meta.time_unit or "second", meta.time_unit)}
    how: dict[str, Any] = {"imagej": True, "metadata": told, "byteorder": "<" if sys.byteorder == "little" else ">"}
    if "x" in meta.spacing:
        how |= {"resolution": (1 / meta.spacing["x"], 1 / meta.spacing["y"]), "resolutionunit": "NONE"}
    return how


def _as_ome(meta: Meta) -> dict[str, Any]:
    told: dict[str, Any] = {"axes": meta.axes.upper()}
    for axis, size in meta.spacing.items():
        told[f"PhysicalSize{axis.upper()}"] = size
        told[f"PhysicalSize{axis.upper()}Unit"] = _OME_UNITS.get(meta.unit or "", "pixel")
    if meta.time_step is not None:
        told |= {"TimeIncrement": meta.time_step, "TimeIncrementUnit": _TIME_UNITS.get(meta.time_unit or "", "s")}
    return {"ome": True, "metadata": told}


def _as_plain(meta: Meta) -> dict[str, Any]:
    letters = "".join("Q" if axis == "n" else axis.upper() for axis in meta.axes)
    how: dict[str, Any] = {"metadata": {"axes": letters, "voxloom": json.loads(meta.text())}}
    if meta.source.resolution is not None:
        return {**how, "resolution": meta.source.resolution, "resolutionunit": meta.source.resolution_unit}
    if meta.unit in METERS and {"x", "y"} <= set(meta.spacing):
        x, y = (converted(size, meta.unit, "centimeter") for size in (meta.spacing["x"], meta.spacing["y"]))
        how |= {"resolution": (1 / x, 1 / y), "resolutionunit": "CENTIMETER"}
    return how
