"""The HTTP application: routes, and what goes around them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import orjson
from aiohttp import web

from services.gateway.context import CONTEXT, Context, Description
from services.gateway.http import cors, openapi, openapi_page
from services.gateway.http.framing import expecting
from services.gateway.http.front import FRONT
from services.gateway.http.middleware import serve
from services.gateway.http.routing import Route
from services.gateway.routes import (
    algorithms,
    benchmarks,
    checkpoints,
    deploys,
    events,
    executions,
    file_lists,
    files,
    operations,
    run_events,
    samples,
    server,
    slices,
    trainings,
)
from services.gateway.routes.chapters import CHAPTERS

ROUTES: Sequence[Route] = [
    *server.ROUTES,
    *files.ROUTES,
    *file_lists.ROUTES,
    *slices.ROUTES,
    *algorithms.ROUTES,
    *deploys.ROUTES,
    *executions.ROUTES,
    *samples.ROUTES,
    *trainings.ROUTES,
    *checkpoints.ROUTES,
    *benchmarks.ROUTES,
    *run_events.ROUTES,
    *events.ROUTES,
    *operations.ROUTES,
]


@functools.cache
def describe() -> Description:
    document = openapi.document(ROUTES, CHAPTERS)
    return Description(orjson.dumps(document), openapi_page.page(document))


def make_app(context: Context) -> web.Application:
    context.describe = describe
    app = web.Application(middlewares=[serve], client_max_size=context.settings.max_json_bytes)
    app[CONTEXT] = context
    app[FRONT] = context
    app.add_routes([expecting(route.definition()) for route in ROUTES])
    if context.settings.cors_origins:
        app.on_response_prepare.append(cors.add_headers)
    return app
