"""A data folder with something in it, as a kill and as a stop leave it, and ways to damage its files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from messages.wire import Message
from shared.bus.base import KEEP, Queue
from shared.bus.local import LocalBus
from shared.objects.base import Upload
from shared.objects.local import LocalObjectStore
from tests.contract.object_store_behaviour import DATA, RECORDS, pieces
from tests.crashes import as_after_a_crash

QUEUE = Queue(name="recorder", bindings=("#",), policy=KEEP)
RECORDS_EACH = 12
MESSAGES_EACH = 16
PLACES = (0.0, 0.3, 0.7, 0.999)
"""Where a bit is flipped, as shares of a file."""


@dataclass(frozen=True)
class Content:
    """What was accepted."""

    small: Mapping[str, bytes]
    large: Mapping[str, bytes]
    messages: int


@dataclass
class World:
    """Copies of the same data folder: `older` of an earlier moment, `killed` and `stopped` of the end."""

    older: Path
    killed: Path
    stopped: Path
    content: Content = field(default_factory=lambda: Content({}, {}, 0))


async def make_world(folder: Path) -> World:
    world = World(folder / "older", folder / "killed", folder / "stopped")
    living = folder / "living"
    bus, store = LocalBus(living / "bus"), LocalObjectStore(living / "objects")
    await bus.open()
    await store.open()
    await bus.declare(QUEUE)
    first = await _fill(bus, store, "first", RECORDS_EACH)
    as_after_a_crash(living, world.older)
    second = await _fill(bus, store, "second", RECORDS_EACH)
    as_after_a_crash(living, world.killed)
    await bus.close()
    await store.close()
    shutil.copytree(living, world.stopped)
    world.content = Content(first.small | second.small, first.large | second.large, first.messages + second.messages)  # type: ignore[operator]
    return world


async def _fill(bus: LocalBus, store: LocalObjectStore, name: str, count: int) -> Content:
    """In many commits, with bodies that need pages of their own, and with deletes that leave free pages."""
    small = {f"{name}-{n}": f"{name} {n} ".encode() * (20 if n % 4 else 1500) for n in range(count)}
    large = {f"{name}-{n}": f"{name} {n} ".encode() * 2000 for n in range(3)}
    for key, body in small.items():
        await store.put(RECORDS, key, body)
        await store.put(RECORDS, f"gone-{key}", body * 2)
    for key, body in large.items():
        await store.put_stream(DATA, key, pieces(body))
    await store.put_many(RECORDS, [Upload(key, body) for key, body in small.items()])
    await store.delete(RECORDS, *(f"gone-{key}" for key in small))
    for n in range(MESSAGES_EACH):
        await bus.publish_message(Message(("a.b",), {"n": n}, f"{name} {n} ".encode() * (10 if n % 3 else 900)))
    return Content(small, large, MESSAGES_EACH)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << (at % 8)
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


def cut(path: Path, size: int) -> None:
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(size)
    path.chmod(mode)


async def lost_objects(folder: Path, content: Content) -> list[str]:
    """What a start of the store does not have, or has wrong. Raises what keeps it from starting."""
    store = LocalObjectStore(folder / "objects")
    await store.open()
    try:
        wanted = [(RECORDS, key, body) for key, body in content.small.items()]
        wanted += [(DATA, key, body) for key, body in content.large.items()]
        known = {
            RECORDS: await store.head_many(RECORDS, content.small),
            DATA: await store.head_many(DATA, content.large),
        }
        return [
            key
            for collection, key, body in wanted
            if key not in known[collection] or await store.get(collection, key) != body
        ]
    finally:
        await store.close()


async def lost_messages(folder: Path, content: Content) -> list[str]:
    """The same of the bus."""
    bus = LocalBus(folder / "bus")
    await bus.open()
    try:
        await bus.declare(QUEUE)
        (stats,) = await bus.stats()
        return [f"{content.messages - stats.waiting} messages"] if stats.waiting != content.messages else []
    finally:
        await bus.close()


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is logged as a warning or worse."""
    handler = Heard()
    logger = logging.getLogger("voxloom")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
