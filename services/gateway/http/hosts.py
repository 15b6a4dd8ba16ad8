"""By which names the gateway may be called.

Anybody can have the domain name of a web page lead to 127.0.0.1 (DNS rebinding), and then the page is of the "same
origin" as a server on its reader's machine. A server that listens to that machine alone has no other door, so it
answers only to names that no such page can have: addresses, `localhost`, and those in the setting `allowed_hosts`. One
that listens to others, too, goes by many names that it cannot know; it keeps to `allowed_hosts` once there are any.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from aiohttp import web

from shared.settings import Settings
from voxloom.errors import NotAllowed

_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::\d*)?", re.ASCII)


def check_host(request: web.Request, settings: Settings) -> None:
    """Raises NotAllowed (`host_not_allowed`)."""
    host = request.headers.get("Host")
    if not may_be_called(host, settings):
        raise NotAllowed(
            f"This server does not go by the name {(host or '')[:200]!r}; an operator allows it with the setting "
            "`allowed_hosts`.",
            code="host_not_allowed",
        )


def may_be_called(host: str | None, settings: Settings) -> bool:
    """`host` is the header, with a port or without; no browser sends none."""
    if host is None or is_trusted(host, settings):
        return True
    return not settings.allowed_hosts and not _is_loopback(settings.host)


def is_trusted(host: str, settings: Settings) -> bool:
    """Whether nobody can have made a foreign page lead here under this name."""
    return _is_trusted(host, settings.host, *settings.allowed_hosts)


@lru_cache(256)
def _is_trusted(host: str, *own: str) -> bool:
    name = name_of(host)
    if name is None:
        return False
    return _is_harmless(name) or name in {one.lower() for one in own}


def name_of(host: str) -> str | None:
    """Without port and brackets; None if it is no host."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2] or "").lower().removesuffix(".") or None if match else None


def _is_harmless(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or _address(name) is not None


@lru_cache(256)
def _is_loopback(listening: str) -> bool:
    address = _address(listening)
    return listening.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
