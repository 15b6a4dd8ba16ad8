"""From which machines an open server takes requests: from this one, and from those that its operator has named.

A proxy on this machine would open the server to all machines that reach the proxy. It says for whom it asks in headers
of its own (RFC 7239 and its forerunners), so a request for another machine is refused, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from aiohttp import web

from services.gateway.http.framing import Speaker
from shared.settings import Settings
from voxloom.errors import NotAllowed

_FOR = re.compile(r'\bfor=("[^"]*"|[^;,\s]*)', re.IGNORECASE)
_PORT = re.compile(r"^\[([^\]]*)\](?::\d+)?$|^([^:]*):\d+$")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_peer(request: web.Request, settings: Settings) -> None:
    """Raises NotAllowed (`address_not_allowed`)."""
    if settings.auth == "closed":
        return
    speaker = request.protocol
    met = isinstance(speaker, Speaker) and speaker.is_met
    for address in (*(() if met else _peer(request)), *_behind(request)):
        if not may_come(address, settings.open_to):
            raise NotAllowed(
                f"This server asks nobody who they are, so it answers nobody at {address[:60]!r}. Let it ask "
                '(`auth = "closed"`), or name those that may do everything in the setting `open_to`.',
                code="address_not_allowed",
            )
    if isinstance(speaker, Speaker):
        speaker.is_met = True


def _peer(request: web.Request) -> Iterator[str]:
    """The other end; nothing where that is this machine, by whatever address. Of one that has hung up already the
    address may be unknown: then it is nobody's."""
    transport = request.transport
    peer, own = (transport and transport.get_extra_info(name) for name in ("peername", "sockname"))
    if not (isinstance(peer, tuple) and isinstance(own, tuple)):
        yield "an unknown address"
    elif peer[0] != own[0]:
        yield str(peer[0])


def _behind(request: web.Request) -> Iterator[str]:
    """For whom a proxy says that it asks."""
    headers = request.headers
    for value in headers.getall("Forwarded", ()):
        yield from (bare(one.strip('"')) for one in _FOR.findall(value))
    for name in ("X-Forwarded-For", "X-Real-IP"):
        for value in headers.getall(name, ()):
            yield from (bare(one.strip()) for one in value.split(","))


def bare(address: str) -> str:
    """Without port and brackets."""
    match = _PORT.fullmatch(address)
    return (match[1] or match[2] or "") if match else address


def may_come(address: str, open_to: Sequence[str]) -> bool:
    return _may_come(address, tuple(open_to))


@lru_cache(1024)
def _may_come(address: str, open_to: tuple[str, ...]) -> bool:
    found = _parsed(address)
    return found is not None and (found.is_loopback or any(found in network for network in _networks(open_to)))


def is_in(address: str, networks: Sequence[str]) -> bool:
    found = _parsed(address)
    return found is not None and any(found in network for network in _networks(tuple(networks)))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@lru_cache(16)
def _networks(open_to: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one, strict=False) for one in open_to)
