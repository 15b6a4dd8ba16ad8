"""What projects may take at most."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.payloads import json_answer, read_json
from services.gateway.http.routing import Route
from services.gateway.operations import limits
from services.gateway.routes import examples
from voxloom.models import LimitsRecord, LimitsRequest

PATH = "/api/v1/projects/{project_id}/limits"


async def get_limits(request: web.Request) -> web.Response:
    """For everybody in the project. `used` is what it has just now. `stored_bytes` counts its files: uploads, and what
    runs have made. A project for which nobody has set limits has none, and the weight 1.
    """
    return json_answer(await limits.find(context_of(request), caller_of(request), request.match_info["project_id"]))


async def put_limits(request: web.Request) -> web.Response:
    """In place of those that were: what the body does not say is not limited. `runs_at_once` and `weight` count at once
    for runs that wait already; the others are looked at when something new is asked for. What runs or is stored stays.
    """
    wanted = await read_json(request, LimitsRequest)
    project_id = request.match_info["project_id"]
    return json_answer(await limits.put(context_of(request), caller_of(request), project_id, wanted))


ROUTES = [
    Route(
        "GET",
        PATH,
        get_limits,
        "The limits of a project, and what it uses of them",
        "Access",
        {200: LimitsRecord},
        {404: ("project_not_found",), 409: ("auth_is_open",)},
        needs="identity",
    ),
    Route(
        "PUT",
        PATH,
        put_limits,
        "Limit what a project may take",
        "Access",
        {200: LimitsRecord},
        {404: ("project_not_found",), 409: ("auth_is_open", "changed_meanwhile", "project_removed")},
        body=LimitsRequest,
        examples=(examples.LIMITS,),
        needs="admin",
        changes_rights=True,
    ),
]
