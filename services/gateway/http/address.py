"""Under which address the gateway is reached, and by whom."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence

from shared.settings import Settings
from voxloom.errors import Misconfigured

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


def warning(url: str, open_to: Sequence[str]) -> str:
    return (
        f"Everybody in {', '.join(open_to)} who can reach {url} can run code on this machine as the user of this "
        'server: it asks nobody who they are (`open_to`). To let it ask, set `auth = "closed"`.'
    )


def check_reach(settings: Settings) -> None:
    """Raises Misconfigured where other machines would reach a server that asks nobody, and nobody has said that they
    may; and where tokens would go over a network in plain text."""
    if settings.auth == "open" and is_open_to_others(settings.host) and not settings.open_to:
        raise Misconfigured(
            f"On {settings.host or 'all addresses'} other machines could reach this server, which asks nobody who they "
            "are: whoever does can run code here. Let it ask (VOXLOOM_AUTH=closed, docs/access.md), or name those that "
            """may do everything: VOXLOOM_OPEN_TO='["10.0.0.0/8"]'."""
        )
    safe = settings.tls_certificate or settings.tls_elsewhere or not is_open_to_others(settings.host)
    if settings.auth == "closed" and not safe:
        raise Misconfigured(
            f"A closed server that listens on {settings.host or 'all addresses'} needs TLS, or tokens could be read on "
            "their way. Set `tls_certificate` and `tls_key`; where a proxy does TLS, set `tls_elsewhere`."
        )
