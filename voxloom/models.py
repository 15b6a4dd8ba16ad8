"""Records and requests: what goes over REST, and what the events are made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, FailFast, Field, WithJsonSchema

from voxloom.values import Moment as Moment
from voxloom.values import RunError as RunError
from voxloom.values import Value as Value
from voxloom.values import format_time as format_time
from voxloom.values import utc_now as utc_now

_DATE_TIME = {"type": "string", "format": "date-time"}
Time = Annotated[str, WithJsonSchema(_DATE_TIME)]
"""As `format_time` writes it."""
TimeOrEmpty = Annotated[str, WithJsonSchema({"anyOf": [_DATE_TIME, {"type": "string", "maxLength": 0}]})]
"""The same, or "" where it has not come yet."""


class Status(StrEnum):
    """Where a run stands. STARTED: a worker has it. RUNNING: the author's code has begun."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED})

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


# --- algorithms -------------------------------------------------------------------------------------------


class StorageMetrics(Value):
    """Bytes and counts of what an algorithm keeps in the store, all minor versions and checkpoints together."""

    logical_size_bytes: int = 0
    module_bytes: int = 0
    asset_bytes: int = 0
    checkpoint_manifest_bytes: int = 0
    module_count: int = 0
    asset_count: int = 0
    checkpoint_count: int = 0
    last_recomputed_at: TimeOrEmpty = ""


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
    storage_metrics: StorageMetrics = StorageMetrics()
    project: str = "default"


# --- deploys ----------------------------------------------------------------------------------------------


class DeployOverrides(Value):
    """What a deploy may change of the algorithm's own pyproject."""

    algorithm_name: str | None = None
    algorithm_major_version: str | None = None
    removable: bool | None = None
    exportable: bool | None = None


class DeployStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class DeployRecord(Value):
    deploy_id: str
    status: DeployStatus
    path: str
    algorithm_id: str | None = None
    algorithm_name: str | None = None
    algorithm_major_version: str | None = None
    algorithm_minor_version: str | None = None
    time_started: Time | None = None
    time_completed: Time | None = None
    log: str | None = None
    error: RunError | None = None
    warnings: list[str] = []
    changed: bool | None = None
    """Whether it has added a minor version; None before its end."""
    project: str = "default"


class DeployResponse(Value):
    """The algorithm as it is stored now; the minor version is the stored one."""

    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str


class DeployBegun(Value):
    deploy_id: str


# --- files ------------------------------------------------------------------------------------------------


class DatasetInfo(Value):
    """One dataset of an HDF5 file: its path inside the file, shape, and numpy dtype string."""

    name: str
    shape: list[int]
    dtype: str


class FileUploadResponse(Value):
    file_id: str


class UrlResponse(Value):
    """A URL that is good for an hour, for whoever has it."""

    url: str


# --- executions -------------------------------------------------------------------------------------------


WaitingReason = Literal["no_device", "worker_away", "others_first", "starting"]


class Waiting(Value):
    """Why a run has not begun. `no_device`: no worker has a device that it wants. `worker_away`: those that have one,
    or the one that the run was given to, are not heard. `others_first`: all slots are taken, and `ahead` waiting runs
    come first. `starting`: there is a free slot for it."""

    reason: WaitingReason
    ahead: int = 0


def _empty_if_none(value: Any) -> Any:
    return {} if value is None else value


class ExecutionRequest(Value):
    """What a client sends to start an execution."""

    algorithm_id: str
    input_dataset_ids: Annotated[list[str], FailFast()]  # There may be a hundred thousand; one fault is enough.
    checkpoint_id: str | None = None
    algorithm_minor_version: str | None = None
    execution_device_override: str | None = None
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(_empty_if_none)] = {}
    session_token: str | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class ExecutionResponse(Value):
    execution_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class ExecutionRecord(Value):
    """One execution. Before the end: `time_completed` is "", outputs are `[]`. `time_started` is when the author's code
    began, null before that; on /api/v0 it is the submit time."""

    execution_id: str
    algorithm_id: str
    checkpoint_id: str | None = None
    algorithm_minor_version: str | None = None
    input_dataset_ids: list[str]
    execution_device_override: str | None = None
    resolved_execution_device: str | None = None
    additional_parameters: dict[str, Any]
    session_token: str | None
    output_dataset_ids: list[str] = []
    status: Status
    progress: float = 0.0
    time_started: Time | None
    time_completed: TimeOrEmpty = ""
    log: str = ""
    # Ours.
    time_submitted: TimeOrEmpty = ""
    waiting: Waiting | None = None
    """While it has not begun."""
    state: dict[str, Any] = {}
    """The newest that the algorithm has said of itself with `set_state`."""
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    execution_card: str | None = None
    resolved_parameters: dict[str, Any] = {}
    queue_seconds: float | None = None
    run_seconds: float | None = None
    peak_memory_bytes: int | None = None
    stop_requested: bool = False
    error: RunError | None = None


class ExecutionSummary(Value):
    """One row of a list of executions. `time_started` is when the author's code began, null before that. The error has
    the beginning of its message, and no details."""

    execution_id: str
    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str | None
    status: Status
    progress: float
    time_started: Time | None
    time_completed: TimeOrEmpty
    project: str
    attempt: int
    time_submitted: TimeOrEmpty = ""
    error: RunError | None = None
    task: Literal["execution", "training", "benchmark"] = "execution"


class AlgorithmStats(Value):
    """Runs of one algorithm that ended within the time."""

    algorithm_name: str
    algorithm_major_version: str
    ended: int
    failed: int
    seconds_median: float
    """From submit to end."""


class ServerStats(Value):
    """What operators watch. Rates and durations are of the last `hours`; durations are from submit to end, None where
    nothing has completed."""

    hours: float
    runs: dict[Status, int]
    """All whose record is kept."""
    submitted: int
    ended: int
    completed: int
    failed: int
    stopped: int
    ended_per_minute: float
    seconds_median: float | None
    seconds_p95: float | None
    algorithms: list[AlgorithmStats]
    """The most used first."""
    workers: int
    """That are live."""
    slots: int
    busy: int


# --- samples, trainings, checkpoints, benchmarks ----------------------------------------------------------


class SampleRequest(Value):
    """Which files belong together: `files` has one entry per example, each with the same keys, and under each key the
    ids of its files."""

    files: list[dict[str, list[str]]]
    tags: list[str] = []


class SampleResponse(Value):
    sample_id: str


class SampleRecord(Value):
    """What a training learns from. Tags are lower case, each once."""

    sample_id: str
    files: list[dict[str, list[str]]]
    tags: list[str] = []
    time_created: Time
    project: str = "default"


class TrainingRequest(Value):
    """What a client sends to start a training."""

    algorithm_id: str
    training_data: Annotated[list[str], FailFast()]
    """Ids of samples."""
    checkpoint_id: str | None = None
    algorithm_minor_version: str | None = None
    tags: list[str] = []
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(_empty_if_none)] = {}
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class TrainingResponse(Value):
    training_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class TrainingRecord(Value):
    """One training. Before the end `time_completed` is null and `state` what the algorithm says of itself."""

    training_id: str
    algorithm_id: str
    status: Status
    progress: float = 0.0
    time_started: Time | None
    time_completed: Time | None = None
    log: str | None = None
    training_data: list[str]
    additional_parameters: dict[str, Any] | None = None
    state: dict[str, Any] = {}
    tags: list[str] = []
    checkpoint_id: str | None = None
    algorithm_minor_version: str | None = None
    output_checkpoint_ids: list[str] = []
    # Ours.
    time_submitted: TimeOrEmpty = ""
    waiting: Waiting | None = None
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    resolved_execution_device: str | None = None
    execution_card: str | None = None
    resolved_parameters: dict[str, Any] = {}
    queue_seconds: float | None = None
    run_seconds: float | None = None
    peak_memory_bytes: int | None = None
    stop_requested: bool = False
    error: RunError | None = None


class TrainingSummary(Value):
    """One row of a list of trainings."""

    training_id: str
    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str | None
    status: Status
    progress: float
    time_started: Time | None
    time_completed: TimeOrEmpty
    project: str
    attempt: int
    time_submitted: TimeOrEmpty = ""
    error: RunError | None = None


class CheckpointRecord(Value):
    """Assets that an execution or a training can begin with in place of the algorithm's own."""

    checkpoint_id: str
    training_id: str
    parent_algorithm_id: str
    created_at: Time
    properties: dict[str, Any]
    tags: list[str] = []
    parent_checkpoint_id: str | None = None
    # Ours.
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    algorithm_minor_version: str = ""
    asset_paths: list[str] = []
    project: str = "default"


class BenchmarkRequest(Value):
    """What a client sends to have an algorithm measure itself."""

    algorithm_id: str
    algorithm_minor_version: str | None = None
    checkpoint_id: str | None = None
    execution_device_override: str | None = None
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(_empty_if_none)] = {}


class BenchmarkResponse(Value):
    benchmark_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class BenchmarkRecord(Value):
    """One benchmark; `data` is there together with COMPLETED."""

    benchmark_id: str
    algorithm_id: str
    additional_parameters: dict[str, Any]
    status: Status
    time_started: Time | None
    time_completed: TimeOrEmpty = ""
    log: str = ""
    data: dict[str, Any] = {}
    # Ours.
    time_submitted: TimeOrEmpty = ""
    waiting: Waiting | None = None
    algorithm_minor_version: str | None = None
    progress: float = 0.0
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    resolved_execution_device: str | None = None
    run_seconds: float | None = None
    error: RunError | None = None


# --- what goes on behind the scenes ----------------------------------------------------------------------


class QueueFigures(Value):
    """How one queue is doing. Rates are of the last minute; None where that is not known yet."""

    name: str
    waiting: int
    consumers: int
    in_per_second: float | None = None
    out_per_second: float | None = None
    oldest_seconds: float | None = None
    """How old the oldest event that waits is; None where nothing waits, or nobody can know."""
    oldest_at_least: bool = False
    """It is older than that: the events that are still known do not go so far back."""
    dead: int = 0
    parked: int = 0


class QueueReport(Value):
    """All queues. `dead` and `parked` are all dead letters, also those whose queue is gone.

    Of each queue, those among the oldest 1000 count.
    """

    items: list[QueueFigures]
    dead: int = 0
    parked: int = 0


class WorkerLane(Value):
    """So many runs at once on one device class."""

    device_class: str
    device: str
    slots: int
    busy: int = 0
    cards: list[str] = []


class WorkerRun(Value):
    """A run that a worker has. `since`: when the author's code began, or, before that, when the worker was chosen."""

    execution_id: str
    attempt: int
    status: Status | None = None
    algorithm_name: str = ""
    algorithm_version: str = ""
    device_class: str = ""
    since: TimeOrEmpty = ""


WorkerState = Literal["live", "draining", "silent", "gone"]


class WorkerRecord(Value):
    """One life of one worker, as a gateway sees it. `silent`: no heartbeat for longer than a lease."""

    worker_id: str
    incarnation: str
    state: WorkerState
    reason: str = ""
    """Why it is gone: `stopped`, `silent` (so it was given up) or `replaced` by another of its name."""
    host: str = ""
    pid: int = 0
    version: str = ""
    started: TimeOrEmpty = ""
    heartbeat_seconds: float | None = None
    """Since the newest heartbeat; None where there was none."""
    lanes: list[WorkerLane] = []
    free_slots: int = 0
    runs: list[WorkerRun] = []


class DeadLetterSummary(Value):
    """A message that nobody could handle. `parked`: it is of a newer version than the program that got it."""

    dead_letter_id: str
    queue: str
    reason: str
    time: Time
    parked: bool
    type: str = ""
    """Of the event, where it is one."""
    subject: str = ""
    routing_keys: list[str]
    body_bytes: int


class DeadLetterPage(Value):
    """The oldest first. `more`: there are others; replay some of these, or ask for a larger `limit`."""

    items: list[DeadLetterSummary]
    more: bool = False


class DeadLetterRecord(DeadLetterSummary):
    """`data` is the body where it is JSON of a bearable size; else `text` is how it begins."""

    headers: dict[str, Any]
    data: Any = None
    text: str | None = None


class Replayed(Value):
    """How many dead letters went back. `not_found`: there are none of these ids, or their queues are gone."""

    replayed: int
    not_found: list[str] = []


# --- the server -------------------------------------------------------------------------------------------


class ResponseMessage(Value):
    detail: str | None = None


class RootMessage(Value):
    name: str
    tags: list[str]
    group: str
    organization: str
    domain: str
    version: str
    cuda_available: bool | None = None
    cuda_capable_devices_count: int | None = None


class Problem(Value):
    """Every error body: RFC 9457, with `code` and `retryable` beside it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = False
    details: dict[str, Any] | None = None
