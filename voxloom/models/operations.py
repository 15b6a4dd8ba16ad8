"""What operators watch: queues, dead letters, workers, figures."""

from __future__ import annotations

from typing import Any, Literal

from voxloom.models.runs import Status
from voxloom.models.times import Time, TimeOrEmpty
from voxloom.values import Value


class QueueFigures(Value):
    """How one queue is doing. Rates are of the last minute; None where that is not known yet."""

    name: str
    waiting: int
    """Events in the queue. The embedded broker counts those that a service is handling now, RabbitMQ does not."""
    consumers: int
    """0 if the service is not running."""
    in_per_second: float | None = None
    """Of the last minute; None in the first seconds of a gateway."""
    out_per_second: float | None = None
    """Of the last minute; None in the first seconds of a gateway."""
    oldest_seconds: float | None = None
    """How long the oldest event has waited, with an error of about a second; None where nothing waits, or nobody can
    know."""
    oldest_at_least: bool = False
    """It may have waited longer: the events that are still known do not go so far back."""
    dead: int = 0
    """[Dead letters](#get-apiv1dead-letters) from this queue, among the oldest 1000."""
    parked: int = 0
    """Those of them that come from a newer version than their reader."""


class QueueReport(Value):
    """All queues. `dead` and `parked` are all dead letters, also those whose queue is gone.

    Of each queue, those among the oldest 1000 count.
    """

    items: list[QueueFigures]
    dead: int = 0
    """Of all queues."""
    parked: int = 0
    """Of all queues."""


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
