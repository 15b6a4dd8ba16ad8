"""Which addresses of an OpenID provider are asked."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_safe(url: str) -> bool:
    """https; http on this machine alone."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.username is not None or parts.fragment or not host:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
