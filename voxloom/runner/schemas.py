"""What a file must hold: the datasets that runners fetch and post, by name, with their checks.

Authors write their own by deriving from DataSchema. Unknown datasets are dropped, or kept with
`model_config = ConfigDict(extra="allow")`. A field that may be absent has the default None.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from voxloom.imagerules import dtype_fault, shape_fault

__all__ = [
    "AlignmentSchema",
    "DataSchema",
    "EmbeddingSchema",
    "GenericSchema",
    "ImageSchema",
    "MeshSchema",
    "MultiRegionSegmentationSchema",
    "SegmentationSchema",
    "VolumeSchema",
]


class DataSchema(BaseModel):
    """The base of all schemas; by itself it names no dataset."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


class GenericSchema(DataSchema):
    """One array of any shape and dtype."""

    data: np.ndarray


class SegmentationSchema(DataSchema):
    """One mask of any shape and dtype."""

    mask: np.ndarray


class MultiRegionSegmentationSchema(DataSchema):
    """One 2-D mask per region, all of one shape, with a name for each."""

    region_names: list[str]
    region_masks: list[np.ndarray]

    @model_validator(mode="after")
    def _check_regions(self) -> MultiRegionSegmentationSchema:
        names, masks = self.region_names, self.region_masks
        if len(names) != len(masks):
            raise ValueError(f"there are {len(names)} region_names for {len(masks)} region_masks: give one per mask")
        for index, mask in enumerate(masks):
            if mask.ndim != 2:
                raise ValueError(f"region_masks[{index}] has the shape {mask.shape}: a mask must be 2-D (H, W)")
            if mask.shape != masks[0].shape:
                raise ValueError(f"region_masks[{index}] is {mask.shape}, the first {masks[0].shape}: give one shape")
        return self


class ImageSchema(DataSchema):
    """One image: (H, W) grey or (3, H, W) colour; uint8, uint16, float16, float32 or float64."""

    image: np.ndarray
    mask: np.ndarray | None = None
    points: list[np.ndarray] | None = None

    @field_validator("image")
    @classmethod
    def _check_image(cls, image: np.ndarray) -> np.ndarray:
        if (fault := shape_fault(image.shape) or dtype_fault(image.dtype)) is not None:
            raise ValueError(f"image {fault}")
        return image


class VolumeSchema(DataSchema):
    """One volume (Z, Y, X) of any dtype."""

    volume: np.ndarray
    mask: np.ndarray | None = None
    points: list[np.ndarray] | None = None
    stats: str | None = None

    @field_validator("volume")
    @classmethod
    def _check_volume(cls, volume: np.ndarray) -> np.ndarray:
        if volume.ndim != 3:
            raise ValueError(f"volume has the shape {volume.shape}: it must be 3-D")
        return volume


class MeshSchema(DataSchema):
    """Vertices (N, 3) float64; faces (M, 3) int64, which point into the vertices."""

    vertices: np.ndarray
    faces: np.ndarray
    stats: str | None = None

    @field_validator("vertices")
    @classmethod
    def _check_vertices(cls, vertices: np.ndarray) -> np.ndarray:
        return _check_rows_of_three("vertices", vertices, np.dtype(np.float64))

    @field_validator("faces")
    @classmethod
    def _check_faces(cls, faces: np.ndarray) -> np.ndarray:
        return _check_rows_of_three("faces", faces, np.dtype(np.int64))


class AlignmentSchema(DataSchema):
    """How one image lies on the next: matched points, their confidence, homogeneous matrices."""

    points1: list[np.ndarray] | None = []
    points2: list[np.ndarray] | None = []
    confidence: list[float] | None = []
    transform_matrix: np.ndarray | None = None
    translation_matrix: np.ndarray | None = None


class EmbeddingSchema(DataSchema):
    """Features of one image; the sizes are (H, W) in pixels, as the model saw it and as it came."""

    features: np.ndarray
    input_size: tuple[Any, ...]
    original_size: tuple[Any, ...]


def _check_rows_of_three(name: str, rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype != dtype:
        raise ValueError(f"{name} is {rows.shape} of {rows.dtype}: it must be (N, 3) of {dtype}")
    return rows


# --- between files and schemas ----------------------------------------------------------------------------


def wanted_names(schema: type[DataSchema], keys: Iterable[str]) -> list[str] | None:
    """The datasets to read for this schema, limited to `keys` where there are any; None: all that there are."""
    open_ended = schema.model_config.get("extra") == "allow"
    if keys := tuple(keys):
        return [key for key in keys if open_ended or key in schema.model_fields]
    return None if open_ended else list(schema.model_fields)


def from_file(schema: type[DataSchema], datasets: Mapping[str, Any]) -> dict[str, Any]:
    """What an author gets for the raw datasets of a file: every field of the schema, checked.

    Raises pydantic's ValidationError."""
    kinds = _field_kinds(schema)
    fitted = {name: _fit(value, kinds.get(name, "any")) for name, value in datasets.items()}
    return schema.model_validate(fitted).model_dump()


def for_file(schema: type[DataSchema], item: Any) -> dict[str, Any]:
    """The values that are to be written, checked; those that are None have been left out.

    Raises pydantic's ValidationError."""
    dumped = schema.model_validate(item).model_dump()
    return {name: value for name, value in dumped.items() if value is not None}


@lru_cache(maxsize=256)
def _field_kinds(schema: type[DataSchema]) -> dict[str, str]:
    return {name: _kind(field.annotation) for name, field in schema.model_fields.items()}


def _kind(annotation: Any) -> str:
    """`array`, `arrays` (a list of them), `any`, or `plain` (Python values only)."""
    if annotation in (Any, object):
        return "any"
    if _base(annotation) is np.ndarray:
        return "array"
    members = [_kind(member) for member in get_args(annotation)]
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return next((kind for kind in ("array", "arrays", "any") if kind in members), "plain")
    return "arrays" if {"array", "arrays"} & set(members) else "plain"


def _base(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _fit(value: Any, kind: str) -> Any:
    """HDF5 does not tell a list of arrays from an array, nor a number from an array of rank 0: the field does."""
    if isinstance(value, np.generic):
        return np.array(value) if kind == "array" else value.item()
    if isinstance(value, np.ndarray):
        if kind == "arrays":
            return list(value)
        if kind == "plain":
            return value.tolist()
    return value
