"""Runs as they happen: their log, and all news of one as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import orjson
from aiohttp import web

from messages.runs import Task
from services.gateway.context import Context, context_of
from services.gateway.http.problems import Handler
from services.gateway.http.routing import EVENT_STREAM, TEXT, Route
from services.gateway.http.transfer import send_object, send_text
from services.gateway.operations.logs import log_in_memory, stored_log
from services.gateway.operations.runs import NAMING
from services.gateway.routes.examples import EXECUTION_EVENTS
from services.gateway.routes.run_requests import run_of
from services.gateway.views.replay import missed_statuses
from services.gateway.views.runs import LiveRun, LiveView, Watcher
from shared.records.fold import RunState
from shared.records.store import COLLECTIONS
from shared.records.view import Heard

KEEP_ALIVE_SECS = 15.0
AT_ONCE = 1 << 16
"""Bytes handed to the connection before it has taken what came before."""
LOG_PIECE = 1 << 14
"""Characters of a log in one event."""
_UNNAMED = b"event: status\ndata: "
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


def log_of(task: Task) -> Handler:
    async def get_log(request: web.Request) -> web.StreamResponse:
        """The whole log as text; `Range` and `If-None-Match` work."""
        context = context_of(request)
        run = await run_of(request, task)
        stored = await stored_log(context, run) if run.state.ended else None
        if stored is None:
            return send_text(request, log_in_memory(run))
        return await send_object(request, context.store, COLLECTIONS[task], stored, "text/plain; charset=utf-8")

    return get_log


def events_of(task: Task) -> Handler:
    async def get_events(request: web.Request) -> web.StreamResponse:
        """The events are `status` (the record, without its log), `progress` and `log`, and of a training also `state`:
        what the algorithm reports. The stream ends when the run has ended.

        With a `Last-Event-ID` header the events go on after that status. 204 means that there will be no more events.
        `offset` is the number of characters in the attempt's log before this text.
        """
        return await _tell_of(request, await run_of(request, task))

    return get_events


async def _tell_of(request: web.Request, run: LiveRun) -> web.StreamResponse:
    context = context_of(request)
    seen = last_seen(request, context)
    if run.state.ended and 0 < run.offset <= seen:
        return web.Response(status=204)  # All was told; this keeps an EventSource from asking again.
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    response = web.StreamResponse(headers=HEADERS)
    view = context.view
    with view.watch(run) as watcher:
        missed = await missed_statuses(context.bus, run.state, seen, view.newest) if seen else None
        if run.state.ended and missed == []:
            return web.Response(status=204)
        teller = Teller(run, seen, context, missed or ())
        await response.prepare(request)
        await _tell(response, view, watcher, teller)
    await response.write_eof()
    return response


def last_seen(request: web.Request, context: Context) -> int:
    """What the client has heard last. An id beyond all that there is comes from a broker that is no more."""
    seen = context.event_ids.read(request.headers.get("Last-Event-ID", ""))
    return seen if seen <= context.view.newest else 0


async def _tell(response: web.StreamResponse, view: LiveView, watcher: Watcher, teller: Teller) -> None:
    """Until the run has ended or the server stops. A client that is slow is told the newest, not everything."""
    while True:
        watcher.news.clear()
        await _write(response, teller.news(watcher))
        if teller.ended or view.closed:
            return
        if watcher.news.is_set():
            continue
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECS):
                await watcher.news.wait()
        except TimeoutError:
            await response.write(b": still here\n\n")


async def _write(response: web.StreamResponse, parts: Iterator[bytes]) -> None:
    """Small parts together, large ones in pieces: what a client does not take must not pile up."""
    batch: list[bytes] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += len(part)
        if size < AT_ONCE:
            continue
        for one in batch:
            for start in range(0, len(one), AT_ONCE):
                await response.write(one[start : start + AT_ONCE])
        batch, size = [], 0
    if batch:
        await response.write(b"".join(batch))


class Teller:
    """What one client has been told of a run, and what there is to tell beyond that."""

    def __init__(self, run: LiveRun, seen: int, context: Context, missed: Sequence[tuple[int, RunState]] = ()) -> None:
        """`seen`: the offset of the last status that the client knows; `missed`: those that came after it, as far as
        they could be found."""
        self._run = run
        self._context = context
        self._first = list(missed)
        if not missed and not 0 < run.offset <= seen:
            self._first.append((run.offset, run.state))
        assert run.state.work is not None
        self._identifier = NAMING[run.state.work.task].identifier
        self._progress = 0.0
        self._state = run.told
        self._attempt = 0
        self._position = 0
        self.ended = run.state.ended and not self._first

    def news(self, watcher: Watcher) -> Iterator[bytes]:
        """Server-sent events. Log and progress come before the status that ends them."""
        statuses = [*self._first, *watcher.statuses]
        self._first = []
        watcher.statuses.clear()
        for offset, state in statuses:
            if state.ended:
                yield from self._heard()
                self.ended = True
            yield from self._status(offset, state)
        if not self.ended:
            yield from self._heard()

    def _status(self, offset: int, state: RunState) -> Iterator[bytes]:
        yield b"id: %b\nevent: status\ndata: " % self._context.event_ids.write(offset) if offset else _UNNAMED
        waiting = self._context.waiting(state) if state is self._run.state else None
        yield self._context.shown.json(state, Heard("", self._run.progress, self._run.told, waiting))
        yield b"\n\n"

    def _heard(self) -> Iterator[bytes]:
        run = self._run
        for attempt, offset, text in self._log():
            yield _event(b"log", {self._identifier: run.state.run, "attempt": attempt, "offset": offset, "text": text})
            self._attempt, self._position = attempt, offset + len(text)
        if run.progress > self._progress:
            self._progress = run.progress
            data = {self._identifier: run.state.run, "attempt": run.state.attempt, "progress": run.progress}
            yield _event(b"progress", data)
        if run.told is not self._state:
            self._state = run.told
            yield _event(b"state", {self._identifier: run.state.run, "attempt": run.state.attempt, "state": run.told})

    def _log(self) -> Iterator[tuple[int, int, str]]:
        """Attempt, offset and text of what was not told yet, piece by piece; not what comes meanwhile."""
        log = self._run.log
        if log is None:
            yield from self._log_of_record()
            return
        end = log.end
        while (piece := log.next(self._told(log.attempt), LOG_PIECE)) is not None and piece.offset < end:
            yield log.attempt, *piece

    def _log_of_record(self) -> Iterator[tuple[int, int, str]]:
        state = self._run.state
        stage = state.stage
        if stage is None or stage.result is None or stage.result.log_key is not None:
            return  # Of a long log the record has only the ends: who wants all of it gets /log.
        text = stage.result.log
        while (told := self._told(state.attempt)) < len(text):
            yield state.attempt, told, text[told : told + LOG_PIECE]

    def _told(self, attempt: int) -> int:
        return self._position if attempt == self._attempt else 0


def _event(name: bytes, data: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(data))


def _routes(task: Task, tag: str) -> list[Route]:
    naming = NAMING[task]
    path = f"/api/v1/{task}s/{{{naming.identifier}}}"
    news = "`status`, `progress`, `state` and `log`" if task == "training" else "`status`, `progress` and `log`"
    not_found = {404: (naming.not_found,)}
    return [
        Route(
            "GET",
            f"{path}/log",
            log_of(task),
            f"The log of {_a(task)}, as far as it is known",
            tag,
            {200: TEXT, 206: TEXT, 304: None},
            {**not_found, 416: ("range_not_satisfiable",)},
            headers=("Range", "If-None-Match"),
            needs="read",
        ),
        Route(
            "GET",
            f"{path}/events",
            events_of(task),
            f"Server-sent events {news}, until the {task} has ended",
            tag,
            {200: EVENT_STREAM, 204: None},
            not_found,
            headers=("Last-Event-ID",),
            examples=(EXECUTION_EVENTS,) if task == "execution" else (),
            needs="read",
        ),
    ]


def _a(task: Task) -> str:
    return f"an {task}" if task == "execution" else f"a {task}"


ROUTES = [*_routes("execution", "Executions"), *_routes("training", "Trainings"), *_routes("benchmark", "Benchmarks")]
