"""Which web pages may use the gateway: none but its own, unless the settings name them."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.hosts import is_trusted
from services.gateway.problems import Handler
from voxloom.errors import NotAllowed

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = "GET, HEAD, POST, PUT, DELETE"
EXPOSED = "Content-Length, Content-Range, ETag, Link, Location, Retry-After"


@web.middleware
async def guard_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A browser sends along which page asks. Since a body needs no content type here, the browser alone would not keep
    foreign pages from starting runs on somebody's own machine: so that is refused.

    Raises NotAllowed (`origin_not_allowed`).
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return await handler(request)
    allowed = is_allowed(origin, context_of(request).settings.cors_origins)
    if allowed and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(status=204, headers=_preflight(request))
    if not allowed and request.method not in SAFE_METHODS and not _is_own_page(request, origin):
        raise NotAllowed(
            f"Web pages of {origin[:200]!r} may not change anything here; an operator allows them with the setting "
            "`cors_origins`.",
            code="origin_not_allowed",
        )
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Before an answer goes out: lets the page of an allowed origin read it."""
    origin = request.headers.get("Origin")
    settings = context_of(request).settings
    if origin is not None and is_allowed(origin, settings.cors_origins):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        response.headers.add("Vary", "Origin")
        if settings.cors_credentials and "*" not in settings.cors_origins:
            response.headers["Access-Control-Allow-Credentials"] = "true"


def is_allowed(origin: str, allowed: list[str]) -> bool:
    return "*" in allowed or origin.rstrip("/").lower() in {one.rstrip("/").lower() for one in allowed}


def _is_own_page(request: web.Request, origin: str) -> bool:
    """Under a name that anybody could have led here, no page is our own."""
    host = request.headers.get("Host", "")
    return is_own(origin, host) and is_trusted(host, context_of(request).settings)


def is_own(origin: str, host: str) -> bool:
    """Whether the page comes from the gateway itself, as the browser addressed it."""
    return origin.partition("://")[2].lower() == host.lower()


def _preflight(request: web.Request) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Access-Control-Max-Age": str(context_of(request).settings.cors_max_age),
    }
