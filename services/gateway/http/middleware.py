"""What goes around every route. It is one step: as five, each would cost a small answer more than what it does."""

from __future__ import annotations

import time
from http import HTTPStatus

from aiohttp import web

from services.gateway.http.audit import Ended, ended_with, note_caller
from services.gateway.http.authentication import challenge
from services.gateway.http.callers import Need, admit, known_caller
from services.gateway.http.consistency import be_fresh, is_fresh
from services.gateway.http.cors import check_origin
from services.gateway.http.front import NEEDS, Front, front_of
from services.gateway.http.hosts import check_host
from services.gateway.http.peers import check_peer
from services.gateway.http.problems import CLIENT_GONE, Handler, answer_to
from shared.audit.doing import doing

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


@web.middleware
async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever is refused or raised becomes a problem, and every request is counted, also one whose client leaves."""
    begun = time.perf_counter()
    front, ended = front_of(request), Ended(CLIENT_GONE)
    need = _need(request)
    told = front.auditor.begin(request) if front.auditor is not None else None
    try:
        try:
            check_peer(request, front.settings)
            check_host(request, front.settings)
            response: web.StreamResponse | None = check_origin(request, front.settings)
            if response is None:
                response = await _serve(request, handler, front, need)
        except Exception as error:  # noqa: BLE001 - whatever a handler fails with, the client gets a problem
            response = answer_to(request, error)
            if response.status == HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = challenge(request)
        ended = Ended(response.status) if told is None else ended_with(response)
        return response
    finally:
        if front.auditor is not None and told is not None:
            front.auditor.end(told, request, need, ended)
        front.metrics.requests.observe(_method(request), _route(request), ended.status, time.perf_counter() - begun)


async def _serve(request: web.Request, handler: Handler, front: Front, need: Need | None) -> web.StreamResponse:
    door = front.door
    if door is not None and need in (None, "nothing"):
        return await handler(request)  # which nobody need prove anything for, so it costs the broker nothing
    if door is not None:
        await door.be_sure(request)
        admit(request, need, front.caller_of)
        if (told := doing()) is not None:
            note_caller(told, known_caller(request))
        return await door.serve(request, handler)
    admit(request, need, front.caller_of)
    if not is_fresh(request, front):
        await be_fresh(request, front)
    return await handler(request)


def _need(request: web.Request) -> Need | None:
    """A route without a stated need is for admins."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    return request.app[NEEDS].get((method, resource.canonical), "admin")


def _method(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "(other)"


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(none)"
