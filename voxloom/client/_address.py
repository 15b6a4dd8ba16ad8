"""Where the server is, and how we show who we are."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit, urlunsplit

from voxloom.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:5481"


@dataclass(frozen=True)
class Address:
    url: str = field(repr=False)
    """May hold a user and a token; show `shown` instead."""
    shown: str
    """For people: without user and token."""
    token: str | None = field(repr=False)
    host: str
    port: int
    local: bool
    """The server is this machine."""
    secure: bool


def find_address(url: str | None = None, token: str | None = None) -> Address:
    """What is given, else VOXLOOM_URL and VOXLOOM_TOKEN, else this machine. Raises InvalidInput."""
    chosen = (url or os.environ.get("VOXLOOM_URL") or DEFAULT_URL).strip()
    parts = _split(chosen)
    bare = parts.netloc.rpartition("@")[2]
    return Address(
        url=chosen.rstrip("/"),
        shown=urlunsplit((parts.scheme, bare, parts.path.rstrip("/"), "", "")),
        token=token or os.environ.get("VOXLOOM_TOKEN") or None,
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        local=_is_loopback(parts.hostname or ""),
        secure=parts.scheme == "https",
    )


def _split(chosen: str) -> SplitResult:
    try:
        parts = urlsplit(chosen)
        _ = parts.port  # raises when it is no number of a port
    except ValueError:
        raise _no_address(chosen) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address(chosen)
    return parts


def _no_address(chosen: str) -> InvalidInput:
    shown = chosen.rpartition("@")[2]
    return InvalidInput(f"{shown!r} is no address of a server; write it like {DEFAULT_URL}.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
