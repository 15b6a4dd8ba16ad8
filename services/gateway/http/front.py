"""What goes around every route needs to know of the gateway: the rest of it is for the routes alone."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from services.gateway.http.callers import Need
from services.gateway.http.concurrency import Turnstile
from services.gateway.http.metrics import Metrics
from services.gateway.http.problems import Handler
from shared.caller import Caller
from shared.room import Room
from shared.settings import Settings

if TYPE_CHECKING:
    from services.gateway.http.audit import Auditor


class Door(Protocol):
    """Of a server that asks who people are."""

    async def be_sure(self, request: web.Request) -> None:
        """Returns once it is known who may do what now, and all else that was said before. Raises
        ControlUnavailable; Unauthenticated where the request proves nothing, whatever is known."""

    async def be_current(self) -> None:
        """Returns once it is known who may do what now. Raises ControlUnavailable."""

    def caller_named(self, principal_id: str, project: str) -> Caller:
        """Who asks for a project, where something else than a request has proven who it is. Raises Unauthenticated,
        NotAllowed, ControlUnavailable."""

    async def ask_again(self, request: web.Request) -> None:
        """Whether the right that a request was let in with is still there: its body may have taken its time. Raises
        what `be_sure` does, and NotAllowed."""

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of the handler, as long as there is a right to it."""


class Front(Protocol):
    door: Door | None
    """None: nobody is asked."""
    settings: Settings
    room: Room
    turnstile: Turnstile
    metrics: Metrics
    auditor: Auditor | None
    """Of a server that asks who people are."""

    def caller_of(self, request: web.Request, /) -> Caller:
        """Who has sent a request."""

    def is_caught_up(self) -> bool:
        """Whether `catch_up` has nothing to wait for, as far as that is known without asking anybody."""

    def catch_up(self) -> Awaitable[None]:
        """Waits until the views know all that was said before. Raises BusUnavailable."""


FRONT: web.AppKey[Front] = web.AppKey("front")


class Needs(dict[tuple[str, str], Need]):
    """By method and path, as the router knows it: what each route asks for."""


NEEDS: web.AppKey[Needs] = web.AppKey("needs")


class ChangesRights(set[tuple[str, str]]):
    """Method and path, as the router knows it, of each route that changes who may do what."""


CHANGES_RIGHTS: web.AppKey[ChangesRights] = web.AppKey("changes rights")


def front_of(request: web.Request) -> Front:
    return request.app[FRONT]
