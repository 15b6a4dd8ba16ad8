"""One attempt at a run: from a free slot to the report of how it went."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from messages.executions import (
    ExecutionAssigned,
    ExecutionFinished,
    ExecutionLogged,
    ExecutionProgressed,
    ExecutionStarted,
    Result,
)
from messages.workers import Lane
from services.worker.data import Materials, RunFiles
from services.worker.outbox import Outbox
from services.worker.pool import Key, Pool
from services.worker.process import RunnerProcess
from services.worker.runlog import RunLog
from shared import files
from shared.bus.base import Bus
from shared.objects.base import EXPIRING, FileUpload, ObjectStore
from shared.records.store import COLLECTION, RecordStore, log_key
from shared.settings import Settings
from voxloom.errors import Unavailable, VoxloomError
from voxloom.models import RunError
from voxloom.runner import frames
from voxloom.runner.output import format_lines

INLINE_LOG = 16 << 10
"""Characters of log that travel in the report itself; a longer log lies in the store beside it."""
PROCESS_TRIES = 3

Outcome = Literal["completed", "failed", "stopped", "released"]

_log = logging.getLogger("voxloom.worker")


@dataclass(frozen=True)
class Node:
    """What the attempts of one worker share."""

    bus: Bus
    store: ObjectStore
    settings: Settings
    pool: Pool
    materials: Materials
    incarnation: str
    outbox: Outbox


class Attempt:
    """Made when the assignment is claimed, performed when a slot is free. `stop` and `release` may come at any time."""

    def __init__(self, assignment: ExecutionAssigned, lane: Lane, node: Node) -> None:
        self.assignment = assignment
        self.run = assignment.subject
        self.number = assignment.attempt
        self.stopping = False
        self.releasing = False
        self._lane = lane
        self._node = node
        self._preparing: asyncio.Timeout | None = None
        self._process: RunnerProcess | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._killing: asyncio.Task[None] | None = None
        self._overdue = False
        self._progress = 0.0

    # what others ask of it

    def stop(self) -> None:
        """Asks the author's code to stop, and sees to it that it has ended when the grace period is over."""
        if self.stopping:
            return
        self.stopping = True
        self._give_up_preparing()
        if self._process is not None:
            self._ask_to_stop(self._process)

    def release(self) -> None:
        """Gives the run back at once, whatever it is doing."""
        self.releasing = True
        self._give_up_preparing()
        self._kill()

    def _give_up_preparing(self) -> None:
        """A stop does not wait for code to arrive, nor for a process to start."""
        if self._preparing is not None and not self._preparing.expired():
            self._preparing.reschedule(0.0)

    def _called_off(self) -> bool:
        return self.stopping or self.releasing

    def _ask_to_stop(self, process: RunnerProcess) -> None:
        process.stop(self.run)
        self._killer = asyncio.get_running_loop().call_later(self._node.settings.grace, self._kill_overdue)

    def _kill_overdue(self) -> None:
        self._overdue = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._killing is None:
            self._killing = asyncio.create_task(self._process.kill(), name=f"worker.kill.{self.run}")

    # its life

    async def perform(self) -> ExecutionFinished:
        """Does it. A VoxloomError is how the attempt failed; what else is raised is a fault of the worker."""
        run_files = await self._open_files()
        log = RunLog(run_files.folder / "log.txt", limit=self._node.settings.max_log_bytes, on_piece=self._on_log)
        begun = time.monotonic()
        try:
            ended = await self._end_of(run_files, log)
            result = await self._result(ended, log, run_files, time.monotonic() - begun)
            return self.report(self._outcome(ended), result)
        finally:
            self._node.materials.end(run_files)

    async def _end_of(self, run_files: RunFiles, log: RunLog) -> frames.Ended:
        try:
            return await self._run_author_code(run_files, log)
        except VoxloomError as error:
            log.append(format_lines(time.time(), "ERROR", error.message))
            return self._failed(error)

    async def _open_files(self) -> RunFiles:
        work = self.assignment.work
        return await self._node.materials.begin(
            algorithm=work.algorithm,
            project=self.assignment.project,
            run=self.run,
            attempt=self.number,
            inputs=work.input_dataset_ids,
            settled_of=self._settled_of,
        )

    async def _settled_of(self, run: str) -> files.Settled | None:
        state = await RecordStore(self._node.store).load_run(run)
        return None if state is None else files.Settled(state.status, state.attempt)

    async def _run_author_code(self, run_files: RunFiles, log: RunLog) -> frames.Ended:
        prepared = await self._prepare()
        if prepared is None:
            return frames.Ended(run=self.run, outcome="stopped")
        module_dir, process = prepared
        try:
            self._process = process
            self._node.outbox.put(self._started(), soon=True)
            return await process.run(self._frame(module_dir, run_files), _Link(self, run_files, log))
        finally:
            self._process = None
            await self._end_kill()
            self._node.pool.release(process)

    async def _prepare(self) -> tuple[Path, RunnerProcess] | None:
        """The code, and a process to run it in; None if the run was to stop before there were both."""
        work = self.assignment.work
        key = Key(self.assignment.project, work.algorithm.module, work.algorithm.assets, self._lane.device)
        try:
            async with asyncio.timeout(None) as self._preparing:
                if self._called_off():
                    return None
                module_dir = await self._node.materials.module_dir(work.algorithm)
                process = await self._acquire(key)
        except TimeoutError:
            if self._called_off():
                return None
            raise
        finally:
            self._preparing = None
        if self._called_off():
            self._node.pool.release(process)
            return None
        return module_dir, process

    async def _acquire(self, key: Key) -> RunnerProcess:
        """Nothing has begun yet: that a process dies before it is ready need not cost the run."""
        for _ in range(PROCESS_TRIES - 1):
            try:
                return await self._node.pool.acquire(key)
            except Unavailable as error:
                _log.warning("run %s: %s It tries another.", self.run, error.message)
        return await self._node.pool.acquire(key)

    async def _end_kill(self) -> None:
        if self._killer is not None:
            self._killer.cancel()
        if self._killing is not None:
            await self._killing

    def _frame(self, module_dir: Path, run_files: RunFiles) -> frames.Run:
        work = self.assignment.work
        return frames.Run(
            run=self.run,
            attempt=self.number,
            module_dir=str(module_dir),
            device=self._lane.device,
            input_dataset_ids=work.input_dataset_ids,
            args=work.args,
            session_token=work.session_token,
            scratch=str(run_files.work),
            notes=notes(self.assignment),
            log_limit=self._node.settings.max_log_bytes,
        )

    def _started(self) -> ExecutionStarted:
        assignment = self.assignment
        return ExecutionStarted(
            subject=self.run,
            project=assignment.project,
            attempt=self.number,
            epoch=assignment.epoch,
            worker_id=assignment.worker_id,
            incarnation=assignment.incarnation,
            device_class=assignment.device_class,
            device=self._lane.device,
            lost=assignment.lost,
        )

    # how it went

    def _outcome(self, ended: frames.Ended) -> Outcome:
        if self.releasing and ended.outcome != "completed":
            return "released"
        return "stopped" if self._overdue and ended.outcome == "failed" else ended.outcome

    async def _result(self, ended: frames.Ended, log: RunLog, run_files: RunFiles, seconds: float) -> Result:
        if self._overdue:
            text = f"It did not stop within {self._node.settings.grace:g} s of being asked and was killed."
            log.append(format_lines(time.time(), "WARNING", text))
        log.add_dropped(ended.log_dropped)
        text, key = await self._keep_log(log)
        stopped = self._outcome(ended) in ("stopped", "released")
        return Result(
            outputs=ended.outputs,
            progress=max(self._progress, ended.progress),
            device=self._lane.device,
            log=text,
            log_key=key,
            staged=len(run_files.posted),
            run_seconds=seconds,
            peak_memory_bytes=ended.peak_memory_bytes,
            error=None if stopped else ended.error,
        )

    async def _keep_log(self, log: RunLog) -> tuple[str, str | None]:
        await log.finish()
        text = await log.head_and_tail(INLINE_LOG)
        if log.characters <= INLINE_LOG:
            return text, None
        key = log_key(self.run, self.number)
        upload = FileUpload(key, await log.save(), tags=EXPIRING)
        try:
            await self._node.store.put_files(COLLECTION, [upload])
        except VoxloomError as error:
            lost = format_lines(time.time(), "ERROR", f"The whole log could not be kept: {error.message}")
            return text + lost, None
        return text, key

    def report(self, outcome: Outcome, result: Result) -> ExecutionFinished:
        """What the scheduler is told."""
        return ExecutionFinished(
            subject=self.run,
            project=self.assignment.project,
            attempt=self.number,
            incarnation=self._node.incarnation,
            outcome=outcome,
            result=result,
        )

    def _failed(self, error: VoxloomError) -> frames.Ended:
        """Ours, not the author's: the store has lost something, or a process could not be started."""
        why = RunError(type=type(error).__name__, message=error.message, code=error.code, retryable=error.retryable)
        return frames.Ended(run=self.run, outcome="failed", error=why)

    # news while it runs

    def on_progress(self, value: float) -> None:
        self._progress = max(self._progress, value)
        self._node.bus.announce(
            ExecutionProgressed(subject=self.run, project=self.assignment.project, attempt=self.number, progress=value)
        )

    def _on_log(self, offset: int, text: str) -> None:
        self._node.bus.announce(
            ExecutionLogged(
                subject=self.run, project=self.assignment.project, attempt=self.number, offset=offset, text=text
            )
        )


class _Link:
    """The attempt as its runner process sees it."""

    def __init__(self, attempt: Attempt, run_files: RunFiles, log: RunLog) -> None:
        self.progress = attempt.on_progress
        self.logged = log.append
        self.fetch = run_files.fetch
        self.stage = run_files.stage
        self.post = run_files.post
        self.asset = run_files.asset


def notes(assignment: ExecutionAssigned) -> list[str]:
    """What the log should say before the author's code begins."""
    work = assignment.work
    said = [work.device_warning] if work.device_warning else []
    if assignment.device_class != work.devices[0]:
        said.append(f"No worker has a device of class {work.devices[0]}; this runs on {assignment.device_class}.")
    if assignment.lost:
        said.append(f"This is attempt {assignment.attempt}: {assignment.lost} before it were lost with their workers.")
    return said
