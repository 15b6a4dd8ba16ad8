"""How much room is left on the disk of the data folder, and what follows from it.

Below a low-water mark nothing new is taken, so that what has been promised can still be kept. A reserve is given up
piece by piece, so that what makes room can always be done. It is made anew as soon as there is room again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from shared.reserve import Reserve
from voxloom.errors import StoreFull, VoxloomError

MIB = 1 << 20
LOW_WATER = 512 * MIB
RESERVE = 32 * MIB
"""Where the settings name none, and the disk is not small: of a small one, a part that is named below."""
LOW_WATER_SHARE, RESERVE_SHARE = 20, 64
PIECES = 8
"""In which the reserve is given up: what others take of one piece leaves the next ones."""
LOOK_SECS = 1.0
QUIET_SECS = 1.0
FILE = "reserve"

log = logging.getLogger("voxloom.room")


class Marks(NamedTuple):
    """Bytes."""

    low_water: int
    """With less than this free, nothing new is taken."""
    reserve: int

    @property
    def piece(self) -> int:
        return -(-self.reserve // PIECES)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a disk, in bytes. `held`: of the reserve."""

    total: int
    free: int
    held: int = 0


class Figures(NamedTuple):
    """For those who watch over the server."""

    total: int
    free: int
    low_water: int
    reserve: int
    short: bool


Step = Literal["nothing", "refill", "give up"]


def marks_of(total: int, low_water: int | None, reserve: int | None) -> Marks:
    """The marks of a disk of `total` bytes; None: as is usual."""
    return Marks(
        min(LOW_WATER, total // LOW_WATER_SHARE) if low_water is None else low_water,
        min(RESERVE, total // RESERVE_SHARE) if reserve is None else reserve,
    )


def spare(seen: Seen, marks: Marks) -> int:
    """What is free for new things. What the reserve lacks is owed to it first."""
    return seen.free - max(0, marks.reserve - seen.held) - marks.low_water


def is_short(seen: Seen, marks: Marks) -> bool:
    return spare(seen, marks) < 0


def next_step(seen: Seen, marks: Marks, *, needed: bool) -> Step:
    """What to do with the reserve; `needed`: something that makes room is about to be done."""
    if needed:
        return "give up" if seen.free < marks.piece and seen.held > 0 else "nothing"
    return "refill" if seen.held < marks.reserve and not is_short(seen, marks) else "nothing"


def told(seen: Seen, marks: Marks) -> str:
    """For people who can do something about it."""
    wanted = marks.low_water + max(0, marks.reserve - seen.held)
    return (
        f"disk full: {seen.free} bytes free of {seen.total}, uploads, deploys and runs are taken from {wanted} bytes on"
    )


def refusal(seen: Seen, marks: Marks, wanted: int = 0) -> StoreFull:
    what = f"There is no room for {wanted} more bytes" if wanted > 0 and not is_short(seen, marks) else "The disk"
    full = "" if what != "The disk" else " of the server is full"
    return StoreFull(
        f"{what}{full}: {seen.free} bytes are free, and {marks.low_water} have to stay free. Delete files, records or "
        "algorithms (`voxloom rm`), or make room on the server's disk; then try again.",
        details={"free_bytes": seen.free, "low_water_bytes": marks.low_water},
    )


def full_disk(error: OSError) -> StoreFull | None:
    """What to tell of an error of the disk, where that is that it is full."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return StoreFull("The disk is full; delete files or records (`voxloom rm`), or make room on it, then try again.")


class Refusals:
    """What was refused, in the log: a line a second at most, which says how many more there were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said = float("-inf")
        self._unsaid = 0

    def note(self, what: str, error: VoxloomError) -> None:
        if (now := self._clock()) - self._said < QUIET_SECS:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more were since the last time)" if self._unsaid else ""
        log.warning("refused %s: %s%s", what, error.message, more)
        self._said, self._unsaid = now, 0


refusals = Refusals()


class Room:
    """Of one folder. `refuses`: whether what clients send is kept on this disk, so that it is refused here."""

    def __init__(self, folder: Path, *, low_water: int | None, reserve: int | None, refuses: bool) -> None:
        self.on_short: Callable[[int], Awaitable[None]] | None = None
        """Asked to make so many bytes free, again and again while there is too little."""
        self._folder = folder
        self._told = low_water, reserve if refuses else 0
        self._refuses = refuses
        self._reserve = Reserve(folder / FILE)
        self._marks = Marks(0, 0)
        self._seen = Seen(0, 0)
        self._was_short = False
        self._alone = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Looks, and sees to it that a server can start where nothing is free. Raises OSError."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True, mode=0o700)
        self._seen = await asyncio.to_thread(self._look)
        self._marks = marks_of(self._seen.total, *self._told)
        await self._turn(needed=True)
        await self.look()
        self._watching = asyncio.create_task(self._watch(), name="room.watch")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    @property
    def short(self) -> bool:
        return is_short(self._seen, self._marks)

    @property
    def fault(self) -> str | None:
        """What is wrong; None when all is well."""
        return told(self._seen, self._marks) if self.short else None

    @property
    def figures(self) -> Figures:
        seen = self._seen
        return Figures(seen.total, seen.free, self._marks.low_water, seen.held, self.short)

    async def look(self) -> None:
        """What is known is of now, afterwards."""
        await self._turn(needed=False)

    def check(self, wanted: int = 0) -> None:
        """Raises StoreFull where there is no room for something new, of `wanted` bytes."""
        if self._refuses and spare(self._seen, self._marks) < wanted:
            raise refusal(self._seen, self._marks, wanted)

    async def make_way(self) -> None:
        """For what makes room: gives up a piece of the reserve where nothing is left."""
        if self._refuses:
            await self._turn(needed=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECS)
            await self.look()
            if self.short and self.on_short is not None:
                await self._ask_for_room(self.on_short)

    async def _ask_for_room(self, ask: Callable[[int], Awaitable[None]]) -> None:
        try:
            await ask(2 * self._marks.low_water)
        except VoxloomError as error:
            log.warning("no room could be made: %s", error.message)

    async def _turn(self, *, needed: bool) -> None:
        async with self._alone:
            try:
                self._seen = await asyncio.to_thread(self._step, needed)
            except OSError as error:
                log.warning("it cannot be seen how much room there is: %s", error)
        self._tell()

    def _step(self, needed: bool) -> Seen:
        """Blocks."""
        seen = self._look()
        match next_step(seen, self._marks, needed=needed):
            case "nothing":
                return seen
            case "give up":
                self._reserve.give_up(self._marks.piece)
            case "refill":
                self._reserve.fill(self._marks.reserve)
        return self._look()

    def _look(self) -> Seen:
        found = os.statvfs(self._folder)
        size = found.f_frsize
        return Seen(found.f_blocks * size, found.f_bavail * size, self._reserve.held())

    def _tell(self) -> None:
        if self.short and not self._was_short:
            log.error("%s", told(self._seen, self._marks))
        elif self._was_short and not self.short:
            log.info("there is room again: %d bytes free", self._seen.free)
        self._was_short = self.short


async def while_room(chunks: AsyncIterator[bytes], room: Room) -> AsyncIterator[bytes]:
    """The same bytes. Raises StoreFull as soon as the disk is: also others take of it."""
    async for chunk in chunks:
        room.check()
        yield chunk


class BoundlessRoom(Room):
    """Of a process that nobody told to look: there is always room."""

    def __init__(self) -> None:
        super().__init__(Path(), low_water=0, reserve=0, refuses=False)

    async def look(self) -> None: ...
