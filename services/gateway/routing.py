"""A route and what is promised of it. The server and its OpenAPI document are both made from these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from services.gateway.context import context_of
from services.gateway.problems import Handler


@dataclass(frozen=True)
class Many:
    """A JSON list of these."""

    item: type[BaseModel]


@dataclass(frozen=True)
class Media:
    """Bytes or text of a content type."""

    content_type: str
    text: bool = False


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
class Route:
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

    def definition(self) -> web.RouteDef:
        if self.method == "GET":
            return web.get(self.path, self.handler)
        takes_json = isinstance(self.body, type)
        return web.route(self.method, self.path, _in_turn(self.handler) if takes_json else self.handler)


def _in_turn(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        async with context_of(request).turnstile.turn(request.content_length):
            return await handler(request)

    return handle
