"""Algorithms, and the parameters that they declare."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from voxloom.models.times import TimeOrEmpty
from voxloom.values import Value

AlgorithmType = Literal[
    "Image2Image",
    "Image2Segmentation",
    "Image2MultiRegionSegmentation",
    "Image2Alignment",
    "Image2Embedding",
    "Segmentation2Segmentation",
    "Generic",
    "Undefined",
]
DeviceClass = Literal["cpu", "gpu", "mps"]
"""What people ask for; a worker resolves it to `cpu`, `cuda` or `mps`."""
ParameterType = Literal[
    "string",
    "int",
    "float",
    "bool",
    "int_range",
    "float_range",
    "string_enum",
    "int_enum",
    "float_enum",
    "string_list",
    "int_list",
    "float_list",
    "bool_list",
]


def _list_if_none(value: Any) -> Any:
    return [] if value is None else value


class ParameterConfig(Value):
    """How one parameter may be set. `adjustable` is a hint for user interfaces, never a reason to refuse."""

    type: ParameterType
    default: Any = None
    adjustable: bool = False
    options: Annotated[list[Any], BeforeValidator(_list_if_none)] = []
    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    decimal_precision: int | None = None


class Parameter(Value):
    """A parameter that an algorithm declares."""

    name: str
    displayed_name: str = ""
    description: str = ""
    config: ParameterConfig


class StorageMetrics(Value):
    """Bytes and counts of what an algorithm keeps in the store, all minor versions and checkpoints together."""

    logical_size_bytes: int = 0
    """The sum of all bytes here."""
    module_bytes: int = 0
    """Of the modules; equal ones count once."""
    asset_bytes: int = 0
    """Of the assets of the minor versions (equal sets of them count once) and of the checkpoints (equal contents count
    once)."""
    checkpoint_manifest_bytes: int = 0
    """Of the records of the checkpoints."""
    module_count: int = 0
    """Equal ones count once."""
    asset_count: int = 0
    """As for their bytes."""
    checkpoint_count: int = 0
    """Of the algorithm."""
    last_recomputed_at: TimeOrEmpty = ""
    """When the newest minor version or checkpoint came."""


class AlgorithmRecord(Value):
    """A deployed algorithm, (name, major version), as REST shows it."""

    algorithm_id: str
    algorithm_name: str
    algorithm_version: str
    algorithm_minor_versions: list[str]
    latest_algorithm_minor_version: str
    algorithm_minor_version: str
    algorithm_input_queue: str = "voxloom"
    algorithm_type: str
    input_schema: str = ""
    """`ImageSchema` where the newest minor version takes its inputs as that has them; empty: not known."""
    algorithm_tags: list[str] = []
    algorithm_description: str = ""
    supported_devices: list[str] = []
    default_device: str
    additional_parameters: list[Parameter] = []
    training_parameters: list[Parameter] = []
    benchmark_outputs: list[Parameter] = []
    removable: bool = False
    exportable: bool = True
    checkpoints: list[str] = []
    """Ids of those that trainings of the algorithm have saved, the oldest first."""
    storage_metrics: StorageMetrics = StorageMetrics()
    """How much the algorithm keeps in the store, with all minor versions and checkpoints."""
    project: str = "default"
