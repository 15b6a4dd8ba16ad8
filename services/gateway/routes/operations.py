"""What goes on behind the scenes: queues, workers, and messages that nobody could handle."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import FailFast, Field

from services.gateway.context import Context, context_of
from services.gateway.http.payloads import json_answer, json_list, read_json, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.views.dead_letters import record_of, summary_of
from services.gateway.views.queue_sampler import MOST_DEAD_LETTERS, in_time
from shared.bus.base import DeadLetter
from voxloom.errors import NotFound
from voxloom.models import (
    DeadLetterPage,
    DeadLetterRecord,
    QueueReport,
    Replayed,
    ResponseMessage,
    Value,
    WorkerRecord,
)


class DeadLetterQuery(Value):
    limit: Annotated[int, Field(ge=1, le=MOST_DEAD_LETTERS)] = 100


class DeadLetterIds(Value):
    ids: Annotated[list[Annotated[str, Field(max_length=200)]], FailFast(), Field(max_length=MOST_DEAD_LETTERS)]


async def get_queues(request: web.Request) -> web.Response:
    return json_answer(await context_of(request).queues.report())


async def get_workers(request: web.Request) -> web.Response:
    context = context_of(request)
    return json_list(context.workers.records(context.view.state_of))


async def list_dead_letters(request: web.Request) -> web.Response:
    limit = read_query(request, DeadLetterQuery).limit
    found = await _dead_letters(context_of(request), limit + 1)
    return json_answer(DeadLetterPage(items=[summary_of(one) for one in found[:limit]], more=len(found) > limit))


async def get_dead_letter(request: web.Request) -> web.Response:
    wanted = request.match_info["dead_letter_id"]
    for letter in await _dead_letters(context_of(request), MOST_DEAD_LETTERS):
        if letter.id == wanted:
            return json_answer(record_of(letter))
    raise _not_found(wanted)


async def replay(request: web.Request) -> web.Response:
    wanted = request.match_info["dead_letter_id"]
    if not await in_time(context_of(request).bus.replay(wanted)):
        raise _not_found(wanted)
    return json_answer(ResponseMessage(detail="The dead letter was given back to its queue"))


async def replay_many(request: web.Request) -> web.Response:
    wanted = dict.fromkeys((await read_json(request, DeadLetterIds)).ids)
    replayed = await in_time(context_of(request).bus.replay(*wanted))
    return json_answer(Replayed(replayed=len(replayed), not_found=[one for one in wanted if one not in replayed]))


async def _dead_letters(context: Context, limit: int) -> list[DeadLetter]:
    return await in_time(context.bus.dead_letters(limit=limit))


def _not_found(wanted: str) -> NotFound:
    return NotFound(
        f"There is no dead letter {wanted[:200]!r} with a queue to go back to, or not any more; "
        "`GET /api/v1/dead-letters` shows which there are.",
        code="dead_letter_not_found",
    )


_ONE = "/api/v1/dead-letters/{dead_letter_id}"
_NOT_FOUND = {404: ("dead_letter_not_found",)}
_TAG = "Operations"

ROUTES = [
    Route(
        "GET",
        "/api/v1/queues",
        get_queues,
        "How many events wait in each queue, how fast it moves, and how old the oldest is",
        _TAG,
        {200: QueueReport},
    ),
    Route("GET", "/api/v1/workers", get_workers, "The workers, and what each does", _TAG, {200: Many(WorkerRecord)}),
    Route(
        "GET",
        "/api/v1/dead-letters",
        list_dead_letters,
        "Messages that nobody could handle, the oldest first",
        _TAG,
        {200: DeadLetterPage},
        query=DeadLetterQuery,
    ),
    Route("GET", _ONE, get_dead_letter, "One of them, with what is in it", _TAG, {200: DeadLetterRecord}, _NOT_FOUND),
    Route(
        "POST",
        f"{_ONE}/replay",
        replay,
        "Give one back to the queue it came from, as new",
        _TAG,
        {200: ResponseMessage},
        _NOT_FOUND,
    ),
    Route(
        "POST",
        "/api/v1/dead-letters/replay",
        replay_many,
        "Give many back to the queues they came from, as new",
        _TAG,
        {200: Replayed},
        body=DeadLetterIds,
    ),
]
