"""How a request proves who sends it: one header `Authorization`, never a query, never a cookie."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from aiohttp import web

from messages.control import SYSTEM
from services.gateway.http.callers import check, need_of
from services.gateway.http.consistency import why_behind
from services.gateway.http.front import CHANGES_RIGHTS
from services.gateway.http.problems import Handler
from shared.caller import Caller
from shared.control.directory import check_form
from shared.control.view import ControlView
from shared.oidc.claims import LONGEST, Proof, looks_like_one
from shared.oidc.provider import Provider
from voxloom.errors import InvalidInput, Unauthenticated, VoxloomError

PROJECT = "Voxloom-Project"
"""The header that says for which project something is asked."""
NOBODYS_NAMES = frozenset({"", "token"})
"""What stands before the colon of Basic where it is no project."""
SENT_AT_ONCE = 1 << 16
"""Bytes of an answer that a connection takes, whether anybody reads it or not."""
_LONGEST = LONGEST + 100
_CALLER = web.RequestKey("proven", Caller)


class Credentials(NamedTuple):
    token: str
    project: str | None
    """None: the usual one."""
    user: str | None = None
    """Of Basic: a project, or their own name."""


_GIVEN = web.RequestKey("given", Credentials)


def credentials_of(request: web.Request) -> Credentials:
    """What a request has sent, read once. Raises Unauthenticated, and InvalidInput for more than one project."""
    if _GIVEN not in request:
        request[_GIVEN] = read_credentials(request)
    return request[_GIVEN]


def read_credentials(request: web.Request) -> Credentials:
    """Raises what `credentials_of` does."""
    given = request.headers.getall("Authorization", ())
    if not given:
        raise Unauthenticated(
            "This server asks who you are: send a token (`Authorization: Bearer vox_...`; VOXLOOM_TOKEN for `voxloom` "
            "and its clients).",
            code="token_missing",
        )
    if len(given) > 1 or len(given[0]) > _LONGEST:
        raise _unusable()
    scheme, _, rest = given[0].strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return Credentials(rest.strip(), _project_of(request))
        case "basic":
            user, token = _basic(rest.strip())
            return Credentials(token, _project_of(request), user)
    raise _unusable()


def _unusable() -> Unauthenticated:
    return Unauthenticated(
        "The header Authorization must be there once, as `Bearer <token>` or as Basic with the token as password.",
        code="token_invalid",
    )


def _basic(text: str) -> tuple[str, str]:
    try:
        user, colon, token = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise _unusable() from None
    if not colon:
        raise _unusable()
    return user, token


def _project_of(request: web.Request) -> str | None:
    given = request.headers.getall(PROJECT, ())
    if len(given) > 1:
        raise InvalidInput(f"A request is for one project; send one header `{PROJECT}`.", code="project_required")
    return given[0].strip() if given else None


class Authenticator:
    """Lets in who has proven who they are, and shows out whose right has ended."""

    def __init__(
        self,
        view: ControlView,
        *,
        is_caught_up: Callable[[], bool],
        catch_up: Callable[[], Awaitable[None]],
        now: Callable[[], datetime],
        provider: Provider | None = None,
        welcome: Callable[[Proof], Awaitable[None]] | None = None,
    ) -> None:
        """`welcome`: of somebody whom the OpenID provider knows, and this server does not."""
        self._provider, self._welcome = provider, welcome
        self._view = view
        self._is_caught_up = is_caught_up
        self._catch_up = catch_up
        self._now = now
        self._open: dict[asyncio.Task[object], web.Request] = {}
        view.on_change = self.show_out

    async def be_sure(self, request: web.Request) -> None:
        """Returns once all is known that anybody was told is kept. Raises ControlUnavailable; Unauthenticated for what
        is no proof, which costs nobody anything.

        What is new comes with the events. Where the broker does not answer, the store is asked: it is what counts.
        """
        proof = await self._look_at(credentials_of(request))
        await self.be_current()
        if proof is not None and self._welcome is not None and self._view.directory.identity(proof.identity) is None:
            await self._welcome(proof)

    async def be_current(self) -> None:
        """Returns once it is known who may do what now. Raises ControlUnavailable."""
        if not self._is_caught_up() and await why_behind(self._catch_up) is not None:
            await self._view.read_anew()
        await self._view.be_current()

    def caller_named(self, principal_id: str, project: str) -> Caller:
        """Somebody whom the broker has proven. Raises Unauthenticated, NotAllowed, ControlUnavailable."""
        return self._view.directory.caller_named(principal_id, project)

    async def _look_at(self, given: Credentials) -> Proof | None:
        """What an access token of the OpenID provider proves; of our own it is looked at later."""
        if self._provider is None or not looks_like_one(given.token):
            check_form(given.token)
            return None
        if given.user is not None:
            raise _unusable()
        return await self._provider.prove(given.token)

    def caller_of(self, request: web.Request) -> Caller:
        """Raises Unauthenticated, NotAllowed, InvalidInput, ControlUnavailable."""
        caller = request[_CALLER] = self._find(request)
        return caller

    def _find(self, request: web.Request, known: str | None = None) -> Caller:
        """`known`: the project that the request was let in for, whatever is usual by now."""
        given = credentials_of(request)
        project = known if known is not None and known != SYSTEM else given.project
        if project is None and given.user is not None and given.user not in NOBODYS_NAMES:
            shown = self._view.directory.proven_by(given.token, self._now())
            project = given.user if given.user != shown.principal else None
        return self._view.directory.caller(given.token, project, self._now())

    async def ask_again(self, request: web.Request) -> None:
        if _CALLER not in request:
            return  # It is for all.
        await self.be_sure(request)
        check(self._find(request, request[_CALLER].project), need_of(request))

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer, which ends at once when the right to it does. A change of who may what is short, and may be about
        the very right that it was asked with."""
        if _changes_rights(request):
            return await handler(request)
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = request
        try:
            response = await handler(request)
            if isinstance(response, web.Response) and (response.content_length or 0) > SENT_AT_ONCE:
                # Else it would be sent after all this, however long its reader takes.
                await response.prepare(request)
                await response.write_eof()
            return response
        finally:
            del self._open[task]

    def show_out(self) -> None:
        """Ends every answer that would not be given any more."""
        for task, request in list(self._open.items()):
            if not self._still(request):
                if request.transport is not None:
                    request.transport.abort()
                task.cancel()

    def _still(self, request: web.Request) -> bool:
        try:
            check(self._find(request, request[_CALLER].project), need_of(request))
        except VoxloomError:
            return False
        return self._view.is_young


def _changes_rights(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    return resource is not None and (request.method, resource.canonical) in request.app[CHANGES_RIGHTS]


def challenge(request: web.Request) -> str:
    """What 401 offers. A browser would ask for name and password with a window of its own, which no page can close."""
    if "Sec-Fetch-Mode" in request.headers:
        return 'Bearer realm="voxloom"'
    return 'Bearer realm="voxloom", Basic realm="voxloom", charset="UTF-8"'


async def keep_apart(_: web.Request, response: web.StreamResponse) -> None:
    """Before an answer goes out: no cache gives it to somebody else."""
    response.headers.add("Vary", f"Authorization, {PROJECT}")
    response.headers.setdefault("Cache-Control", "private, no-cache")
