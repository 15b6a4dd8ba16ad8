"""Who may do what: principals, projects and their members, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.gateway.context import Context, context_of
from services.gateway.http.callers import Need, caller_of
from services.gateway.http.examples import Example
from services.gateway.http.payloads import json_answer, json_list, read_json, read_query, read_values
from services.gateway.http.problems import Handler
from services.gateway.http.routing import Body, Many, Route
from services.gateway.operations import principals, project_removal, projects, tokens
from services.gateway.routes import examples
from shared.caller import Caller
from voxloom.models import (
    MemberRecord,
    MemberRequest,
    PrincipalRecord,
    PrincipalRequest,
    ProjectRecord,
    ProjectRequest,
    ResponseMessage,
    Slug,
    TokenMade,
    TokenRecord,
    TokenRequest,
    Value,
    WhoAmI,
)


class Named(Value):
    """The ids in a path, where they are to be made."""

    principal_id: Slug = "anybody"
    project_id: Slug = "any"


class RemoveQuery(Value):
    all: Annotated[bool, Field(description="With all that it owns.")] = False


class TokenQuery(Value):
    principal_id: Annotated[str | None, Field(max_length=100, description="Theirs; for admins.")] = None


def _asked(request: web.Request) -> tuple[Context, Caller]:
    return context_of(request), caller_of(request)


# --- oneself --------------------------------------------------------------------------------------------------------


async def who_am_i(request: web.Request) -> web.Response:
    """Which projects your token is good for, and what you may do there."""
    return json_answer(tokens.who_am_i(*_asked(request)))


async def create_token(request: web.Request) -> web.Response:
    """`token` in the answer is its only copy. It is good for no more and for no longer than the token that you ask
    with, and is revoked along with it. What an admin makes for somebody else stands by itself.
    """
    wanted = await read_json(request, TokenRequest)
    return json_answer(await tokens.create(*_asked(request), wanted), headers={"Cache-Control": "no-store"})


async def list_tokens(request: web.Request) -> web.Response:
    """Yours, the newest first; those of all if you are an admin. Nobody can read a secret here."""
    query = read_query(request, TokenQuery)
    return json_list(tokens.list_of(*_asked(request), query.principal_id))


async def revoke_token(request: web.Request) -> web.Response:
    """And all that were made with it. Once the answer is there, no gateway lets anybody in by them, and answers that
    are under way end.
    """
    await tokens.revoke(*_asked(request), request.match_info["token_id"])
    return json_answer(ResponseMessage(detail="Token revoked"))


# --- principals -----------------------------------------------------------------------------------------------------


async def list_principals(request: web.Request) -> web.Response:
    """By id."""
    return json_list(principals.list_all(context_of(request)))


async def get_principal(request: web.Request) -> web.Response:
    return json_answer(principals.find(context_of(request), request.match_info["principal_id"]))


async def put_principal(request: web.Request) -> web.Response:
    """Makes a principal, or changes one. A name that the body does not say stays as it is; the rest gets its default.
    The last admin stays one: 409 `last_admin`.
    """
    principal_id = read_values(request.match_info, Named).principal_id
    wanted = await read_json(request, PrincipalRequest)
    return json_answer(await principals.put(*_asked(request), principal_id, wanted))


async def remove_principal(request: web.Request) -> web.Response:
    """Their tokens end, and they are no member of anything any more. What they have done keeps their id, so nobody else
    gets it.
    """
    await principals.remove(context_of(request), request.match_info["principal_id"])
    return json_answer(ResponseMessage(detail="Principal removed"))


# --- projects -------------------------------------------------------------------------------------------------------


async def list_projects(request: web.Request) -> web.Response:
    """Those that you may look into, by id."""
    return json_list(projects.list_mine(*_asked(request)))


async def get_project(request: web.Request) -> web.Response:
    return json_answer(projects.find(*_asked(request), request.match_info["project_id"]))


async def put_project(request: web.Request) -> web.Response:
    """Makes a project, or changes one: what the body does not say stays as it is. All other projects see the algorithms
    of a `library`, and run them in their own.
    """
    project_id = read_values(request.match_info, Named).project_id
    wanted = await read_json(request, ProjectRequest)
    return json_answer(await projects.put(*_asked(request), project_id, wanted))


async def remove_project(request: web.Request) -> web.Response:
    """One that still owns something is not removed: 409 `project_not_empty`, and `details.counts` says what it owns.

    With `?all=true` it goes with all of that, and nobody can undo it: nobody is let in for it any more, its tokens,
    runs and streams end, its things are removed, and its id is never given again. If that takes longer than a request
    may, the answer is 503 `project_removal_unfinished`: ask again. The same holds if the server was killed meanwhile.
    Nothing of other projects is touched. `default` stays (409 `project_needed`): what says of itself no project belongs
    to it.
    """
    query = read_query(request, RemoveQuery)
    await project_removal.remove(*_asked(request), request.match_info["project_id"], everything=query.all)
    return json_answer(ResponseMessage(detail="Project removed"))


async def list_members(request: web.Request) -> web.Response:
    """By principal."""
    return json_list(projects.members(*_asked(request), request.match_info["project_id"]))


async def put_member(request: web.Request) -> web.Response:
    """Makes a principal a member, or gives them another role. For managers of the project, and for admins."""
    wanted = await read_json(request, MemberRequest)
    ids = request.match_info["project_id"], request.match_info["principal_id"]
    return json_answer(await projects.put_member(*_asked(request), *ids, wanted.role))


async def remove_member(request: web.Request) -> web.Response:
    """What they have made stays the project's."""
    ids = request.match_info["project_id"], request.match_info["principal_id"]
    await projects.remove_member(*_asked(request), *ids)
    return json_answer(ResponseMessage(detail="Member removed"))


_OPEN = ("auth_is_open",)
_WRITTEN = (*_OPEN, "changed_meanwhile")


def _route(
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    answer: Body,
    needs: Need,
    problems: Mapping[int, Sequence[str]],
    *,
    query: type[Value] | None = None,
    body: type[Value] | None = None,
    examples: Sequence[Example] = (),
    changes_rights: bool = False,
) -> Route:
    return Route(
        method,
        path,
        handler,
        summary,
        "Access",
        {200: answer},
        problems,
        query=query,
        body=body,
        needs=needs,
        examples=examples,
        changes_rights=changes_rights,
    )


_NO_PRINCIPAL = ("principal_not_found",)
_NO_PROJECT = ("project_not_found",)

ROUTES = [
    _route("GET", "/api/v1/whoami", who_am_i, "Who you are to this server", WhoAmI, "identity", {}),
    _route(
        "POST",
        "/api/v1/tokens",
        create_token,
        "Make a token",
        TokenMade,
        "identity",
        {403: ("forbidden",), 404: (*_NO_PRINCIPAL, *_NO_PROJECT), 409: (*_OPEN, "too_many_tokens")},
        body=TokenRequest,
        examples=(examples.TOKEN,),
        changes_rights=True,
    ),
    _route(
        "GET",
        "/api/v1/tokens",
        list_tokens,
        "List tokens, without their secrets",
        Many(TokenRecord),
        "identity",
        {409: _OPEN},
        query=TokenQuery,
    ),
    _route(
        "DELETE",
        "/api/v1/tokens/{token_id}",
        revoke_token,
        "Revoke a token, and those made with it",
        ResponseMessage,
        "identity",
        {404: ("token_not_found",), 409: _WRITTEN},
        changes_rights=True,
    ),
    _route(
        "GET",
        "/api/v1/principals",
        list_principals,
        "List people and programs that may ask",
        Many(PrincipalRecord),
        "admin",
        {409: _OPEN},
    ),
    _route(
        "GET",
        "/api/v1/principals/{principal_id}",
        get_principal,
        "One of them",
        PrincipalRecord,
        "admin",
        {404: _NO_PRINCIPAL, 409: _OPEN},
    ),
    _route(
        "PUT",
        "/api/v1/principals/{principal_id}",
        put_principal,
        "Make a principal, or change one",
        PrincipalRecord,
        "admin",
        {409: (*_WRITTEN, "last_admin", "principal_removed"), 422: ("name_reserved",)},
        body=PrincipalRequest,
        examples=(examples.PRINCIPAL,),
        changes_rights=True,
    ),
    _route(
        "DELETE",
        "/api/v1/principals/{principal_id}",
        remove_principal,
        "Remove a principal for good",
        ResponseMessage,
        "admin",
        {404: _NO_PRINCIPAL, 409: (*_WRITTEN, "last_admin")},
        changes_rights=True,
    ),
    _route(
        "GET",
        "/api/v1/projects",
        list_projects,
        "List your projects",
        Many(ProjectRecord),
        "identity",
        {409: _OPEN},
    ),
    _route(
        "GET",
        "/api/v1/projects/{project_id}",
        get_project,
        "One project",
        ProjectRecord,
        "identity",
        {404: _NO_PROJECT, 409: _OPEN},
    ),
    _route(
        "PUT",
        "/api/v1/projects/{project_id}",
        put_project,
        "Make a project, or change one",
        ProjectRecord,
        "admin",
        {409: (*_WRITTEN, "project_removed"), 422: ("name_reserved",)},
        body=ProjectRequest,
        changes_rights=True,
    ),
    _route(
        "DELETE",
        "/api/v1/projects/{project_id}",
        remove_project,
        "Remove a project for good",
        ResponseMessage,
        "admin",
        {
            404: _NO_PROJECT,
            409: (*_WRITTEN, "project_not_empty", "project_needed"),
            503: ("project_removal_unfinished",),
        },
        query=RemoveQuery,
        changes_rights=True,
    ),
    _route(
        "GET",
        "/api/v1/projects/{project_id}/members",
        list_members,
        "List the members of a project",
        Many(MemberRecord),
        "identity",
        {404: _NO_PROJECT, 409: _OPEN},
    ),
    _route(
        "PUT",
        "/api/v1/projects/{project_id}/members/{principal_id}",
        put_member,
        "Make somebody a member, or give them another role",
        MemberRecord,
        "identity",
        {403: ("forbidden",), 404: (*_NO_PROJECT, *_NO_PRINCIPAL), 409: (*_WRITTEN, "project_removed")},
        body=MemberRequest,
        examples=(examples.MEMBER,),
        changes_rights=True,
    ),
    _route(
        "DELETE",
        "/api/v1/projects/{project_id}/members/{principal_id}",
        remove_member,
        "Take somebody out of a project",
        ResponseMessage,
        "identity",
        {403: ("forbidden",), 404: (*_NO_PROJECT, "member_not_found"), 409: (*_OPEN, "project_removed")},
        changes_rights=True,
    ),
]
