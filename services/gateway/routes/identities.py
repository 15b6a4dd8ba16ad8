"""How one logs in here, who of an OpenID provider is whom, and logging out everywhere."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.payloads import json_answer, read_json, read_values
from services.gateway.http.routing import Route
from services.gateway.operations import identities
from services.gateway.routes.access import Named
from voxloom.models import IdentityRequest, LoginOffer, ResponseMessage


async def get_login(request: web.Request) -> web.Response:
    """`password`: whether `POST` takes names and passwords. `oidc`: which provider gives out access tokens, and under
    which client a program asks it for one (the device flow, RFC 8628); null if there is none.
    """
    return json_answer(identities.offer_of(context_of(request)))


async def put_identity(request: web.Request) -> web.Response:
    """Who has this subject (`sub`) at the provider of the server is this principal here."""
    principal_id = read_values(request.match_info, Named).principal_id
    wanted = await read_json(request, IdentityRequest)
    await identities.link(context_of(request), caller_of(request), principal_id, wanted)
    return json_answer(ResponseMessage(detail="Identity linked"))


async def remove_identity(request: web.Request) -> web.Response:
    """Access tokens of the provider let nobody in as this principal any more."""
    await identities.unlink(context_of(request), request.match_info["principal_id"])
    return json_answer(ResponseMessage(detail="Identity removed"))


async def log_out(request: web.Request) -> web.Response:
    """Yours, or anybody's if you are an admin: no token that was issued before this moment is good any more, whether
    it is one of ours or the provider's.
    """
    await identities.log_out(context_of(request), caller_of(request), request.match_info["principal_id"])
    return json_answer(ResponseMessage(detail="Logged out everywhere"))


_PRINCIPAL = "/api/v1/principals/{principal_id}"
ROUTES = [
    Route(
        "GET",
        "/api/v1/login",
        get_login,
        "How to log in",
        "Access",
        {200: LoginOffer},
        needs="nothing",
    ),
    Route(
        "PUT",
        f"{_PRINCIPAL}/identity",
        put_identity,
        "Link somebody of the OpenID provider",
        "Access",
        {200: ResponseMessage},
        {404: ("principal_not_found",), 409: ("auth_is_open", "oidc_off", "identity_taken", "changed_meanwhile")},
        body=IdentityRequest,
        needs="admin",
        changes_rights=True,
    ),
    Route(
        "DELETE",
        f"{_PRINCIPAL}/identity",
        remove_identity,
        "Take that link away",
        "Access",
        {200: ResponseMessage},
        {404: ("principal_not_found", "identity_not_found"), 409: ("auth_is_open",)},
        needs="admin",
        changes_rights=True,
    ),
    Route(
        "POST",
        f"{_PRINCIPAL}/logout",
        log_out,
        "End all tokens of a principal",
        "Access",
        {200: ResponseMessage},
        {403: ("forbidden",), 404: ("principal_not_found",), 409: ("auth_is_open", "changed_meanwhile")},
        needs="identity",
        changes_rights=True,
    ),
]
