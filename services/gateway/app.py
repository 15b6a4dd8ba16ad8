"""The HTTP application: the table of its routes, and what goes around them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import orjson
from aiohttp import web

from services.gateway.context import CONTEXT, Context, Description
from services.gateway.http import cors, openapi, openapi_page
from services.gateway.http.authentication import keep_apart
from services.gateway.http.callers import Need
from services.gateway.http.framing import expecting
from services.gateway.http.front import CHANGES_RIGHTS, FRONT, NEEDS, ChangesRights, Needs
from services.gateway.http.middleware import serve
from services.gateway.http.routing import Chapter, Route
from services.gateway.routes import (
    access,
    algorithms,
    audit,
    benchmarks,
    checkpoints,
    deploys,
    events,
    executions,
    file_lists,
    files,
    identities,
    keeping,
    limits,
    logins,
    operations,
    retention,
    run_events,
    samples,
    server,
    slices,
    trainings,
)

ROUTES: Sequence[Route] = [
    *server.ROUTES,
    *files.ROUTES,
    *file_lists.ROUTES,
    *keeping.ROUTES,
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
    *access.ROUTES,
    *limits.ROUTES,
    *retention.ROUTES,
    *audit.ROUTES,
    *logins.ROUTES,
    *identities.ROUTES,
]
"""All that are served; a new module of routes has its line here."""

CHAPTERS = (
    Chapter(
        "Files",
        "Files",
        "A file is one HDF5 file. After the upload it never changes. [inputs.md](inputs.md) says what it may hold.",
    ),
    Chapter(
        "Deploys",
        "Deploys",
        "A deploy puts an algorithm into the server, or a new minor version of it. "
        "[authors.md](authors.md) tells how to write one.",
    ),
    Chapter("Algorithms", "Algorithms", "What is deployed: each name and major version is one algorithm."),
    Chapter("Executions", "Executions", "An execution is one run of an algorithm on files."),
    Chapter("Samples", "Samples", "[training.md](training.md) tells what samples, trainings and checkpoints are for."),
    Chapter("Trainings", "Trainings", "An algorithm that can be trained learns from samples."),
    Chapter("Checkpoints", "Checkpoints", "What trainings have saved, for executions and trainings to begin with."),
    Chapter("Benchmarks", "Benchmarks", "An algorithm that can measure itself is told to."),
    Chapter(
        "Operations",
        "Queues, workers, dead letters",
        "`voxloom queues`, `voxloom workers` and `voxloom dead` show the same. "
        "[operations.md](operations.md#watching-it) explains what to do about it.",
    ),
    Chapter(
        "Access",
        "Who may do what",
        'On a server with `auth = "closed"`. [access.md](access.md) tells how to set one up.',
    ),
    Chapter("Server", "The server", "Which server this is, whether it is well, and what it offers."),
)
"""What they are grouped by in their documents, in the order in which one reads it."""


def add(app: web.Application, route: web.AbstractRouteDef, needs: Need, *, changes_rights: bool = False) -> None:
    for one in app.add_routes([expecting(route)]):
        assert one.resource is not None
        at = one.method, one.resource.canonical
        app[NEEDS][at] = needs
        if changes_rights:
            app[CHANGES_RIGHTS].add(at)


@functools.cache
def describe() -> Description:
    document = openapi.document(ROUTES, CHAPTERS)
    return Description(orjson.dumps(document), openapi_page.page(document))


def make_app(context: Context) -> web.Application:
    context.describe = describe
    app = web.Application(middlewares=[serve], client_max_size=context.settings.max_json_bytes)
    app[CONTEXT] = context
    app[FRONT] = context
    app[NEEDS] = Needs()
    app[CHANGES_RIGHTS] = ChangesRights()
    for route in ROUTES:
        add(app, route.definition(), route.needs, changes_rights=route.changes_rights)
    if context.door is not None:
        app.on_response_prepare.append(keep_apart)
    if context.settings.cors_origins:
        app.on_response_prepare.append(cors.add_headers)
    return app
