"""Who has sent a request: the one place that says so."""

from __future__ import annotations

from aiohttp import web

from shared.caller import LOCAL, Caller


def caller_of(_: web.Request) -> Caller:
    """Whoever reaches the port is `local`."""
    return LOCAL
