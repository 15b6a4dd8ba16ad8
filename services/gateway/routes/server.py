"""The server itself: who it is, whether it is well, what it offers."""

from __future__ import annotations

from aiohttp import web

from services.gateway import metrics
from services.gateway.context import context_of
from services.gateway.payloads import json_answer, json_bytes
from services.gateway.problems import problem
from services.gateway.routing import ANY_JSON, HTML, TEXT, Route
from voxloom import __version__
from voxloom.models import ResponseMessage, RootMessage

TAGS = ["compox", "voxloom"]
"""Clients find servers by the first."""
MOST_DEAD_LETTERS = 1000


async def root(request: web.Request) -> web.Response:
    settings = context_of(request).settings
    return json_answer(
        RootMessage(
            name=settings.server_name,
            tags=TAGS,
            group=settings.group,
            organization=settings.organization,
            domain=settings.domain,
            version=__version__,
        )
    )


async def alive(_: web.Request) -> web.Response:
    return json_answer(ResponseMessage(detail="alive"))


async def ready(request: web.Request) -> web.Response:
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
    context = context_of(request)
    body = context.metrics.render(
        runs=context.catalog.count(),
        unfinished=context.view.unfinished,
        queues=await context.bus.stats(),
        dead_letters=len(await context.bus.dead_letters(limit=MOST_DEAD_LETTERS)),
    )
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


async def get_openapi(request: web.Request) -> web.Response:
    return json_bytes(context_of(request).openapi)


async def get_docs(request: web.Request) -> web.Response:
    return web.Response(
        body=context_of(request).docs,
        headers={"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'unsafe-inline'"},
    )


ROUTES = [
    Route("GET", "/", root, "Which server this is", "Server", {200: RootMessage}),
    Route("GET", "/livez", alive, "Whether the server answers", "Server", {200: ResponseMessage}),
    Route(
        "GET",
        "/readyz",
        ready,
        "Whether the server can do its work",
        "Server",
        {200: ResponseMessage},
        {503: ("not_ready",)},
    ),
    Route("GET", "/metrics", get_metrics, "Figures for Prometheus", "Server", {200: TEXT}),
    Route("GET", "/openapi.json", get_openapi, "This document", "Server", {200: ANY_JSON}),
    Route("GET", "/docs", get_docs, "This document, for people", "Server", {200: HTML}),
]
