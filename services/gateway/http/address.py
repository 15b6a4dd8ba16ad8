"""Under which address the gateway is reached, and by whom."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - told apart here, not listened on
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Of networks that are for documents alone: nothing is ever sent there."""

OwnAddress = Callable[[socket.AddressFamily], str | None]


def own_address(family: socket.AddressFamily) -> str | None:
    """The address of this machine that it speaks to other networks from; None where it has none."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((_ELSEWHERE[family], 9))
        return str(asking.getsockname()[0])
    return None


def shown_host(host: str, own: OwnAddress = own_address) -> str:
    """The host as it stands in a URL; where the server listens everywhere, the one that others reach it by."""
    if host in EVERYWHERE:
        host = _found(host, own)
    return f"[{host}]" if ":" in host else host


def _found(host: str, own: OwnAddress) -> str:
    found = own(socket.AF_INET)
    if host == "::":
        return own(socket.AF_INET6) or found or "::1"
    return found or "127.0.0.1"


def is_open_to_others(host: str) -> bool:
    """Whether other machines may reach what listens there."""
    if host in EVERYWHERE:
        return True
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() != "localhost" and not host.lower().endswith(".localhost")


def warning(url: str) -> str:
    return (
        f"Everybody who can reach {url} can run code on this machine as the user of this server: it asks nobody who "
        "they are. Let nobody but trusted machines reach the port, or listen on 127.0.0.1."
    )
