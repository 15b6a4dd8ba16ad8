"""A route and what is promised of it. The server and its OpenAPI document are both made from these."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from services.gateway.http.callers import Need
from services.gateway.http.concurrency import passes
from services.gateway.http.examples import Example
from services.gateway.http.front import front_of
from services.gateway.http.payloads import check_names, is_exact
from services.gateway.http.problems import Handler


@dataclass(frozen=True)
class Many:
    """A JSON list of these."""

    item: type[BaseModel]


@dataclass(frozen=True)
class Media:
    """Bytes or text of a content type."""

    content_type: str
    text: bool = False


_ALWAYS_POSSIBLE = ("/stop", "/replay", "/login", "/logout", "/retention")
"""How the paths end of what lets go, or lets somebody in who can."""


@dataclass(frozen=True)
class Anything:
    """A document without a schema of ours."""

    content_type: str


Body = type[BaseModel] | Many | Media | Anything | tuple[Media, ...] | None
"""None: no body. A tuple: one of these."""

HDF5 = Media("application/octet-stream")
PNG = Media("image/png")
ZIP = Media("application/zip")
ZIP_SENT = (ZIP, Media("application/octet-stream"))
"""A zip in a request: many programs that send bytes know no other type for them."""
TEXT = Media("text/plain", text=True)
HTML = Media("text/html", text=True)
EVENT_STREAM = Media("text/event-stream")
ANY_JSON = Anything("application/json")


@dataclass(frozen=True)
class Chapter:
    """Routes that are about the same: those with this tag. `text` is Markdown."""

    tag: str
    title: str
    text: str


@dataclass(frozen=True)
class Route:
    """The docstring of the handler is what documents say of the route, beyond the summary: Markdown."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: Mapping[int, Body]
    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Status → codes, beside those that any route may answer with (422, 500, 503)."""
    query: type[BaseModel] | None = None
    body: Body = None
    headers: Sequence[str] = ()
    """Request headers that make a difference."""
    examples: Sequence[Example] = ()
    needs: Need = field(kw_only=True)
    changes_rights: bool = False
    """Whether it changes who may do what. It may be about the very right that it was asked with, so it goes on to its
    end when that right ends."""

    @property
    def description(self) -> str:
        return inspect.getdoc(self.handler) or ""

    @property
    def grows(self) -> bool:
        """Whether it makes something that takes room, so that it is refused on a full disk. What else changes
        something makes room, or lets go on what is there: that is always possible."""
        return self.method not in ("GET", "DELETE") and not self.path.endswith(_ALWAYS_POSSIBLE)

    def definition(self) -> web.RouteDef:
        handler = _exactly(self.handler, self.query) if is_exact(self.path) else self.handler
        if self.method == "GET":
            return web.get(self.path, handler)
        handler = _in_turn(handler) if isinstance(self.body, type) else handler
        return web.route(self.method, self.path, _where_room(handler) if self.grows else _making_way(handler))


def _where_room(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        front_of(request).room.check(request.content_length or 0)
        return await handler(request)

    return handle


def _making_way(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        await front_of(request).room.make_way()
        return await handler(request)

    return handle


def _exactly(handler: Handler, query: type[BaseModel] | None) -> Handler:
    """Names in the query that the route does not know are refused."""
    known = frozenset(query.model_fields) if query is not None else frozenset()

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.query_string:
            check_names(request.query, known)
        return await handler(request)

    return handle


def _in_turn(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if passes(request.content_length):
            return await handler(request)
        async with front_of(request).turnstile.turn():
            return await handler(request)

    return handle
