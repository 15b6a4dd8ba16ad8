"""Who has sent a request, and what they may: the one place that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from aiohttp import web

from messages.control import SYSTEM
from shared.caller import LOCAL, Caller, Right
from voxloom.errors import InvalidInput, NotAllowed

Need = Right | Literal["nothing", "identity"]
"""The right that a route asks for. "nothing": whoever it is may; "identity": whoever has said who they are, since it is
about themselves."""
CallerOf = Callable[[web.Request], Caller]
_CALLER = web.RequestKey("caller", Caller)
_NEED = web.RequestKey("need", str)

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
    """Notes who asks. Raises NotAllowed (`forbidden`) where they lack the right, InvalidInput (`project_required`)
    where nobody knows in which project they ask. None: there is no such route, and what is said of that is for all."""
    if need is None or need == "nothing":
        return
    caller = request[_CALLER] = caller_of(request)
    request[_NEED] = need
    check(caller, need)


def need_of(request: web.Request) -> Need:
    """What a request that was let in has needed."""
    return cast(Need, request[_NEED])


def check(caller: Caller, need: Need) -> None:
    """Raises NotAllowed (`forbidden`), InvalidInput (`project_required`)."""
    if need == "nothing" or need == "identity":
        return
    if need != "admin" and caller.project == SYSTEM:
        raise InvalidInput(
            "Which project is this for? Say so in the header `Voxloom-Project` (VOXLOOM_PROJECT for `voxloom` and its "
            "clients); `voxloom whoami` lists yours.",
            code="project_required",
            http_status=400,
        )
    if need not in caller.rights:
        raise NotAllowed(
            f"This needs the right {need!r} in the project {caller.project!r}: to {_MEANS[need]}. Ask whoever manages "
            "it.",
            code="forbidden",
            details={"right": need, "project": caller.project},
        )


def known_caller(request: web.Request) -> Caller | None:
    """Who it is; None where nobody has said so, or not proven it."""
    return request.get(_CALLER)


def caller_of(request: web.Request) -> Caller:
    """Who was let in."""
    return request[_CALLER]
