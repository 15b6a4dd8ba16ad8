"""Processes that work on an embedded bus until they are killed, and say what they have reached.

python -m tests.contract.bus_process publish|handle|fill FOLDER
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from messages.base import Event
from messages.files import FileUploaded
from shared.bus.base import KEEP, Queue
from shared.bus.local import LocalBus

QUEUE = Queue("uploads", ("file.uploaded.#",), KEEP)
PUBLISHERS = 8
FILL = 20_000
FILL_BYTES = 4096


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def publish(bus: LocalBus) -> None:
    """Publishes without end, in several rows, and says what has been confirmed: `row number`."""

    async def publish_row(row: int) -> None:
        for number in count():
            await bus.publish(FileUploaded(subject=f"{row} {number}", size=number, etag="e"))
            say(f"{row} {number}")

    await bus.declare(QUEUE)
    await asyncio.gather(*(publish_row(row) for row in range(PUBLISHERS)))


async def handle(bus: LocalBus) -> None:
    """Publishes and handles without end; says `published n` and `handled n`."""

    async def handler(events: Sequence[Event]) -> None:
        for event in events:
            say(f"handled {event.subject}")

    await bus.consume(QUEUE, handler)
    for number in count():
        await bus.publish(FileUploaded(subject=f"{number}", size=number, etag="e"))
        say(f"published {number}")


async def fill(bus: LocalBus) -> None:
    """Publishes much into a queue without a consumer and one whose handler does not end, then handles all of it
    slowly; says by how many bytes the process has grown at most."""
    handled = 0
    gate = asyncio.Event()
    done = asyncio.Event()

    async def handler(events: Sequence[Event]) -> None:
        nonlocal handled
        await gate.wait()
        handled += len(events)
        if handled == FILL:
            done.set()

    await bus.declare(Queue("nobody", ("file.uploaded.#",), KEEP))
    await bus.consume(QUEUE, handler)
    await bus.publish(FileUploaded(subject="first", size=0, etag="e"))
    start = most = _resident()
    for begin in range(1, FILL, 50):
        numbers = range(begin, min(begin + 50, FILL))
        await bus.publish(
            *(FileUploaded(subject=f"{number}", size=number, etag="x" * FILL_BYTES) for number in numbers)
        )
        most = max(most, _resident())
    gate.set()
    await asyncio.wait_for(done.wait(), 60.0)
    say(str(max(most, _resident()) - start))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(what: str, folder: Path) -> None:
    bus = LocalBus(folder)
    await bus.open()
    await {"publish": publish, "handle": handle, "fill": fill}[what](bus)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
