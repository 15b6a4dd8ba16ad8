"""One attempt at a run: from a free slot to the report of how it went."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from messages.runs import (
    Result,
    RunEvent,
    RunFinished,
    RunHandedOver,
    RunLogged,
    RunProgressed,
    RunStateSet,
)
from messages.workers import Lane
from services.worker.attempt_link import AttemptLink
from services.worker.data import Materials, RunFiles
from services.worker.devices import Device
from services.worker.limits import WallTime
from services.worker.notes import notes
from services.worker.outputs import check_outputs
from services.worker.pool import Key, Pool
from services.worker.process import RunnerProcess
from services.worker.run_log import RunLog
from services.worker.start import Start
from services.worker.stored_log import keep
from services.worker.threads import variables, wanted
from services.worker.training import Learning, beginning_of, saved_before
from services.worker.trees import give_back, look_over
from shared import files
from shared.bus.base import Bus
from shared.bus.outbox import Outbox
from shared.objects.base import ObjectStore
from shared.records.store import COLLECTIONS, RecordStore, log_key
from shared.settings import Settings
from voxloom.errors import Unavailable, VoxloomError
from voxloom.models import RunError
from voxloom.runner import frames
from voxloom.runner.output import format_lines

PROCESS_TRIES = 3

Outcome = Literal["completed", "failed", "stopped", "released"]

_log = logging.getLogger("voxloom.worker")


@dataclass(frozen=True)
class Node:
    """What the attempts of one worker share."""

    bus: Bus
    store: ObjectStore
    records: RecordStore
    settings: Settings
    pool: Pool
    materials: Materials
    incarnation: str
    outbox: Outbox
    cores: int


class Attempt:
    """Made when the assignment is claimed, performed when a slot is free. `stop` and `release` may come at any time."""

    def __init__(self, assignment: RunHandedOver, lane: Lane, node: Node) -> None:
        self.assignment = assignment
        self.run = assignment.subject
        self.number = assignment.attempt
        self.waited = 0.0
        """Seconds that it has waited for a slot."""
        self.stopping = False
        self.releasing = False
        self._lane = lane
        self._device = Device(lane.device, "")
        self._node = node
        self._preparing: asyncio.Timeout | None = None
        self._process: RunnerProcess | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._killing: asyncio.Task[None] | None = None
        self._overdue = False
        self._start = Start(assignment, node.outbox)
        work = assignment.work
        limits = work.wall_time, node.settings.max_wall_time
        self._wall_time = WallTime(*limits, project=work.project_wall_time, on_over=self._on_time_over)
        self._progress = 0.0
        self._state: dict[str, Any] = {}

    @property
    def store(self) -> ObjectStore:
        return self._node.store

    @property
    def settings(self) -> Settings:
        return self._node.settings

    # what others ask of it

    def stop(self) -> None:
        """Asks the author's code to stop, and sees to it that it has ended when the grace period is over."""
        if self.stopping:
            return
        self.stopping = True
        self._wall_time.cancel()
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

    def _on_time_over(self) -> None:
        """Like a stop, but the run has failed, whatever it still comes to."""
        if self._process is not None and not self._called_off():
            self._ask_to_stop(self._process)

    def _ask_to_stop(self, process: RunnerProcess) -> None:
        process.stop(self.run)
        if self._killer is not None:  # It was asked before, for another reason.
            return
        self._killer = asyncio.get_running_loop().call_later(self._node.settings.grace, self._kill_overdue)

    def _kill_overdue(self) -> None:
        self._overdue = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._killing is None:
            self._killing = asyncio.create_task(self._process.kill(), name=f"worker.kill.{self.run}")

    # its life

    def key_on(self, device: Device) -> Key:
        """What a process must be bound to that performs this on that device."""
        work = self.assignment.work
        checkpoint = work.checkpoint_id or ""
        if work.task == "training" and self.number > 1:
            checkpoint = f"{self.run}/{self.number}"  # what it has saved, which nobody else begins with
        project = self.assignment.project
        modules = self._node.materials.trees.generation(project, work.algorithm.module)
        return Key(project, modules, work.algorithm.assets, device.name, checkpoint)

    async def perform(self, device: Device) -> RunFinished:
        """Does it there. A VoxloomError is how the attempt failed; what else is raised is a fault of the worker."""
        self._device = device
        run_files = await self._open_files()
        log = RunLog(run_files.folder / "log.txt", limit=self._node.settings.max_log_bytes, on_piece=self._on_log)
        begun = time.monotonic()
        try:
            ended = await self._end_of(run_files, log)
            result = await self._result(ended, log, run_files, time.monotonic() - begun)
            return self.report(self._outcome(ended), self._start.told_in(result))
        finally:
            self._node.materials.end(run_files)

    async def _end_of(self, run_files: RunFiles, log: RunLog) -> frames.Ended:
        try:
            ended = await self._run_author_code(run_files, log)
            check_outputs(ended.outputs, {*run_files.posted, *self.assignment.work.input_dataset_ids})
            return ended
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
        state = await self._node.records.load_run(run)
        return None if state is None else files.Settled(state.status, state.attempt)

    async def _run_author_code(self, run_files: RunFiles, log: RunLog) -> frames.Ended:
        learning = await self._begin_learning(run_files)
        prepared = await self._prepare(run_files)
        if prepared is None:
            return frames.Ended(run=self.run, outcome="stopped")
        module_dir, process = prepared
        try:
            await self._start.say(self._device.kind, self._card)
            if self._called_off():
                return frames.Ended(run=self.run, outcome="stopped")
            self._process = process
            link = AttemptLink(self, run_files, log, learning, process)
            self._wall_time.begin()
            return await process.run(self._frame(module_dir, run_files), link)
        finally:
            self._wall_time.cancel()
            self._process = None
            await self._end_kill()
            await give_back(self._node.pool, process, self._node.materials.trees, module_dir.name)

    async def _begin_learning(self, run_files: RunFiles) -> Learning:
        """Raises NotFound where the checkpoint to begin with is gone."""
        node = self._node
        before = await saved_before(node.store, self.assignment)
        beginning = await beginning_of(node.store, self.assignment, before)
        if beginning is not None:
            run_files.lay_over(beginning.assets)
        learning = Learning(node.store, node.materials, node.outbox, self.assignment, beginning, run_files.work)
        learning.say_again(before)
        return learning

    async def _prepare(self, run_files: RunFiles) -> tuple[Path, RunnerProcess] | None:
        """The code, and a process to run it in; None if the run was to stop before there were both."""
        try:
            async with asyncio.timeout(None) as self._preparing:
                if self._called_off():
                    return None
                module_dir, process = await self._place(run_files)
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

    async def _place(self, run_files: RunFiles) -> tuple[Path, RunnerProcess]:
        """Anew where another run has changed the algorithm's folder, or does so meanwhile."""
        node = self._node
        await look_over(node.pool, node.materials.trees, (await run_files.tree()).name)
        while True:
            key = self.key_on(self._device)
            module_dir = await run_files.tree()
            process = await self._acquire(key)
            if key == self.key_on(self._device):
                return module_dir, process
            node.pool.release(process, reusable=False)

    async def _acquire(self, key: Key) -> RunnerProcess:
        """Nothing has begun yet: that a process dies before it is ready need not cost the run."""
        session = self.assignment.work.session_token
        for _ in range(PROCESS_TRIES - 1):
            try:
                return await self._node.pool.acquire(key, session)
            except Unavailable as error:
                _log.warning("run %s: %s It tries another.", self.run, error.message)
        return await self._node.pool.acquire(key, session)

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
            task=work.task,
            module_dir=str(module_dir),
            device=self._device.kind,
            visible_cards=self._device.visible,
            input_dataset_ids=work.input_dataset_ids,
            sample_ids=work.sample_ids,
            args=work.arguments,
            session_token=work.session_token,
            session_items=self._node.settings.session_items,
            session_bytes=self._node.settings.session_bytes,
            session_hours=self._node.settings.session_hours,
            scratch=str(run_files.work),
            notes=notes(self.assignment),
            environment=self._environment(),
            log_limit=self._node.settings.max_log_bytes,
        )

    def _environment(self) -> dict[str, str]:
        threads = self.assignment.work.threads
        return {} if threads is None else variables(os.environ, wanted(threads, self._node.cores))

    @property
    def _card(self) -> str | None:
        return self._device.name if self._device.visible else None

    # how it went

    def _outcome(self, ended: frames.Ended) -> Outcome:
        if self.releasing and ended.outcome != "completed":
            return "released"
        if self._wall_time.over:
            return "failed"
        return "stopped" if self._overdue and ended.outcome == "failed" else ended.outcome

    async def _result(self, ended: frames.Ended, log: RunLog, run_files: RunFiles, seconds: float) -> Result:
        if self._overdue:
            text = f"It did not stop within {self._node.settings.grace:g} s of being asked and was killed."
            log.append(format_lines(time.time(), "WARNING", text))
        if (over := self._wall_time.error) is not None:
            log.append(format_lines(time.time(), "ERROR", over.message))
        log.add_dropped(ended.log_dropped)
        store, place = self._node.store, COLLECTIONS[self.assignment.work.task]
        text, key = await keep(log, store, place, log_key(self.run, self.number))
        stopped = self._outcome(ended) in ("stopped", "released")
        return Result(
            outputs=[] if over else ended.outputs,
            progress=max(self._progress, ended.progress),
            device=self._device.kind,
            card=self._card,
            log=text,
            log_key=key,
            staged=len(run_files.posted),
            run_seconds=seconds,
            peak_memory_bytes=ended.peak_memory_bytes,
            error=None if stopped else over or ended.error,
            state=self._state,
            data=ended.data,
        )

    def report(self, outcome: Outcome, result: Result) -> RunFinished:
        """What the scheduler is told."""
        return RunFinished(
            task=self.assignment.work.task,
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
        if math.isfinite(value):
            self._progress = max(self._progress, value)
            self._announce(RunProgressed, progress=value)

    def on_state(self, state: dict[str, Any]) -> None:
        self._state = state
        self._announce(RunStateSet, state=state)

    def _on_log(self, offset: int, text: str) -> None:
        self._announce(RunLogged, offset=offset, text=text)

    def _announce(self, kind: type[RunEvent], **facts: Any) -> None:
        task, project = self.assignment.work.task, self.assignment.project
        self._node.bus.announce(kind(task=task, subject=self.run, project=project, attempt=self.number, **facts))
