"""The schemas under the name that authors know them by."""

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
    "DataSchema",
    "EmbeddingSchema",
    "GenericSchema",
    "ImageSchema",
    "MeshSchema",
    "MultiRegionSegmentationSchema",
    "SegmentationSchema",
    "VolumeSchema",
]
