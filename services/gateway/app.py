"""The HTTP application: routes, and what goes around them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import orjson
from aiohttp import web

from services.gateway import cors, docs, openapi
from services.gateway.context import CONTEXT, Context, Description
from services.gateway.framing import expecting
from services.gateway.freshness import be_fresh
from services.gateway.hosts import guard_host
from services.gateway.metrics import METRICS, measure
from services.gateway.problems import answer_problems
from services.gateway.routes import (
    algorithms,
    benchmarks,
    checkpoints,
    deploys,
    executions,
    filelists,
    files,
    insides,
    news,
    operations,
    samples,
    server,
    trainings,
    watching,
)
from services.gateway.routing import Route

ROUTES: Sequence[Route] = [
    *server.ROUTES,
    *files.ROUTES,
    *filelists.ROUTES,
    *insides.ROUTES,
    *algorithms.ROUTES,
    *deploys.ROUTES,
    *executions.ROUTES,
    *samples.ROUTES,
    *trainings.ROUTES,
    *checkpoints.ROUTES,
    *benchmarks.ROUTES,
    *watching.ROUTES,
    *news.ROUTES,
    *operations.ROUTES,
]


@functools.cache
def describe() -> Description:
    document = openapi.document(ROUTES)
    return Description(orjson.dumps(document), docs.page(document))


def make_app(context: Context) -> web.Application:
    context.describe = describe
    app = web.Application(
        middlewares=[measure, answer_problems, guard_host, cors.guard_origin, be_fresh],
        client_max_size=context.settings.max_json_bytes,
    )
    app[CONTEXT] = context
    app[METRICS] = context.metrics
    app.add_routes([expecting(route.definition()) for route in ROUTES])
    if context.settings.cors_origins:
        app.on_response_prepare.append(cors.add_headers)
    return app
