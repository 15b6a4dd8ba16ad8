from voxloom.runner.schemas import (
    AlignmentSchema as AlignmentSchema,
)
from voxloom.runner.schemas import (
    DataSchema as DataSchema,
)
from voxloom.runner.schemas import (
    EmbeddingSchema as EmbeddingSchema,
)
from voxloom.runner.schemas import (
    GenericSchema as GenericSchema,
)
from voxloom.runner.schemas import (
    ImageSchema as ImageSchema,
)
from voxloom.runner.schemas import (
    MeshSchema as MeshSchema,
)
from voxloom.runner.schemas import (
    MultiRegionSegmentationSchema as MultiRegionSegmentationSchema,
)
from voxloom.runner.schemas import (
    SegmentationSchema as SegmentationSchema,
)
from voxloom.runner.schemas import (
    VolumeSchema as VolumeSchema,
)
