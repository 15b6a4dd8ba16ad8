"""Who has a name and a password gets a token."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.patience import address_of
from services.gateway.http.payloads import json_answer, read_json, read_values
from services.gateway.http.routing import Route
from services.gateway.operations import logins
from services.gateway.routes import examples
from services.gateway.routes.access import Named
from voxloom.models import LoginRequest, PasswordRequest, ResponseMessage, TokenMade

LONGEST = 4096
"""Bytes of a body with passwords: whoever sends it has proven nothing yet."""


async def log_in(request: web.Request) -> web.Response:
    """`token` in the answer is its only copy; it is good for all that you may, for `login_hours`, until you revoke it
    or change the password. Names that nobody has get the same answer as wrong passwords. After some failures each try
    takes longer, up to 15 seconds; the right password gets in all the same.
    """
    wanted = await read_json(_small(request), LoginRequest)
    made = await logins.log_in(context_of(request), wanted, _address(request))
    return json_answer(made, headers={"Cache-Control": "no-store"})


async def put_password(request: web.Request) -> web.Response:
    """Your own; with `old_password` where there is one. An admin sets those of all. Tokens that were got with the old
    one end at once.
    """
    principal_id = read_values(request.match_info, Named).principal_id
    wanted = await read_json(_small(request), PasswordRequest)
    asked = context_of(request), caller_of(request)
    await logins.set_password(*asked, principal_id, wanted, _address(request))
    return json_answer(ResponseMessage(detail="Password set"))


async def remove_password(request: web.Request) -> web.Response:
    """They log in by password no more; tokens that were got with it end."""
    await logins.remove_password(context_of(request), request.match_info["principal_id"])
    return json_answer(ResponseMessage(detail="Password removed"))


def _small(request: web.Request) -> web.Request:
    """Raises HTTPRequestEntityTooLarge."""
    if request.content_length is None or request.content_length > LONGEST:
        raise web.HTTPRequestEntityTooLarge(LONGEST, request.content_length or 0)
    return request


def _address(request: web.Request) -> str:
    peer = request.transport and request.transport.get_extra_info("peername")
    address = str(peer[0]) if isinstance(peer, tuple) else ""
    forwarded = request.headers.getall("X-Forwarded-For", ())
    return address_of(address, forwarded, context_of(request).settings.trusted_proxies)


_PASSWORD = "/api/v1/principals/{principal_id}/password"  # noqa: S105 - a path
ROUTES = [
    Route(
        "POST",
        "/api/v1/login",
        log_in,
        "Get a token for a name and a password",
        "Access",
        {200: TokenMade},
        {
            401: ("login_failed",),
            403: ("password_login_off", "password_must_change"),
            409: ("auth_is_open", "password_unchanged", "changed_meanwhile"),
            413: ("too_large",),
            422: ("password_too_short",),
            429: ("too_many_logins",),
        },
        body=LoginRequest,
        examples=(examples.LOGIN,),
        needs="nothing",
        changes_rights=True,
    ),
    Route(
        "PUT",
        _PASSWORD,
        put_password,
        "Set a password",
        "Access",
        {200: ResponseMessage},
        {
            403: ("forbidden", "old_password_wrong"),
            404: ("principal_not_found",),
            409: ("auth_is_open", "password_unchanged", "changed_meanwhile"),
            413: ("too_large",),
            422: ("password_too_short",),
            429: ("too_many_logins",),
        },
        body=PasswordRequest,
        needs="identity",
        changes_rights=True,
    ),
    Route(
        "DELETE",
        _PASSWORD,
        remove_password,
        "Remove a password",
        "Access",
        {200: ResponseMessage},
        {404: ("principal_not_found", "password_not_found"), 409: ("auth_is_open",)},
        needs="admin",
        changes_rights=True,
    ),
]
