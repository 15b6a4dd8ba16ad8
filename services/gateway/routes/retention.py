"""How long projects keep what they have."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.payloads import json_answer, read_json
from services.gateway.http.routing import Route
from services.gateway.operations import retention
from services.gateway.routes import examples
from voxloom.models import RetentionRecord, RetentionRequest

PATH = "/api/v1/projects/{project_id}/retention"


async def get_retention(request: web.Request) -> web.Response:
    """For everybody in the project. `server` says after how many days the server itself removes things; what the
    project does not say is null, and goes then.
    """
    return json_answer(retention.find(context_of(request), caller_of(request), request.match_info["project_id"]))


async def put_retention(request: web.Request) -> web.Response:
    """For managers of the project, and for admins. In place of what was. A project can keep things for less time than
    the server, and not for more: 422 `retention_too_long`. What is over its time goes within about ten minutes.
    Nothing goes that somebody keeps, that a sample has, or that a run which has not ended needs.
    """
    wanted = await read_json(request, RetentionRequest)
    project_id = request.match_info["project_id"]
    return json_answer(await retention.put(context_of(request), caller_of(request), project_id, wanted))


ROUTES = [
    Route(
        "GET",
        PATH,
        get_retention,
        "How long a project keeps what it has",
        "Access",
        {200: RetentionRecord},
        {404: ("project_not_found",), 409: ("auth_is_open",)},
        needs="identity",
    ),
    Route(
        "PUT",
        PATH,
        put_retention,
        "Say how long a project keeps what it has",
        "Access",
        {200: RetentionRecord},
        {
            403: ("forbidden",),
            404: ("project_not_found",),
            409: ("auth_is_open", "changed_meanwhile", "project_removed"),
            422: ("retention_too_long",),
        },
        body=RetentionRequest,
        examples=(examples.RETENTION,),
        needs="identity",
        changes_rights=True,
    ),
]
