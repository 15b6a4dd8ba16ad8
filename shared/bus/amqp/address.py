"""Where the broker is: a URL that has been checked, and what of it may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from voxloom.errors import Misconfigured

_HEARTBEAT_SECS = 10
"""A broker that is silent for about three of them is gone."""


@dataclass(frozen=True)
class Address:
    """`url` is whole, `shown` without user and password."""

    url: str
    shown: str


def parse(url: str) -> Address:
    """Raises Misconfigured for what is no broker's address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(f"it cannot be read: {error}") from None
    if parts.scheme not in ("amqp", "amqps"):
        raise _wrong("it must begin with amqp:// or amqps://")
    if not parts.hostname:
        raise _wrong("it names no host")
    if "/" in parts.path.removeprefix("/"):
        raise _wrong("a vhost with a slash in it is written with %2F")
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port}" if port else host
    query = parts.query if "heartbeat=" in parts.query else f"{parts.query}&heartbeat={_HEARTBEAT_SECS}".lstrip("&")
    return Address(parts._replace(query=query).geturl(), f"{parts.scheme}://{place}, vhost {vhost!r}")


def _wrong(why: str) -> Misconfigured:
    return Misconfigured(f"The address of the broker is wrong, {why}; write amqp://user:password@host:5672/vhost.")
