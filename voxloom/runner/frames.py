"""What a runner process and its worker say to each other: JSON frames over a private socket.

A frame is four bytes of length (big endian) and that many bytes of JSON, an object with `kind`. Bulk data never
travels in frames: they carry paths of local files. Nothing is ever pickled.

    worker → runner   run, stop, answer, leave
    runner → worker   ready, progress, state, logged, ask, ended

One run at a time. An `ask` waits for the `answer` with its number; asks of several threads may be under way at once.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from voxloom.values import RunError, Value

T = TypeVar("T")

LENGTH = struct.Struct(">I")
MAX_FRAME = 64 << 20
"""Bytes; a longer frame means that the other side is broken."""


class BrokenFrame(Exception):
    """The other side has sent what is no frame; nothing it says can be trusted any more."""


# --- worker → runner --------------------------------------------------------------------------------------


class Run(Value):
    """Do this now. The first one loads the module; a process serves one module and device for its life."""

    kind: Literal["run"] = "run"
    run: str
    attempt: int
    task: Literal["execution", "training", "benchmark"] = "execution"
    module_dir: str
    """A folder that holds the algorithm's Runner.py (or Runner.pyc) and its other modules."""
    device: str
    """`cpu`, `cuda` or `mps`."""
    visible_cards: str = ""
    """For CUDA_VISIBLE_DEVICES: the process's one card, or none."""
    input_dataset_ids: list[str] = []
    sample_ids: list[str] = []
    """Of a training."""
    args: dict[str, Any]
    session_token: str
    session_items: int = 5
    """At most; so the bytes of all together, and the hours for which the session is kept unused."""
    session_bytes: int | None = None
    session_hours: float = 24.0
    scratch: str
    """A folder of this run's own: working directory and, by a link, TMPDIR; emptied afterwards."""
    notes: list[str] = []
    """Warnings of ours that belong into the run's log before anything else."""
    environment: dict[str, str] = {}
    """How many threads libraries may have, where the algorithm says that."""
    log_limit: int = 64 << 20
    """Bytes of log that are worth sending; the rest is only counted."""


class Stop(Value):
    """The next call into the runner API shall raise TaskStoppedException, once."""

    kind: Literal["stop"] = "stop"
    run: str


class Answer(Value):
    """To the `ask` of that number: a value, or why there is none."""

    kind: Literal["answer"] = "answer"
    number: int
    value: Any = None
    error: RunError | None = None


class Leave(Value):
    """No further runs; exit."""

    kind: Literal["leave"] = "leave"


# --- runner → worker --------------------------------------------------------------------------------------


class Ready(Value):
    """The process is up and waits for its first run."""

    kind: Literal["ready"] = "ready"
    pid: int


class Progress(Value):
    kind: Literal["progress"] = "progress"
    run: str
    progress: float


class State(Value):
    """What the run says of itself."""

    kind: Literal["state"] = "state"
    run: str
    state: dict[str, Any]


class Logged(Value):
    """Whole lines, each ending in a newline: `YYYY-MM-DD HH:MM:SS LEVEL text`."""

    kind: Literal["logged"] = "logged"
    run: str
    text: str


Question = Literal[
    "fetch",
    "stage",
    "post",
    "asset",
    "samples",
    "checkpoint",
    "drop_checkpoint",
    "session_index",
    "session_fetch",
    "session_store",
]


class Ask(Value):
    """A question to the worker. By `what`:

    - `fetch` {"file_ids": [...]} → {"paths": [...]}: local files to read, in that order
    - `stage` {"count": n} → {"files": [{"file_id": ..., "path": ...}, ...]}: where to write n new files
    - `post` {"file_ids": [...]} → {}: those staged files are written; keep them
    - `asset` {"path": ...} → {"path": ...}: the local file of an asset of the algorithm
    - `samples` {"sample_ids": [...]} → {"samples": [{"sample_id", "files", "tags", "time_created"}, ...]}
    - `checkpoint` {"assets": {asset path: local file}, "properties": {...}} → {"checkpoint_id": ...}: keep these
    - `drop_checkpoint` {"checkpoint_id": ...} → {}: one that this run has saved is not wanted after all
    - `session_index` {} → {"items": {key: name of its content}}: what is written down of the run's session
    - `session_fetch` {"key": ...} → {"path": ... or null}: the local file of one item
    - `session_store` {"items": {key: local file}, "removed": [keys]} → {"items": {key: name of its content}}
    """

    kind: Literal["ask"] = "ask"
    run: str
    number: int
    what: Question
    params: dict[str, Any]


class Ended(Value):
    """The run is over and the process waits for the next one."""

    kind: Literal["ended"] = "ended"
    run: str
    outcome: Literal["completed", "failed", "stopped"]
    outputs: list[str] = []
    data: dict[str, Any] = {}
    """What a benchmark has found."""
    progress: float = 0.0
    error: RunError | None = None
    peak_memory_bytes: int | None = None
    log_dropped: int = 0
    """Bytes of log that were not sent, because they were over the limit."""
    reusable: bool = True
    """False where the process must not serve another run (its module could not be loaded, say)."""
    module_changed: bool = False
    """True where files in `module_dir` are not what they were before the module was loaded."""


ToRunner = Run | Stop | Answer | Leave
ToWorker = Ready | Progress | State | Logged | Ask | Ended
_TO_RUNNER: TypeAdapter[ToRunner] = TypeAdapter(Annotated[ToRunner, Field(discriminator="kind")])
_TO_WORKER: TypeAdapter[ToWorker] = TypeAdapter(Annotated[ToWorker, Field(discriminator="kind")])


def pack(frame: ToRunner | ToWorker) -> bytes:
    """The frame as it travels."""
    body = frame.__pydantic_serializer__.to_json(frame)
    if len(body) > MAX_FRAME:
        raise BrokenFrame(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return LENGTH.pack(len(body)) + body


def parse_for_runner(body: bytes) -> ToRunner:
    return _parse(_TO_RUNNER, body)


def parse_for_worker(body: bytes) -> ToWorker:
    return _parse(_TO_WORKER, body)


def length_of(prefix: bytes) -> int:
    """The length that four bytes announce. Raises BrokenFrame past the limit."""
    length: int = LENGTH.unpack(prefix)[0]
    if length > MAX_FRAME:
        raise BrokenFrame(f"a frame of {length} bytes is announced, over the limit of {MAX_FRAME}")
    return length


def _parse(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise BrokenFrame(str(error)) from error
