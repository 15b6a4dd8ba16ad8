"""A run's link to its worker, over frames: the host's side of voxloom.runner.handler.Link."""

from __future__ import annotations

import itertools
import queue
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxloom.errors import Damaged, InvalidInput, Unavailable, VoxloomError
from voxloom.runner import frames
from voxloom.runner.channel import Channel, ChannelClosed
from voxloom.runner.exceptions import AssetNotFound, FileUnknown, NoRun, TaskStoppedException
from voxloom.runner.logger import Level
from voxloom.runner.output import Outbox
from voxloom.runner.sessions import Limits, RunSession, Sessions
from voxloom.runner.training import SampleNotFound
from voxloom.runner.traininghandler import CheckpointInvalid
from voxloom.values import RunError

_WAKE_UP = None
"""Put beside the answers when a stop arrives, so that who waits looks for it."""


class WorkerLink:
    """One run's. `answer` and `stop` are called by the thread that reads the socket, the rest by the author's."""

    def __init__(self, frame: frames.Run, channel: Channel, outbox: Outbox, sessions: Sessions | None = None) -> None:
        self.frame = frame
        self.session = self._session_of(sessions)
        self._channel = channel
        self._outbox = outbox
        self._lock = threading.Lock()
        self._stop_due = False
        self._over = False
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[frames.Answer | None]] = {}

    # --- for the author's threads -------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        return self.frame.run

    @property
    def session_token(self) -> str:
        return self.frame.session_token

    @property
    def device(self) -> str:
        return self.frame.device

    def check_stopped(self) -> None:
        if not self._stop_due:
            return
        with self._lock:
            due, self._stop_due = self._stop_due, False
        if due:
            raise TaskStoppedException

    def fetch_paths(self, file_ids: Sequence[str]) -> list[Path]:
        return [Path(path) for path in self._ask("fetch", {"file_ids": list(file_ids)})["paths"]]

    def stage(self, count: int) -> list[tuple[str, Path]]:
        return [(file["file_id"], Path(file["path"])) for file in self._ask("stage", {"count": count})["files"]]

    def post(self, file_ids: Sequence[str]) -> None:
        self._ask("post", {"file_ids": list(file_ids)})

    def asset_path(self, path: str) -> Path:
        return Path(self._ask("asset", {"path": path})["path"])

    def samples(self, sample_ids: Sequence[str]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = self._ask("samples", {"sample_ids": list(sample_ids)})["samples"]
        return told

    def save_checkpoint(self, assets: Mapping[str, bytes], properties: Mapping[str, Any]) -> str:
        """Contents go by files: frames are for small things."""
        with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=self.scratch) as folder:
            places = {path: Path(folder) / str(number) for number, path in enumerate(assets)}
            for path, place in places.items():
                place.write_bytes(assets[path])
            told = {path: str(place) for path, place in places.items()}
            answer = self._ask("checkpoint", {"assets": told, "properties": dict(properties)})
        return str(answer["checkpoint_id"])

    def drop_checkpoint(self, checkpoint_id: str) -> None:
        self._ask("drop_checkpoint", {"checkpoint_id": checkpoint_id})

    @property
    def scratch(self) -> Path:
        return Path(self.frame.scratch)

    def _session_of(self, sessions: Sessions | None) -> RunSession | None:
        if sessions is None or self.frame.task != "execution":
            return None
        frame = self.frame
        limits = Limits(frame.session_items, frame.session_bytes, frame.session_hours)
        return RunSession(
            lambda: sessions.cache_of(frame.session_token, limits), self, lambda text: self.log(text, "WARNING")
        )

    def session_index(self) -> dict[str, str]:
        items: dict[str, str] = self._ask("session_index", {})["items"]
        return items

    def session_fetch(self, key: str) -> Path | None:
        path = self._ask("session_fetch", {"key": key})["path"]
        return None if path is None else Path(path)

    def session_store(self, items: Mapping[str, Path], removed: Sequence[str]) -> dict[str, str]:
        told = {key: str(path) for key, path in items.items()}
        names: dict[str, str] = self._ask("session_store", {"items": told, "removed": list(removed)})["items"]
        return names

    def set_state(self, state: Mapping[str, Any]) -> None:
        if not self._over:
            self._outbox.set_state(dict(state))

    def set_progress(self, progress: float) -> None:
        if not self._over:
            self._outbox.set_progress(progress)

    def log(self, text: str, level: Level) -> None:
        if level != "DEBUG":
            self._outbox.log(level, text)

    # --- for the reading thread and the host --------------------------------------------------------------

    def answer(self, answer: frames.Answer) -> None:
        if (waiting := self._waiting.get(answer.number)) is not None:
            waiting.put(answer)

    def stop(self) -> None:
        with self._lock:
            self._stop_due = True
            for waiting in self._waiting.values():
                waiting.put(_WAKE_UP)

    def close(self) -> None:
        """The run is over: what a stray thread of it still asks for is refused."""
        self._over = True

    # --- inside -------------------------------------------------------------------------------------------

    def _ask(self, what: frames.Question, params: Mapping[str, Any]) -> dict[str, Any]:
        if self._over:
            raise NoRun(f"The run {self.task_id} is over: end the threads of a run within it.")
        number = next(self._numbers)
        answers: queue.SimpleQueue[frames.Answer | None] = queue.SimpleQueue()
        with self._lock:
            self._waiting[number] = answers
        try:
            self._send(frames.Ask(run=self.task_id, number=number, what=what, params=dict(params)))
            answer = self._wait(answers)
        finally:
            del self._waiting[number]
        if answer.error is not None:
            raise error_of(answer.error)
        value: dict[str, Any] = answer.value
        return value

    def _send(self, ask: frames.Ask) -> None:
        try:
            self._channel.send(ask)
        except ChannelClosed:
            raise NoRun("The runner API works in the run's own process alone, not in its child processes.") from None

    def _wait(self, answers: queue.SimpleQueue[frames.Answer | None]) -> frames.Answer:
        while True:
            self.check_stopped()
            if (answer := answers.get()) is not None:
                return answer


def error_of(error: RunError) -> VoxloomError:
    """What the author's code sees of a worker's refusal."""
    for kind in (AssetNotFound, FileUnknown, SampleNotFound, CheckpointInvalid):
        if error.code == kind.code:
            return kind(error.message)
    if error.code == Damaged.code:
        return Damaged(error.message)
    if error.retryable:
        return Unavailable(error.message, code=error.code)
    return InvalidInput(error.message, code=error.code)
