"""Where the server is, how we show who we are, and for which project we ask."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from voxloom.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:5481"
_HEADER = re.compile(r"[!-~]+")
"""What can stand in a header as one word."""


@dataclass(frozen=True)
class Address:
    url: str
    """Without user and token: it may be shown."""
    headers: Mapping[str, str] = field(repr=False)
    """For this server alone: a secret may be in them."""
    host: str
    port: int
    local: bool
    """The server is this machine."""
    secure: bool


def find_address(url: str | None = None, token: str | None = None, project: str | None = None) -> Address:
    """What is given, else VOXLOOM_URL, VOXLOOM_TOKEN and VOXLOOM_PROJECT, else this machine. Raises InvalidInput.

    A user and a password in the address go before the token of the environment.
    """
    chosen = (url or os.environ.get("VOXLOOM_URL") or DEFAULT_URL).strip()
    parts = _split(chosen)
    bare = parts.netloc.rpartition("@")[2]
    return Address(
        url=urlunsplit((parts.scheme, bare, parts.path.rstrip("/"), "", "")),
        headers={**_proof(parts, token), **_project(project or os.environ.get("VOXLOOM_PROJECT"))},
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        local=_is_loopback(parts.hostname or ""),
        secure=parts.scheme == "https",
    )


def _proof(parts: SplitResult, token: str | None) -> dict[str, str]:
    if not token and "@" in parts.netloc:
        both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    shown = (token or os.environ.get("VOXLOOM_TOKEN") or "").strip()
    if shown and not _HEADER.fullmatch(shown):
        raise InvalidInput(
            "The token has signs in it that no token has, blanks or line breaks, say; copy it whole, and nothing else."
        )
    return {"Authorization": f"Bearer {shown}"} if shown else {}


def _project(given: str | None) -> dict[str, str]:
    named = (given or "").strip()
    if named and not _HEADER.fullmatch(named):
        raise InvalidInput(f"{named[:100]!r} is no id of a project; `voxloom whoami` lists yours.")
    return {"Voxloom-Project": named} if named else {}


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
