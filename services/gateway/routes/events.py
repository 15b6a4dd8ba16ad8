"""What happens to all runs, as server-sent events: each client reads the event stream from the place it has got to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import orjson
from aiohttp import web
from pydantic import Field

from messages.base import Event, Kind
from messages.runs import RunFinished, RunRequested
from services.gateway.context import Context, context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.payloads import read_query
from services.gateway.http.routing import EVENT_STREAM, Route
from services.gateway.routes import examples
from services.gateway.routes.run_events import HEADERS, KEEP_ALIVE_SECS, last_seen
from shared.caller import Caller
from shared.records.fold import fold
from voxloom.errors import Unavailable
from voxloom.models import Value, format_time

MOST_READERS = 100
"""Clients at once: each reads the broker's stream on its own."""
AHEAD = 256
"""Events that wait for a client; beyond, its reading of the stream waits for it."""
PATIENCE_SECS = 1.0


def _is_news(kind: Kind, _subject: str) -> bool:
    return kind.entity == "execution" and kind.event is not RunFinished


class NewsQuery(Value):
    project: Annotated[str | None, Field(description="Only of this project.")] = None


class Reader:
    """Takes what is news out of the stream for one client."""

    def __init__(self, context: Context, caller: Caller, project: str | None) -> None:
        self._context = context
        self._caller = caller
        self._project = project
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(AHEAD)

    async def take(self, events: Sequence[tuple[int, Event]]) -> None:
        for offset, event in events:
            piece = self._piece(offset, event)
            if piece is not None:
                await self.pieces.put(piece)

    def _piece(self, offset: int, event: Event) -> bytes | None:
        if not self._is_wanted(event):
            return None
        state = fold(None, event)
        if self._context.view.is_outdated(event) or not (state.stage or isinstance(event, RunRequested)):
            return None
        known = self._context.view.state_of(event.subject)
        work = state.work or (known.work if known is not None else None)
        data = {
            "execution_id": event.subject,
            "project": event.project,
            "status": state.status,
            "attempt": event.attempt,
            "time": format_time(event.time),
            "algorithm_name": work.algorithm.name if work is not None else "",
        }
        return b"id: %b\nevent: status\ndata: %b\n\n" % (self._context.event_ids.write(offset), orjson.dumps(data))

    def _is_wanted(self, event: Event) -> bool:
        shown = self._project in (None, event.project) and self._caller.owns(event.project)
        return shown and event.entity == "execution"


async def get_events(request: web.Request) -> web.StreamResponse:
    """All of them, or with `?project=` those of one project. The data of an event are `execution_id`, `project`,
    `status`, `attempt`, `time` and `algorithm_name`. The stream begins now. With a `Last-Event-ID` header it begins
    after that event, if the event is still kept. At most 100 clients may listen at the same time; the next one gets 503
    `server_busy`.
    """
    context = context_of(request)
    reader = Reader(context, caller_of(request), read_query(request, NewsQuery).project)
    seen = last_seen(request, context)
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    if context.news_readers >= MOST_READERS:
        raise Unavailable(f"{MOST_READERS} clients follow all runs already; try again later.", code="server_busy")
    context.news_readers += 1
    try:
        following = await context.bus.follow(reader.take, after=seen or context.view.newest, wanted=_is_news)
        try:
            return await _tell(request, context, reader)
        finally:
            await following.close(drain=0.0)
    finally:
        context.news_readers -= 1


async def _tell(request: web.Request, context: Context, reader: Reader) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    silent = 0.0
    while not context.view.closed:
        try:
            async with asyncio.timeout(PATIENCE_SECS):
                piece = await reader.pieces.get()
        except TimeoutError:
            silent += PATIENCE_SECS
            if silent < KEEP_ALIVE_SECS:
                continue
            piece = b": still here\n\n"
        silent = 0.0
        await response.write(piece)
    return response


ROUTES = [
    Route(
        "GET",
        "/api/v1/events",
        get_events,
        "Server-sent events `status` of all executions, from now on or after `Last-Event-ID`",
        "Executions",
        {200: EVENT_STREAM},
        query=NewsQuery,
        headers=("Last-Event-ID",),
        examples=(examples.EVENTS,),
        needs="read",
    ),
]
