"""The server itself: who it is, whether it is well, what it offers."""

from __future__ import annotations

import asyncio
from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.gateway.context import Description, context_of
from services.gateway.http import metrics
from services.gateway.http.payloads import json_answer, json_bytes, read_query
from services.gateway.http.problems import problem
from services.gateway.http.routing import ANY_JSON, HTML, TEXT, Route
from services.gateway.views.statistics import stats_of
from voxloom import __version__
from voxloom.models import ResponseMessage, RootMessage, ServerStats, Value

TAGS = ["compox", "voxloom"]
"""Clients find servers by the first."""


class StatsQuery(Value):
    hours: Annotated[float, Field(gt=0, le=24 * 366, description="The time up to now that rates are of.")] = 1.0


async def root(request: web.Request) -> web.Response:
    """Name, group, organization, domain, version, tags. `cuda_available` and `cuda_capable_devices_count` describe the
    live workers; they are null if there is none.
    """
    settings = context_of(request).settings
    cards = context_of(request).workers.cards()
    return json_answer(
        RootMessage(
            name=settings.server_name,
            tags=TAGS,
            group=settings.group,
            organization=settings.organization,
            domain=settings.domain,
            version=__version__,
            cuda_available=cards > 0 if cards is not None else None,
            cuda_capable_devices_count=cards,
        )
    )


async def alive(_: web.Request) -> web.Response:
    """200 as long as the server answers at all."""
    return json_answer(ResponseMessage(detail="alive"))


async def ready(request: web.Request) -> web.Response:
    """200 when it can do its work; else 503 `not_ready`, and `details.faults` says what is missing."""
    faults = await context_of(request).ready()
    if faults:
        return problem(
            503,
            "not_ready",
            f"The server cannot do its work now: {'; '.join(faults)}.",
            retryable=True,
            details={"faults": list(faults)},
        )
    return json_answer(ResponseMessage(detail="ready"))


async def get_metrics(request: web.Request) -> web.Response:
    """[operations.md](operations.md) lists the figures. They come at once, also while the broker is away."""
    context = context_of(request)
    queues = await context.queues.known()
    body = context.metrics.render(
        runs=context.catalog.count(),
        unfinished=context.view.unfinished,
        queues=queues.figures,
        queues_age=queues.age,
        workers=context.workers.count(),
        dead_letters=queues.dead_letters,
        disk=context.room.figures,
    )
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


async def get_stats(request: web.Request) -> web.Response:
    """`runs` by status. For the last `hours`: how many runs were submitted, how many ended in which status,
    `ended_per_minute`, `seconds_median` and `seconds_p95` from submit to end; the same for each algorithm. And how many
    `slots` of the live workers are `busy`.
    """
    context, hours = context_of(request), read_query(request, StatsQuery).hours
    return json_answer(stats_of(context.catalog, context.workers.records(context.view.state_of), hours))


async def _description(request: web.Request) -> Description:
    return await asyncio.to_thread(context_of(request).describe)


async def get_openapi(request: web.Request) -> web.Response:
    """An OpenAPI 3.1 document of all routes."""
    return json_bytes((await _description(request)).openapi)


async def get_docs(request: web.Request) -> web.Response:
    """The page runs no script and loads nothing from elsewhere."""
    return web.Response(
        body=(await _description(request)).docs,
        headers={"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'unsafe-inline'"},
    )


ROUTES = [
    Route("GET", "/", root, "Which server this is", "Server", {200: RootMessage}, needs="nothing"),
    Route("GET", "/livez", alive, "Whether the server answers", "Server", {200: ResponseMessage}, needs="nothing"),
    Route(
        "GET",
        "/readyz",
        ready,
        "Whether the server can do its work",
        "Server",
        {200: ResponseMessage},
        {503: ("not_ready",)},
        needs="nothing",
    ),
    Route("GET", "/metrics", get_metrics, "Figures for Prometheus", "Server", {200: TEXT}, needs="admin"),
    Route(
        "GET",
        "/api/v1/stats",
        get_stats,
        "How many runs there are, how fast they go, how long they take, and which fail",
        "Server",
        {200: ServerStats},
        query=StatsQuery,
        needs="admin",
    ),
    Route("GET", "/openapi.json", get_openapi, "The OpenAPI document", "Server", {200: ANY_JSON}, needs="nothing"),
    Route("GET", "/docs", get_docs, "The OpenAPI document, for people", "Server", {200: HTML}, needs="nothing"),
]
