# Generated from voxloom/client/_async/runs.py by `python -m voxloom.client._generate`; edit that file.

"""Executions and trainings, as those who started them follow them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from voxloom.client._events import EventDecoder, LogUpdate, ServerEvent, Update, Watched
from voxloom.client._outage import Outage
from voxloom.client._outputs import Progress, failure_of
from voxloom.client._problems import parse
from voxloom.client._sio import closing, sleep
from voxloom.client._sync.files import Files
from voxloom.client._sync.transport import Transport, path_of
from voxloom.errors import Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import ExecutionRecord, ResponseMessage, Status, TrainingRecord, TrainingResponse

POLL_SECS = 30.0
"""How long the server is asked to hold an answer back until the run has ended."""
SILENCE_SECS = 45.0
"""Without a byte for three keep-alive intervals, the event stream counts as lost."""
_SOON_SECS = 0.2

R = TypeVar("R", ExecutionRecord, TrainingRecord)


class Job(Generic[R]):
    """A run of any kind on the server. It goes on whether or not anybody follows it."""

    kind: ClassVar[str]
    """As paths have it: `executions`."""
    model: type[R]

    def __init__(self, transport: Transport, run_id: str) -> None:
        self.id = run_id
        self._transport = transport
        self._ended: R | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def record(self) -> R:
        """As it is now."""
        return self._ask(None)

    def status(self) -> Status:
        return (self.record()).status

    def wait(self, timeout: float | None = None) -> R:
        """The record once the run is COMPLETED, FAILED or STOPPED.

        A server that goes away and comes back within a minute is waited for. Raises TimeoutError after `timeout`
        seconds; the run goes on.
        """
        outage = Outage()
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._ended is None:
            left = POLL_SECS if deadline is None else min(POLL_SECS, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(
                    f"Run {self.id} has not ended after {timeout:g} s; it goes on. Wait longer or stop it."
                )
            self._poll(left, outage)
        return self._ended

    def _poll(self, hold: float, outage: Outage) -> None:
        asked = time.monotonic()
        try:
            record = self._ask(hold)
        except Unavailable as error:
            sleep(outage.delay(error))
            return
        outage.heard()
        outage.news()
        if not record.status.terminal and time.monotonic() - asked < min(_SOON_SECS, hold):
            sleep(_SOON_SECS)  # the server did not hold its answer back; do not storm it

    def _ask(self, hold: float | None) -> R:
        response = self._transport.request(
            "GET",
            path_of("api", "v1", self.kind, self.id),
            params={"wait": None if hold is None else f"{hold:.3f}"},
            timeout=None if hold is None else hold + SILENCE_SECS,
        )
        record = parse(self.model, response)
        self._ended = record if record.status.terminal else None
        return record

    def log(self) -> str:
        """All that the run's last attempt has said so far."""
        response = self._transport.request("GET", path_of("api", "v1", self.kind, self.id, "log"))
        return response.content.decode(errors="replace")


class Run(Job[ExecutionRecord]):
    """An execution on the server."""

    kind = "executions"
    model = ExecutionRecord

    def __init__(
        self,
        transport: Transport,
        execution_id: str,
        *,
        stacked: bool = False,
        counts: tuple[int | None, ...] = (),
    ) -> None:
        super().__init__(transport, execution_id)
        self.stacked = stacked
        """The inputs were one stack of images, so the result is one."""
        self.counts = counts
        """For each input: how many files its slices became; None where it stayed one file."""
        self._files = Files(transport)

    def watch(self) -> Iterator[Update]:
        """Status, progress and log as they change, the status as it is now first and the terminal one last.

        A lost connection is taken up again where it broke, for up to a minute without a sign of the server; nothing
        is told twice. The end of the log is told before the terminal status.
        """
        watched, outage = Watched(), Outage()
        while watched.ended is None:
            try:
                with closing(self._connected(watched, outage)) as updates:
                    for update in updates:
                        outage.news()
                        yield update
            except Unavailable as error:
                sleep(outage.delay(error))

    def _connected(self, watched: Watched, outage: Outage) -> Generator[Update, None, None]:
        """The updates of one connection. Raises Unavailable when it ends before the run does."""
        headers = {"Accept": "text/event-stream"}
        if watched.last_id is not None:
            headers["Last-Event-ID"] = watched.last_id
        decoder = EventDecoder()
        path = path_of("api", "v1", "executions", self.id, "events")
        with self._transport.stream(path, headers=headers, silence=SILENCE_SECS, repeat=False) as response:
            for chunk in response.iter_raw():
                outage.heard()
                for event in decoder.feed(chunk):
                    yield from self._updates(watched, event)
                if watched.ended is not None:
                    return
        raise Unavailable(f"The server stopped telling about run {self.id}; try again.", code="connection_lost")

    def _updates(self, watched: Watched, event: ServerEvent) -> list[Update]:
        try:
            missing = self._rest_of_log(watched, event)
            update = watched.take(event)
        except (ValueError, KeyError, TypeError) as error:
            raise VoxloomError(
                f"The server told something about run {self.id} that this client does not understand; "
                "check that server and client are of matching versions.",
                code="answer_not_understood",
            ) from error
        return [one for one in (missing, update) if one is not None]

    def _rest_of_log(self, watched: Watched, event: ServerEvent) -> LogUpdate | None:
        """At the end of the run, the lines that were not told: of a long log the server does not tell all."""
        attempt = watched.last_attempt(event)
        return watched.fill(self.log(), attempt) if attempt else None

    def result(self, timeout: float | None = None, *, progress: Progress | None = None) -> Any:
        """The outputs, once the run has completed.

        A list with one entry per output: of a file the array where it holds one and nothing else, else a dict of its
        datasets; a text that the algorithm has returned is that text. Where the inputs were one stack of images and the
        outputs are alike, one array stacked in the same way. Raises RunFailed with the run's error and its last log
        lines, and TimeoutError.
        """
        stack = self._files.load_all(self._outputs(timeout), progress)
        return stack.result() if self.stacked else stack.values

    def output_files(self, timeout: float | None = None) -> list[str]:
        """The ids of its output files in order, once the run has completed. Texts that the algorithm has returned
        among them are left out. Raises RunFailed, and TimeoutError."""
        return self._files.files_among(self._outputs(timeout))

    def _outputs(self, timeout: float | None) -> list[str]:
        record = self.wait(timeout)
        if record.status is not Status.COMPLETED:
            raise failure_of(record, record.log or self.log())
        return record.output_dataset_ids

    def stop(self) -> str:
        """Asks the server to stop the run; what it answered. Raises Conflict when the run has ended."""
        response = self._transport.request("POST", path_of("api", "v0", "executions", self.id, "stop"))
        return parse(ResponseMessage, response).detail or ""


class Training(Job[TrainingRecord]):
    """A training on the server. `record()` has its state and checkpoints, also while it goes on."""

    kind = "trainings"
    model = TrainingRecord

    def result(self, timeout: float | None = None) -> list[str]:
        """The ids of its checkpoints, the oldest first, once it has completed. Raises RunFailed, and TimeoutError."""
        record = self.wait(timeout)
        if record.status is not Status.COMPLETED:
            raise failure_of(record, record.log or self.log())
        return record.output_checkpoint_ids

    def stop(self) -> str:
        """Asks the server to stop the training, whose checkpoints stay. Raises Conflict when it has ended."""
        response = self._transport.request("POST", path_of("api", "v1", "trainings", self.id, "stop"))
        return parse(ResponseMessage, response).detail or ""

    def go_on(self) -> Training:
        """A new training from the newest checkpoint of this one, which has ended."""
        path = path_of("api", "v1", "trainings", self.id, "continue")
        response = self._transport.request("POST", path, key=new_id())
        return Training(self._transport, parse(TrainingResponse, response).training_id)
