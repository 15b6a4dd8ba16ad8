"""What `voxloom doctor` looks at on behalf of a server: the broker and the store that it would use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from messages.base import Event
from messages.services import ServiceHeartbeat
from services.weaknesses import ThisMachine
from services.weaknesses import weaknesses as found
from shared import neighbours
from shared.bus import topology
from shared.bus.outside import BRIDGE
from shared.platform import datafolder, make_bus, make_outside, make_store
from shared.settings import Settings, load_settings
from shared.strangers import Strangers
from voxloom.errors import VoxloomError
from voxloom.ids import new_id

PATIENCE_SECS = 15.0
ANSWERS_SECS = 1.5
"""How long services are given to say which store they use: they answer at once."""


class Seen(NamedTuple):
    what: str
    seen: str
    next_step: str | None


def platform(*, data: Path | None = None, repair: bool = False) -> list[Seen]:
    """Broker and store of a server that would be started here, and the data folder of what is embedded; `repair`: what
    was mended in that folder, and no more. Raises Misconfigured for settings that cannot be."""
    settings = load_settings(data=data)
    if repair:
        return [Seen(*line) for line in datafolder.repair(settings)]
    looks: list[Coroutine[Any, Any, Seen]] = []
    if settings.broker:
        looks.append(_look("broker", address_of(settings.broker.get_secret_value()), lambda: _try_bus(settings)))
    if settings.store:
        looks.append(_look("object store", address_of(settings.store), lambda: _try_store(settings)))
    if settings.outside:
        address = address_of(settings.outside.get_secret_value())
        looks.append(_look("those outside", address, lambda: _try_outside(settings)))
    there = asyncio.run(_all(looks)) if looks else []
    if settings.broker and settings.store and all(one.next_step is None for one in there):
        there.append(asyncio.run(_look_at_others(settings)))
    return there + [Seen(*line) for line in datafolder.look(settings)]


def weaknesses(*, data: Path | None = None) -> list[Seen]:
    """What the settings of a server that would be started here leave open to others. Raises Misconfigured."""
    settings = load_settings(data=data)
    return [Seen(*one) for one in found(settings, ThisMachine())]


def data_folder() -> Path:
    """Of a server that would be started here. Raises Misconfigured."""
    return load_settings().data


def address_of(url: str) -> str:
    """A URL as it may be shown: without user and password."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    return "an address that cannot be read"


async def _all(looks: list[Coroutine[Any, Any, Seen]]) -> list[Seen]:
    return list(await asyncio.gather(*looks))


async def _look(what: str, address: str, attempt: Callable[[], Coroutine[Any, Any, None]]) -> Seen:
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            await attempt()
    except TimeoutError:
        return Seen(
            what, f"{address} has not answered in {PATIENCE_SECS:g} s", "See whether it runs, and can be reached."
        )
    except VoxloomError as error:
        return Seen(what, f"{address} cannot be used", error.message)
    return Seen(what, f"{address} answers, and does what it must", None)


async def _look_at_others(settings: Settings) -> Seen:
    """Asks all services on the broker which store they use."""
    what = "other services"
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            strangers, count = await _ask_others(settings)
    except (VoxloomError, TimeoutError) as error:
        return Seen(what, "could not be asked which store they use", str(error) or "See whether the broker is well.")
    if faults := strangers.faults():
        return Seen(what, f"not all of {count} processes use this store", _sentence("; ".join(faults)))
    return Seen(what, f"{count} on this broker, and none uses another store", None)


async def _ask_others(settings: Settings) -> tuple[Strangers, int]:
    """What they say, and how many have answered."""
    bus, store = make_bus(settings), make_store(settings)
    heard: set[str] = set()
    me = new_id()
    try:
        await bus.open()
        await store.open()
        strangers = Strangers(await store.mark())

        def hear(event: Event) -> None:
            if isinstance(event, ServiceHeartbeat) and event.subject != me:
                heard.add(event.subject)
                strangers.hear(event, 0.0)

        listening = await bus.listen([neighbours.PATTERN], hear)
        bus.announce(neighbours.heartbeat(me, ["doctor"], mark=""))  # Who asks is nobody's stranger.
        await asyncio.sleep(ANSWERS_SECS)
        await listening.close()
    finally:
        await store.close()
        await bus.close()
    return strangers, len(heard)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


async def _try_bus(settings: Settings) -> None:
    bus = make_bus(settings)
    try:
        await bus.open()
        # A queue that is there already, and otherwise, shows only now.
        await bus.declare(*topology.ALL, *([BRIDGE] if settings.outside else []))
    finally:
        await bus.close()


async def _try_outside(settings: Settings) -> None:
    outside = make_outside(settings)
    assert outside is not None, "`outside` is set"
    try:
        await outside.open()
    finally:
        await outside.close()


async def _try_store(settings: Settings) -> None:
    store = make_store(settings)
    try:
        await store.open()
        await store.self_test()
    finally:
        await store.close()
