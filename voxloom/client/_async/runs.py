"""Executions and trainings, as those who started them follow them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, ClassVar, Generic, TypeVar

from voxloom.client._aio import aclosing, sleep
from voxloom.client._async.files import AsyncFiles
from voxloom.client._async.transport import AsyncTransport, path_of
from voxloom.client._events import EventDecoder, LogUpdate, ServerEvent, Update, Watched
from voxloom.client._outage import Outage
from voxloom.client._outputs import Progress, failure_of
from voxloom.client._problems import parse
from voxloom.errors import Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import ExecutionRecord, ResponseMessage, Status, TrainingRecord, TrainingResponse

POLL_SECS = 30.0
"""How long the server is asked to hold an answer back until the run has ended."""
SILENCE_SECS = 45.0
"""Without a byte for three keep-alive intervals, the event stream counts as lost."""
_SOON_SECS = 0.2

R = TypeVar("R", ExecutionRecord, TrainingRecord)


class AsyncJob(Generic[R]):
    """A run of any kind on the server. It goes on whether or not anybody follows it."""

    kind: ClassVar[str]
    """As paths have it: `executions`."""
    model: type[R]

    def __init__(self, transport: AsyncTransport, run_id: str) -> None:
        self.id = run_id
        self._transport = transport
        self._ended: R | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    async def record(self) -> R:
        """As it is now."""
        return await self._ask(None)

    async def status(self) -> Status:
        return (await self.record()).status

    async def wait(self, timeout: float | None = None) -> R:
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
            await self._poll(left, outage)
        return self._ended

    async def _poll(self, hold: float, outage: Outage) -> None:
        asked = time.monotonic()
        try:
            record = await self._ask(hold)
        except Unavailable as error:
            await sleep(outage.delay(error))
            return
        outage.heard()
        outage.news()
        if not record.status.terminal and time.monotonic() - asked < min(_SOON_SECS, hold):
            await sleep(_SOON_SECS)  # the server did not hold its answer back; do not storm it

    async def _ask(self, hold: float | None) -> R:
        response = await self._transport.request(
            "GET",
            path_of("api", "v1", self.kind, self.id),
            params={"wait": None if hold is None else f"{hold:.3f}"},
            timeout=None if hold is None else hold + SILENCE_SECS,
        )
        record = parse(self.model, response)
        self._ended = record if record.status.terminal else None
        return record

    async def log(self) -> str:
        """All that the run's last attempt has said so far."""
        response = await self._transport.request("GET", path_of("api", "v1", self.kind, self.id, "log"))
        return response.content.decode(errors="replace")


class AsyncRun(AsyncJob[ExecutionRecord]):
    """An execution on the server."""

    kind = "executions"
    model = ExecutionRecord

    def __init__(
        self,
        transport: AsyncTransport,
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
        self._files = AsyncFiles(transport)

    async def watch(self) -> AsyncIterator[Update]:
        """Status, progress and log as they change, the status as it is now first and the terminal one last.

        A lost connection is taken up again where it broke, for up to a minute without a sign of the server; nothing
        is told twice. The end of the log is told before the terminal status.
        """
        watched, outage = Watched(), Outage()
        while watched.ended is None:
            try:
                async with aclosing(self._connected(watched, outage)) as updates:
                    async for update in updates:
                        outage.news()
                        yield update
            except Unavailable as error:
                await sleep(outage.delay(error))

    async def _connected(self, watched: Watched, outage: Outage) -> AsyncGenerator[Update, None]:
        """The updates of one connection. Raises Unavailable when it ends before the run does."""
        headers = {"Accept": "text/event-stream"}
        if watched.last_id is not None:
            headers["Last-Event-ID"] = watched.last_id
        decoder = EventDecoder()
        path = path_of("api", "v1", "executions", self.id, "events")
        async with self._transport.stream(path, headers=headers, silence=SILENCE_SECS, repeat=False) as response:
            async for chunk in response.aiter_raw():
                outage.heard()
                for event in decoder.feed(chunk):
                    for update in await self._updates(watched, event):
                        yield update
                if watched.ended is not None:
                    return
        raise Unavailable(f"The server stopped telling about run {self.id}; try again.", code="connection_lost")

    async def _updates(self, watched: Watched, event: ServerEvent) -> list[Update]:
        try:
            missing = await self._rest_of_log(watched, event)
            update = watched.take(event)
        except (ValueError, KeyError, TypeError) as error:
            raise VoxloomError(
                f"The server told something about run {self.id} that this client does not understand; "
                "check that server and client are of matching versions.",
                code="answer_not_understood",
            ) from error
        return [one for one in (missing, update) if one is not None]

    async def _rest_of_log(self, watched: Watched, event: ServerEvent) -> LogUpdate | None:
        """At the end of the run, the lines that were not told: of a long log the server does not tell all."""
        attempt = watched.last_attempt(event)
        return watched.fill(await self.log(), attempt) if attempt else None

    async def result(self, timeout: float | None = None, *, progress: Progress | None = None) -> Any:
        """The outputs, once the run has completed.

        A list with one entry per output: of a file the array where it holds one and nothing else, else a dict of its
        datasets; a text that the algorithm has returned is that text. Where the inputs were one stack of images and the
        outputs are alike, one array stacked in the same way. Raises RunFailed with the run's error and its last log
        lines, and TimeoutError.
        """
        stack = await self._files.load_all(await self._outputs(timeout), progress)
        return stack.result() if self.stacked else stack.values

    async def output_files(self, timeout: float | None = None) -> list[str]:
        """The ids of its output files in order, once the run has completed. Texts that the algorithm has returned
        among them are left out. Raises RunFailed, and TimeoutError."""
        return await self._files.files_among(await self._outputs(timeout))

    async def _outputs(self, timeout: float | None) -> list[str]:
        record = await self.wait(timeout)
        if record.status is not Status.COMPLETED:
            raise failure_of(record, record.log or await self.log())
        return record.output_dataset_ids

    async def stop(self) -> str:
        """Asks the server to stop the run; what it answered. Raises Conflict when the run has ended."""
        response = await self._transport.request("POST", path_of("api", "v0", "executions", self.id, "stop"))
        return parse(ResponseMessage, response).detail or ""


class AsyncTraining(AsyncJob[TrainingRecord]):
    """A training on the server. `record()` has its state and checkpoints, also while it goes on."""

    kind = "trainings"
    model = TrainingRecord

    async def result(self, timeout: float | None = None) -> list[str]:
        """The ids of its checkpoints, the oldest first, once it has completed. Raises RunFailed, and TimeoutError."""
        record = await self.wait(timeout)
        if record.status is not Status.COMPLETED:
            raise failure_of(record, record.log or await self.log())
        return record.output_checkpoint_ids

    async def stop(self) -> str:
        """Asks the server to stop the training, whose checkpoints stay. Raises Conflict when it has ended."""
        response = await self._transport.request("POST", path_of("api", "v1", "trainings", self.id, "stop"))
        return parse(ResponseMessage, response).detail or ""

    async def go_on(self) -> AsyncTraining:
        """A new training from the newest checkpoint of this one, which has ended."""
        path = path_of("api", "v1", "trainings", self.id, "continue")
        response = await self._transport.request("POST", path, key=new_id())
        return AsyncTraining(self._transport, parse(TrainingResponse, response).training_id)
