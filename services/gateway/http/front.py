"""What goes around every route needs to know of the gateway: the rest of it is for the routes alone."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from aiohttp import web

from services.gateway.http.concurrency import Turnstile
from services.gateway.http.metrics import Metrics
from shared.room import Room
from shared.settings import Settings


class Front(Protocol):
    settings: Settings
    room: Room
    turnstile: Turnstile
    metrics: Metrics

    def is_caught_up(self) -> bool:
        """Whether `catch_up` has nothing to wait for, as far as that is known without asking anybody."""

    def catch_up(self) -> Awaitable[None]:
        """Waits until the views know all that was said before. Raises BusUnavailable."""


FRONT: web.AppKey[Front] = web.AppKey("front")


def front_of(request: web.Request) -> Front:
    return request.app[FRONT]
