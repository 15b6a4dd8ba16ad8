"""Who has sent a request, and what they may: the one place that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from aiohttp import web

from shared.caller import LOCAL, Caller, Right
from voxloom.errors import NotAllowed

Need = Right | Literal["nothing"]
"""The right that a route asks for; "nothing": whoever it is may."""
CallerOf = Callable[[web.Request], Caller]
_CALLER = web.RequestKey("caller", Caller)

_MEANS: dict[Right, str] = {
    "read": "look at what the project has",
    "run": "upload, run, train, stop and delete",
    "deploy": "put algorithms in and take them out",
    "admin": "do what concerns the whole server",
}


def everybody(_: web.Request) -> Caller:
    """Whoever reaches the port is `local`."""
    return LOCAL


def admit(request: web.Request, need: Need | None, caller_of: CallerOf) -> None:
    """Notes who asks. Raises NotAllowed (`forbidden`) where they lack the right. None: there is no such route, and what
    is said of that is for all."""
    if need is None or need == "nothing":
        return
    caller = request[_CALLER] = caller_of(request)
    if need not in caller.rights:
        raise NotAllowed(
            f"This needs the right {need!r} in the project {caller.project!r}: to {_MEANS[need]}. Ask who manages it.",
            code="forbidden",
            details={"right": need, "project": caller.project},
        )


def caller_of(request: web.Request) -> Caller:
    """Who was let in."""
    return request[_CALLER]
