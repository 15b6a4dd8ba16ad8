"""Events of runs: executions, trainings and benchmarks. The subject is the run's id; `attempt` numbers the try from 1.

What a run does (its task) is the first word of its events' routing keys and types: `training.started`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from messages.base import SWEEPER_INBOX, Epoch, Event, Name, Subject, worker_inbox
from voxloom.models import Moment, RunError, Value


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: dict[str, Any]) -> bool:
    return not value


class AlgorithmPin(Value):
    """Exactly which code and data a run uses. `module` and `assets` are content hashes (see shared/algorithms.py)."""

    algorithm_id: str
    name: str
    major: str
    minor: str
    module: str
    assets: str


Task = Literal["execution", "training", "benchmark"]
"""What a run does: an execution on files, a training on samples, or the algorithm's own benchmark."""
TASKS: tuple[Task, ...] = get_args(Task)


class Work(Value):
    """All that a worker needs to know to do a run; the same for every attempt."""

    task: Task = "execution"
    algorithm: AlgorithmPin
    input_dataset_ids: list[str]
    parameters: dict[str, Any]
    """As the client sent them: the record shows these."""
    filled: dict[str, Any] = Field({}, exclude_if=_is_empty)
    """What the author's code gets beside them, or in their place: declared defaults, an int where a float is meant."""
    args: dict[str, Any] | None = Field(None, exclude_if=_is_none)
    """All that the author's code gets, where an earlier version has pinned the run: `arguments` is for both."""
    devices: list[str]
    """Device classes that will do, the wanted one first."""
    device_override: str | None = None
    device_warning: str | None = None
    """Why the wanted device could not be asked for; goes into the run's log."""
    checkpoint_id: str | None = None
    warnings: list[str] = []
    """What is odd in what the client sent, but no error; goes into the run's log, too."""
    threads: int | None = None
    """How many the algorithm wants, 0: one for each core; None: the worker's share for one run."""
    session_token: str
    priority: int = 0
    sample_ids: list[str] = []
    """What a training learns from."""
    tags: list[str] = []
    """Of a training, and of the checkpoints that it saves."""
    wall_time: float | None = None
    """Seconds that an attempt may take: what algorithm and project both allow; a worker may allow less."""
    project_wall_time: float | None = Field(None, exclude_if=_is_none)
    """What the project allows."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters as the author's code gets them, with the declared defaults filled in."""
        return {**self.parameters, **self.filled} if self.args is None else self.args


class Result(Value):
    """What one attempt came to."""

    outputs: list[str] = []
    progress: float = 0.0
    device: str | None = None
    """The resolved device: `cpu`, `cuda`, `mps`."""
    card: str | None = None
    """Which of the worker's cards, where it has some: `cuda:1`."""
    log: str = ""
    """The log's text where it is short; else its head and tail, and the whole lies under `log_key`."""
    log_key: str | None = None
    """Where the whole log lies in `execution-store`."""
    staged: int = 0
    """How many files the attempt has posted."""
    run_seconds: float | None = None
    peak_memory_bytes: int | None = None
    began: Moment | None = None
    """When the author's code began, of a run that was over before `started` was said: then it is not said any more."""
    error: RunError | None = None
    state: dict[str, Any] = {}
    """The newest that the author's code has said of itself with `set_state`."""
    data: dict[str, Any] = {}
    """What a benchmark has found."""


class RunEvent(Event):
    """Something of a run."""

    entities: ClassVar[tuple[str, ...]] = TASKS
    task: Task = "execution"
    """What the run does."""

    @property
    def entity(self) -> str:
        return self.task

    @classmethod
    def told_by(cls, entity: str) -> dict[str, Any]:
        return {"task": entity}


class RunRequested(RunEvent):
    """A client wants a run; everything that it uses is pinned."""

    verb = "requested"
    version = 2
    work: Work


class RunRequestedV1(RunRequested):
    """The same from an earlier gateway: its work has `args` in place of `filled`."""

    version = 1


class RunStopRequested(RunEvent):
    """A client wants a run to end early. Whether it does is for the scheduler to say."""

    verb = "stop-requested"


class RunAssigned(RunEvent):
    """A decision: this worker shall do this attempt. What there is to do the request has said."""

    verb = "assigned"
    version = 2
    epoch: Epoch
    worker_id: Name
    incarnation: Subject
    device_class: Name
    lost: int = 0
    """How many earlier attempts were lost with their workers."""


class RunHandedOver(RunEvent):
    """The worker is told what was assigned to it, with all that it needs. Nobody else hears of it."""

    verb = "handed-over"
    epoch: Epoch
    worker_id: Name
    incarnation: Subject
    device_class: Name
    work: Work
    lost: int = 0
    """As in the assignment."""

    @property
    def routing_key(self) -> str:
        return worker_inbox(self.incarnation)


class RunAssignedV1(RunHandedOver, RunAssigned):
    """Both in one, as earlier schedulers have said it: for the worker and for all others."""

    verb = "assigned"
    version = 1

    @property
    def routing_key(self) -> str:
        return self.public_key

    @property
    def copy_to(self) -> tuple[str, ...]:
        return (worker_inbox(self.incarnation),)


class RunRequeued(RunEvent):
    """A decision: this attempt is over without an end of the run, which waits for a worker again."""

    verb = "requeued"
    epoch: Epoch
    incarnation: Subject
    """Whose attempt it was."""
    lost: int
    """How many attempts were lost with their workers so far, this one included."""
    reason: str

    @property
    def copy_to(self) -> tuple[str, ...]:
        return (worker_inbox(self.incarnation),)


class RunStopPassed(RunEvent):
    """The scheduler hands a stop down to the worker that has the run, behind its assignment."""

    verb = "stop-passed"
    epoch: Epoch
    incarnation: Subject

    @property
    def copy_to(self) -> tuple[str, ...]:
        return (worker_inbox(self.incarnation),)


class RunStarted(RunEvent):
    """The author's code begins."""

    verb = "started"
    epoch: Epoch
    """Of the assignment."""
    worker_id: Name
    incarnation: Subject
    device_class: Name
    device: str
    card: str | None = None
    lost: int = 0


class RunProgressed(RunEvent):
    """How far a run is; only the newest counts."""

    verb = "progressed"
    transient = True
    progress: float


class RunStateSet(RunEvent):
    """What the author's code says of itself; only the newest counts."""

    verb = "state-set"
    transient = True
    state: dict[str, Any]


class RunLogged(RunEvent):
    """Lines of a run's log. `offset` is how many characters of this attempt's log came before."""

    verb = "logged"
    transient = True
    offset: int
    text: str


class RunFinished(RunEvent):
    """A worker's report to the scheduler: this attempt is over, and its process has ended or is idle."""

    verb = "finished"
    incarnation: Subject
    outcome: Literal["completed", "failed", "stopped", "released"]
    """`released`: the worker gives the run back, since it drains, or since the run waits there in vain for a slot; it
    counts as no loss."""
    result: Result


class _Ended(RunEvent):
    """A decision: the run is over. Said once a run, for the attempt that counts."""

    epoch: Epoch
    incarnation: Subject | None = None
    worker_id: Name | None = None
    submitted: Moment | None = None
    result: Result
    inboxes = (SWEEPER_INBOX,)

    @property
    def may_have_left_files(self) -> bool:
        """Whether there can be notes of posted files. An attempt that was lost with its worker has told nobody."""
        if self.verb == "completed":
            return self.result.staged > 0 or self.attempt > 1
        return self.attempt > 0

    @property
    def copy_to(self) -> tuple[str, ...]:
        workers = (worker_inbox(self.incarnation),) if self.incarnation else ()
        return (*workers, SWEEPER_INBOX) if self.may_have_left_files else workers


class RunCompleted(_Ended):
    """A decision: the run is over, and its outputs are there. Said once a run, for the attempt that counts."""

    verb = "completed"


class RunFailed(_Ended):
    """A decision: the run is over without outputs, and `result.error` says why."""

    verb = "failed"


class RunStopped(_Ended):
    """A decision: the run is over because it was asked to stop; nothing of it is executing any more."""

    verb = "stopped"


RunEnded = RunCompleted | RunFailed | RunStopped
