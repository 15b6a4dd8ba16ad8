"""What algorithm authors import. Nothing of the server is imported with it."""

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
