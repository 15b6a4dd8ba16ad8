"""Which web pages may use the gateway: none but its own, unless the settings name them."""

from __future__ import annotations

from aiohttp import web

from services.gateway.http.front import front_of
from services.gateway.http.hosts import is_trusted
from shared.settings import Settings
from voxloom.errors import NotAllowed

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(request: web.Request, settings: Settings) -> web.Response | None:
    """A browser sends along which page asks. Since a body needs no content type here, the browser alone would not keep
    foreign pages from starting runs on somebody's own machine: so that is refused.

    The answer to a browser that asks what it may ask; None: the request goes on. Raises NotAllowed
    (`origin_not_allowed`).
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    allowed = is_allowed(origin, settings.cors_origins)
    if allowed and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(status=204, headers=_preflight(request))
    may_ask = allowed and request.method in settings.cors_methods
    if not may_ask and request.method not in SAFE_METHODS and not _is_own_page(request, origin):
        raise _not_allowed(origin, request.method, knows_origin=allowed)
    return None


def _not_allowed(origin: str, method: str, *, knows_origin: bool) -> NotAllowed:
    what = f"send a {method}" if knows_origin else "change anything here"
    setting = "cors_methods" if knows_origin else "cors_origins"
    return NotAllowed(
        f"Web pages of {origin[:200]!r} may not {what}; an operator allows them with the setting `{setting}`.",
        code="origin_not_allowed",
    )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Before an answer goes out: lets the page of an allowed origin read it."""
    origin = request.headers.get("Origin")
    settings = front_of(request).settings
    if origin is not None and is_allowed(origin, settings.cors_origins):
        response.headers["Access-Control-Allow-Origin"] = origin
        if settings.cors_expose:
            response.headers["Access-Control-Expose-Headers"] = ", ".join(settings.cors_expose)
        response.headers.add("Vary", "Origin")
        if settings.cors_credentials and "*" not in settings.cors_origins:
            response.headers["Access-Control-Allow-Credentials"] = "true"


def is_allowed(origin: str, allowed: list[str]) -> bool:
    return "*" in allowed or origin.rstrip("/").lower() in {one.rstrip("/").lower() for one in allowed}


def _is_own_page(request: web.Request, origin: str) -> bool:
    """Under a name that anybody could have led here, no page is our own."""
    host = request.headers.get("Host", "")
    return is_own(origin, host) and is_trusted(host, front_of(request).settings)


def is_own(origin: str, host: str) -> bool:
    """Whether the page comes from the gateway itself, as the browser addressed it."""
    return origin.partition("://")[2].lower() == host.lower()


def _preflight(request: web.Request) -> dict[str, str]:
    settings = front_of(request).settings
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return {
        "Access-Control-Allow-Methods": ", ".join(settings.cors_methods),
        "Access-Control-Allow-Headers": asked if "*" in settings.cors_headers else ", ".join(settings.cors_headers),
        "Access-Control-Max-Age": str(settings.cors_max_age),
    }
