"""What algorithm authors import. Nothing of the server is imported with it.

Names are loaded when they are first used: a worker speaks in `voxloom.runner.frames` and needs neither numpy nor h5py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxloom.runner.base import BaseRunner, Runner
    from voxloom.runner.exceptions import (
        AssetNotFound,
        InvalidDataset,
        InvalidOutputs,
        InvalidShape,
        NoRun,
        TaskStoppedException,
        WrongType,
    )
    from voxloom.runner.family import (
        Image2AlignmentRunner,
        Image2EmbeddingRunner,
        Image2ImageRunner,
        Image2MultiRegionSegmentationRunner,
        Image2SegmentationRunner,
        Segmentation2SegmentationRunner,
    )
    from voxloom.runner.handler import TaskHandler
    from voxloom.runner.schemas import (
        AlignmentSchema,
        DataSchema,
        EmbeddingSchema,
        GenericSchema,
        ImageSchema,
        MeshSchema,
        MultiRegionSegmentationSchema,
        SegmentationSchema,
        VolumeSchema,
    )

_NAMES = {
    "base": ("BaseRunner", "Runner"),
    "exceptions": (
        *("AssetNotFound", "InvalidDataset", "InvalidOutputs", "InvalidShape", "NoRun", "TaskStoppedException"),
        "WrongType",
    ),
    "family": (
        *("Image2AlignmentRunner", "Image2EmbeddingRunner", "Image2ImageRunner"),
        *("Image2MultiRegionSegmentationRunner", "Image2SegmentationRunner", "Segmentation2SegmentationRunner"),
    ),
    "handler": ("TaskHandler",),
    "schemas": (
        *("AlignmentSchema", "DataSchema", "EmbeddingSchema", "GenericSchema", "ImageSchema", "MeshSchema"),
        *("MultiRegionSegmentationSchema", "SegmentationSchema", "VolumeSchema"),
    ),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "AlignmentSchema",
    "AssetNotFound",
    "BaseRunner",
    "DataSchema",
    "EmbeddingSchema",
    "GenericSchema",
    "Image2AlignmentRunner",
    "Image2EmbeddingRunner",
    "Image2ImageRunner",
    "Image2MultiRegionSegmentationRunner",
    "Image2SegmentationRunner",
    "ImageSchema",
    "InvalidDataset",
    "InvalidOutputs",
    "InvalidShape",
    "MeshSchema",
    "MultiRegionSegmentationSchema",
    "NoRun",
    "Runner",
    "Segmentation2SegmentationRunner",
    "SegmentationSchema",
    "TaskHandler",
    "TaskStoppedException",
    "VolumeSchema",
    "WrongType",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look-up finds it without us
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
