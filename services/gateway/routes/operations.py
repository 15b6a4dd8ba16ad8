"""What goes on behind the scenes: queues, workers, and messages that nobody could handle."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import FailFast, Field

from services.gateway.context import Context, context_of
from services.gateway.http.payloads import json_answer, json_list, read_json, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.routes import examples
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
    limit: Annotated[int, Field(ge=1, le=MOST_DEAD_LETTERS, description="How many.")] = 100


class DeadLetterIds(Value):
    ids: Annotated[list[Annotated[str, Field(max_length=200)]], FailFast(), Field(max_length=MOST_DEAD_LETTERS)]
    """Of dead letters."""


async def get_queues(request: web.Request) -> web.Response:
    """The figures are at most six seconds old. First come the queues of the system, then one for each scheduler and
    each worker.
    """
    return json_answer(await context_of(request).queues.report())


async def get_workers(request: web.Request) -> web.Response:
    """`state` is `live`, `draining` (it takes no new runs), `silent` (no heartbeat for longer than `lease`) or `gone`.
    A worker that is gone is shown for five minutes, with the `reason`: `stopped`, `silent` or `replaced` (another
    worker has started with its name). Each start of a worker is a new `incarnation`. `busy` can be one more than
    `slots`: a short run may already wait there for its turn.
    """
    context = context_of(request)
    return json_list(context.workers.records(context.view.state_of))


async def list_dead_letters(request: web.Request) -> web.Response:
    """`more` says that there are others. `parked` means that the message comes from a newer version than its reader.
    Replay it after the upgrade.
    """
    limit = read_query(request, DeadLetterQuery).limit
    found = await _dead_letters(context_of(request), limit + 1)
    return json_answer(DeadLetterPage(items=[summary_of(one) for one in found[:limit]], more=len(found) > limit))


async def get_dead_letter(request: web.Request) -> web.Response:
    """As in the list, with `headers` and the body. A JSON body of at most 1 MiB is in `data`; of any other body, `text`
    has the first characters.
    """
    wanted = request.match_info["dead_letter_id"]
    for letter in await _dead_letters(context_of(request), MOST_DEAD_LETTERS):
        if letter.id == wanted:
            return json_answer(record_of(letter))
    raise _not_found(wanted)


async def replay(request: web.Request) -> web.Response:
    """If it fails again, it becomes a dead letter again. 404 `dead_letter_not_found`: there is none of that id, or its
    queue was deleted.
    """
    wanted = request.match_info["dead_letter_id"]
    if not await in_time(context_of(request).bus.replay(wanted)):
        raise _not_found(wanted)
    return json_answer(ResponseMessage(detail="The dead letter was given back to its queue"))


async def replay_many(request: web.Request) -> web.Response:
    """1000 at most. Ids that do not exist are no error."""
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
        examples=(examples.QUEUES,),
        needs="admin",
    ),
    Route(
        "GET",
        "/api/v1/workers",
        get_workers,
        "The workers, and what each does",
        _TAG,
        {200: Many(WorkerRecord)},
        examples=(examples.WORKERS,),
        needs="admin",
    ),
    Route(
        "GET",
        "/api/v1/dead-letters",
        list_dead_letters,
        "Messages that nobody could handle, the oldest first",
        _TAG,
        {200: DeadLetterPage},
        query=DeadLetterQuery,
        examples=(examples.DEAD_LETTERS,),
        needs="admin",
    ),
    Route(
        "GET",
        _ONE,
        get_dead_letter,
        "One dead letter, with what is in it",
        _TAG,
        {200: DeadLetterRecord},
        _NOT_FOUND,
        needs="admin",
    ),
    Route(
        "POST",
        f"{_ONE}/replay",
        replay,
        "Give a dead letter back to the queue it came from, as new",
        _TAG,
        {200: ResponseMessage},
        _NOT_FOUND,
        examples=(examples.REPLAY,),
        needs="admin",
    ),
    Route(
        "POST",
        "/api/v1/dead-letters/replay",
        replay_many,
        "Give many dead letters back to the queues they came from, as new",
        _TAG,
        {200: Replayed},
        body=DeadLetterIds,
        examples=(examples.REPLAY_MANY,),
        needs="admin",
    ),
]
