"""Errors that come before any route: what is no HTTP, and what a client expects that nobody gives. They are problems
like all others."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from services.gateway.http.problems import problem

_LONGEST_WHY = 200
_CONTINUE = "100-continue"


class Speaker(RequestHandler):
    """One connection. What cannot be read as HTTP is answered, and the connection ends."""

    __slots__ = ("is_met",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_met = False
        """Whether it has been looked at where its other end is."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # It logs, and raises where an answer is on its way already.
        super().handle_error(request, status, exc, message)
        answer = problem(status, f"http_{status}", _said(status, exc, message))
        answer.force_close()
        return answer


def _said(status: int, exc: BaseException | None, message: str | None) -> str:
    if not isinstance(exc, HttpProcessingError):
        return HTTPStatus(status).description
    lines = (message or exc.message or "").splitlines() or [""]
    why = "".join(one for one in lines[0][:_LONGEST_WHY] if one.isprintable()).strip(" :.")
    return f"This is no HTTP request that can be read ({why or 'bad request'}). Send it with an HTTP library, or curl."


async def meet_expectation(request: web.Request) -> web.Response | None:
    """Tells a client that waits with its body to go on; None then."""
    expected = request.headers.get("Expect", "")
    if request.version < (1, 1):
        return None
    if expected.strip().lower() != _CONTINUE:
        answer = problem(417, "http_417", f"Expect: {expected[:40]!r} is not known here; leave the header out.")
        answer.force_close()
        return answer
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # The answer itself has not begun.
    return None


def expecting(route: web.AbstractRouteDef) -> web.AbstractRouteDef:
    """The route, with what to do about expectations."""
    if not isinstance(route, web.RouteDef):
        return route
    return web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, "expect_handler": meet_expectation})
