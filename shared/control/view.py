"""Who may do what, as a process knows it: read from the store, and again whenever somebody says that it changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from messages.base import Event
from messages.control import ControlChanged
from shared.control.clock import awake_or_not
from shared.control.directory import Directory
from shared.control.store import ControlStore, Found
from shared.outages import Outage
from voxloom.errors import ControlUnavailable, StoreUnavailable, VoxloomError

AGAIN_SECS = 10.0
"""How often everything is looked at anew, whether somebody has said so or not."""
READ_SECS = 5.0
"""How long the store may take to say so, those who are served before included."""
PAUSE_SECS = 0.5
"""Until it is asked again when it has not."""
OLDEST_SECS = 30.0
"""What is older is not gone by any more."""
ALL = "*"

log = logging.getLogger("voxloom.control")


class ControlView:
    def __init__(self, store: ControlStore, clock: Callable[[], float] = awake_or_not) -> None:
        self._store = store
        self._clock = clock
        self._etags: dict[str, str] = {}
        self._told: set[str] = set()
        """Keys that are to be read; ALL stands for every one."""
        self._reading: set[str] = set()
        """Those of them that are being read."""
        self._read_at: float | None = None
        self._turn = asyncio.Lock()
        self.directory = Directory()
        self.on_change: Callable[[], None] = lambda: None
        """Called when something is otherwise than before."""
        self._news = asyncio.Event()

    def hear(self, event: Event) -> None:
        if isinstance(event, ControlChanged):
            self._told.update(event.keys or [ALL])
            self._news.set()

    @property
    def is_current(self) -> bool:
        """Whether all that was heard of is known, and what is known is young enough."""
        return self.is_young and not self._told and not self._reading

    @property
    def is_young(self) -> bool:
        """Whether all was read not too long ago."""
        return self._read_at is not None and self._clock() - self._read_at < OLDEST_SECS

    async def keep_current(self) -> None:
        """Without end: looks at what was told of at once, and at everything now and then."""
        outage = Outage(log, "who may do what is not known anew", "it is known again who may do what")
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECS):
                    await self._news.wait()
            while not await self._has_looked_again(outage):
                self.on_change()  # Time goes on, too: what has expired is over, and what is too old counts for nothing.
                await asyncio.sleep(PAUSE_SECS)
            self.on_change()

    async def _has_looked_again(self, outage: Outage) -> bool:
        told = self._news.is_set()
        self._news.clear()
        try:
            await (self.be_current() if told else self.read_anew())
        except ControlUnavailable as error:
            outage.failed(error)
            return False
        outage.over()
        return True

    async def be_current(self) -> None:
        """Raises ControlUnavailable."""
        if self.is_current:
            return
        async with _unknown_if_it_fails(), self._turn:
            if not self.is_current:
                await self._look()

    async def read_anew(self) -> None:
        """Everything as it is now, whatever was heard; those who ask at the same time share it. Raises
        ControlUnavailable."""
        asked = self._clock()
        async with _unknown_if_it_fails(), self._turn:
            if self._read_at is None or self._read_at < asked:
                await self._read_all()

    async def _look(self) -> None:
        if self._read_at is None or ALL in self._told or self._clock() - self._read_at >= OLDEST_SECS:
            await self._read_all()
        else:
            await self._read_some()

    async def _read_all(self) -> None:
        """Only what is not as it was is fetched."""
        begun = self._clock()
        with self._reading_what_was_told():
            etags = await self._store.etags()
            changed = [key for key, etag in etags.items() if self._etags.get(key) != etag]
            found = await self._store.read_many(changed)
            self._etags = etags
            gone = dict.fromkeys(self.directory.objects.keys() - etags.keys())
            self._read_at = begun  # before anybody is told: who looks whether it is young is told of what is new
            self._take({**found, **gone})

    async def _read_some(self) -> None:
        with self._reading_what_was_told() as told:
            found = await self._store.read_many(told)
            for key in told:
                self._etags.pop(key, None)
            self._take(found)

    @contextlib.contextmanager
    def _reading_what_was_told(self) -> Iterator[set[str]]:
        """Until it is known, nobody goes by what was; what is told of meanwhile is read once more."""
        told, self._told = self._told, set()
        self._reading = told
        try:
            yield told
        except BaseException:
            self._told |= told
            raise
        finally:
            self._reading = set()

    def _take(self, found: dict[str, Found | None]) -> None:
        changed = {key: one for key, one in found.items() if self.directory.objects.get(key) != one}
        if not changed:
            return
        known = {**self.directory.objects, **changed}
        self.directory = Directory({key: one for key, one in known.items() if one is not None})
        for one in self.directory.unreadable:
            if one.key in changed:
                log.error("the object %r of the control store gives no rights: %s", one.key, one.why)
        self.on_change()


@contextlib.asynccontextmanager
async def _unknown_if_it_fails() -> AsyncIterator[None]:
    """Whatever the store says, it is for the log: nobody who hears of it has proven who they are."""
    try:
        async with asyncio.timeout(READ_SECS):
            yield
    except TimeoutError:
        raise ControlUnavailable("The store does not say just now who may do what; try again.") from None
    except VoxloomError as error:
        if not isinstance(error, StoreUnavailable):
            log.error("who may do what cannot be read: %s", error)
        raise ControlUnavailable("This server cannot find out just now who may do what; try again.") from error
