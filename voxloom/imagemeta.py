"""What an image means beside its numbers: axes, voxel size, unit.

It is kept as JSON in the HDF5 attribute `voxloom` of the dataset that has the numbers, and nowhere else. What is not
known is not in it; where nothing is known there is no attribute. Equal images have equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from voxloom.errors import InvalidInput

ATTRIBUTE = "voxloom"
LARGEST = 32 << 10
"""Bytes of the JSON."""
SPACE = "zyx"
COLOURS = frozenset("cs")

_NAMES = {
    "angstrom": ("a", "å", "angstrom", "angstroms", "ångström"),
    "nanometer": ("nm", "nanometer", "nanometre", "nanometers", "nanometres"),
    "micrometer": ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre", "micrometers"),
    "millimeter": ("mm", "millimeter", "millimetre", "millimeters"),
    "centimeter": ("cm", "centimeter", "centimetre", "centimeters"),
    "meter": ("m", "meter", "metre", "meters"),
    "inch": ("in", "inch", "inches", '"'),
    "picometer": ("pm", "picometer", "picometre"),
    "millisecond": ("ms", "msec", "millisecond", "milliseconds"),
    "second": ("s", "sec", "second", "seconds"),
    "minute": ("min", "minute", "minutes"),
    "hour": ("h", "hr", "hour", "hours"),
}
_BY_SPELLING = {spelling: name for name, spellings in _NAMES.items() for spelling in spellings}
METERS = {
    "picometer": 1e-12,
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}


def unit_named(spelling: object) -> str | None:
    """The unit as NGFF names it; None for pixels, and for what is none."""
    return _BY_SPELLING.get(str(spelling).strip().lower())


def _checked_axes(axes: str) -> str:
    single = [axis for axis in axes if axis != "n"]
    if not set(axes) <= set("tczyxsn") or len(set(single)) < len(single):
        raise ValueError(f"{axes!r} are no axes: each is one of t, c, z, y, x, s (colours) and n, once")
    return axes


Axes = Annotated[str, AfterValidator(_checked_axes)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


Spacing = dict[Literal["z", "y", "x"], Length]


class Source(BaseModel):
    """The format that an image came from, and what only that format has a place for."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: str | None = None
    unit: str | None = None
    """As the file spells it."""
    resolution: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Of a print: dots per `resolution_unit` along x and y, as fractions. No size of a voxel."""
    resolution_unit: Literal["inch", "centimeter"] | None = None


class Slice(BaseModel):
    """Which item of a stack this is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    axes: Axes
    shape: list[int]
    at: list[int]
    spacing: Spacing = {}


class Meta(BaseModel):
    """Of one array. Fields that this version does not know are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    v: Literal[1] = 1
    axes: Axes
    """One letter per axis of the array, in its order."""
    spacing: Spacing = {}
    """Of voxels along the axes z, y and x, in `unit`; an axis that is not known is not in it."""
    unit: str | None = None
    time_step: Length | None = None
    time_unit: str | None = None
    slice: Slice | None = None
    source: Source = Source()

    def text(self) -> str:
        """As JSON; the same for the same meaning."""
        told = {name: value for name, value in self.model_dump(exclude_none=True).items() if value not in ({}, [])}
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def with_changes(self, **changes: Any) -> Self:
        return self.model_copy(update=changes)


def parse(text: object) -> Meta | None:
    """None for what is none of ours: the attribute may be another program's, or of a later version."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if not isinstance(text, str) or len(text) > LARGEST:
        return None
    try:
        return Meta.model_validate_json(text)
    except ValidationError:
        return None


def checked_axes(axes: str, shape: Sequence[int]) -> str:
    """Axes that a person has typed for an array. Raises InvalidInput where they cannot be its."""
    try:
        Meta(axes=axes)
    except ValidationError as error:
        raise InvalidInput(f"{error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
    if len(axes) != len(shape):
        raise InvalidInput(f"The axes {axes!r} are {len(axes)}, and the array has {len(shape)}: {tuple(shape)}.")
    return axes


# --- stacks and their items -------------------------------------------------------------------------------


def item_of(meta: Meta, index: int, count: int) -> Meta:
    """Of one item along the first axis, `index` of `count`."""
    first, rest = meta.axes[0], meta.axes[1:]
    along = {axis: size for axis, size in meta.spacing.items() if axis == first}
    place = Slice(axes=first, shape=[count], at=[index], spacing=along) if first != "n" else None
    left = {axis: size for axis, size in meta.spacing.items() if axis != first}
    return meta.with_changes(axes=rest, spacing=left, slice=place)


def stack_of(first: Meta, count: int) -> Meta:
    """Of a stack of `count` items whose first one has this: the stack that it was taken from, or one of any images."""
    place = first.slice
    if place is None or place.shape != [count] or place.at != [0] or set(place.axes) & set(first.axes):
        return first.with_changes(axes=f"n{first.axes}", slice=None)
    return first.with_changes(axes=place.axes + first.axes, spacing={**place.spacing, **first.spacing}, slice=None)


def follows(meta: Meta | None, first: Meta, index: int) -> bool:
    """Whether `meta` is of the item `index` of the stack that begins with `first`."""
    if meta is None or first.slice is None:
        return meta == first
    return meta == first.with_changes(slice=first.slice.model_copy(update={"at": [index]}))


# --- through a run ----------------------------------------------------------------------------------------


def inherited(meta: Meta, given: Sequence[int], made: Sequence[int], *, labels: bool = False) -> Meta | None:
    """Of an output of shape `made` that stands for an input of shape `given`; None where nothing can be said.

    Another height or width may be a crop or another scale: then sizes of voxels are not known any more."""
    axes = meta.axes
    if len(made) == len(given) - 1 and axes[0] in COLOURS:
        axes = axes[1:]
    if len(axes) != len(made) or len(made) < 2:
        return None
    foreign = {name: None for name in (("channels", "values") if labels else ()) if name in (meta.model_extra or {})}
    if tuple(made[-2:]) == tuple(given[-2:]):
        return meta.with_changes(axes=axes, **foreign)
    place = {name: None for name in ("origin", "orientation") if name in (meta.model_extra or {})}
    known = {axis: size for axis, size in meta.spacing.items() if axis not in "yx"}
    return meta.with_changes(axes=axes, spacing=known, source=Source(), **foreign, **place)


def converted(size: float, unit: str | None, to: str | None) -> float:
    """`size` in another unit; as it is where one of the two is no length."""
    if unit == to or unit not in METERS or to not in METERS:
        return size
    return size * METERS[unit] / METERS[to]


def positive(value: object) -> float | None:
    """A size as files have them; None for what is none."""
    try:
        size = float(value)  # type: ignore[arg-type]  # it may be anything
    except (TypeError, ValueError):
        return None
    return size if size > 0 and math.isfinite(size) else None
