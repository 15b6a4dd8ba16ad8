"""The event stream of a run: server-sent events into bytes-exact lines, and those into updates that never repeat."""

from __future__ import annotations

import json
from dataclasses import dataclass

from voxloom.models import ExecutionRecord, Status


@dataclass(frozen=True)
class StatusUpdate:
    """The run has come to `status`; the last update of a run has a terminal one. `record.log` is empty."""

    record: ExecutionRecord

    @property
    def status(self) -> Status:
        return self.record.status


@dataclass(frozen=True)
class ProgressUpdate:
    """How far the run is, from 0 to 1; it never falls."""

    attempt: int
    progress: float


@dataclass(frozen=True)
class LogUpdate:
    """Lines of the run's log. A new attempt begins a new log.

    `offset`: how many characters of this attempt's log came before. Lines that the server itself did not hear while
    the run went on are left out; `Run.log()` has them all once it has ended.
    """

    attempt: int
    text: str
    offset: int = 0


Update = StatusUpdate | ProgressUpdate | LogUpdate


# --- server-sent events -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServerEvent:
    name: str
    data: str
    id: str | None


class EventDecoder:
    """Bytes in, events out. Lines end at LF or CRLF only: a log may hold any other separator Unicode knows."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [event for line in lines if (event := self._take(line.removesuffix(b"\r"))) is not None]

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.decode().partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id":
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", "\n".join(self._data), self._id) if self._data else None
        self._name, self._data, self._id = "", [], None
        return event


# --- updates ----------------------------------------------------------------------------------------------


class Watched:
    """What a watcher has seen of a run, over all its connections: the same news is never told twice.

    Raises ValueError (and KeyError) for an event that is not as the server promises.
    """

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.ended: ExecutionRecord | None = None
        self._status: tuple[int, Status] | None = None
        self._progress = -1.0
        self._attempt = 0
        self._position = 0
        """Characters of this attempt's log that were told."""

    def take(self, event: ServerEvent) -> Update | None:
        self.last_id = event.id or self.last_id
        if event.name == "status":
            return self._take_status(ExecutionRecord.model_validate_json(event.data))
        if event.name == "progress":
            data = json.loads(event.data)
            return self._take_progress(data["attempt"], data["progress"])
        if event.name == "log":
            data = json.loads(event.data)
            return self._take_log(data["attempt"], data["offset"], data["text"])
        return None

    def last_attempt(self, event: ServerEvent) -> int | None:
        """Where the event ends the run, the attempt that was the last, whose whole log is there now (0: none began)."""
        if event.name != "status":
            return None
        record = ExecutionRecord.model_validate_json(event.data)
        return record.attempt if record.status.terminal else None

    def fill(self, log: str, attempt: int) -> LogUpdate | None:
        """What the whole log of that attempt has beyond what was told."""
        return self._take_log(attempt, 0, log)

    def _take_status(self, record: ExecutionRecord) -> StatusUpdate | None:
        if (record.attempt, record.status) == self._status:
            return None
        self._status = (record.attempt, record.status)
        self.ended = record if record.status.terminal else None
        return StatusUpdate(record)

    def _take_progress(self, attempt: int, progress: float) -> ProgressUpdate | None:
        if progress <= self._progress:
            return None
        self._progress = progress
        return ProgressUpdate(attempt, progress)

    def _take_log(self, attempt: int, offset: int, text: str) -> LogUpdate | None:
        if attempt < self._attempt:
            return None
        if attempt > self._attempt:
            self._attempt, self._position = attempt, 0
        known = max(0, self._position - offset)
        self._position = max(self._position, offset + len(text))
        return LogUpdate(attempt, text[known:], offset + known) if text[known:] else None
