"""Who may do what, as a process knows it: read from the store, and again whenever somebody says that it changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from messages.base import Event
from messages.control import ControlChanged
from shared.control.clock import awake_or_not
from shared.control.directory import Directory, Proofs
from shared.control.objects import ControlObject, Unreadable
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
WHAT = "who may do what"

log = logging.getLogger("voxloom.control")


class ControlView:
    def __init__(
        self,
        store: ControlStore,
        clock: Callable[[], float] = awake_or_not,
        *,
        what: str = WHAT,
        pause: float = PAUSE_SECS,
    ) -> None:
        """`what` it is that the store tells, for the log. `pause`: seconds until it is asked again when it has not."""
        self._pause = pause
        self._store = store
        self._clock = clock
        self._what = what
        self._etags: dict[str, str] = {}
        self._told: set[str] = set()
        """Keys that are to be read; ALL stands for every one."""
        self._reading: set[str] = set()
        """Those of them that are being read."""
        self._read_at: float | None = None
        self._turn = asyncio.Lock()
        self.directory = Directory()
        self.proofs: Proofs | None = None
        """Of a server that has an OpenID provider."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when something is otherwise than before."""
        self._news = asyncio.Event()

    def hear(self, event: Event) -> None:
        if isinstance(event, ControlChanged):
            told = [one for one in event.keys or [ALL] if one == ALL or one.startswith(self._store.prefix)]
            if told:
                self._told.update(told)
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
        outage = Outage(log, f"{self._what} is not known anew", f"it is known again: {self._what}")
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECS):
                    await self._news.wait()
            while not await self._has_looked_again(outage):
                self.on_change()  # Time goes on, too: what has expired is over, and what is too old counts for nothing.
                await asyncio.sleep(self._pause)
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
        async with _unknown_if_it_fails(self._what), self._turn:
            if not self.is_current:
                await self._look()

    async def read_anew(self) -> None:
        """Everything as it is now, whatever was heard; those who ask at the same time share it. Raises
        ControlUnavailable."""
        asked = self._clock()
        async with _unknown_if_it_fails(self._what), self._turn:
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
        for key in [key for key, one in changed.items() if self._is_outlived(key, one)]:
            log.error("the object %r cannot be read; what was known of it still counts: %s", key, changed.pop(key))
        if not changed:
            return
        known = {**self.directory.objects, **changed}
        self.directory = Directory({key: one for key, one in known.items() if one is not None}, self.proofs)
        for one in self.directory.unreadable:
            if one.key in changed:
                log.error("the object %r of the control store counts for nothing: %s", one.key, one.why)
        self.on_change()

    def _is_outlived(self, key: str, found: Found | None) -> bool:
        """Whether what was known counts for more than what is there now, and cannot be read."""
        known = self.directory.objects.get(key)
        return isinstance(found, Unreadable) and isinstance(known, ControlObject) and known.outlives_unreadable


@contextlib.asynccontextmanager
async def _unknown_if_it_fails(what: str) -> AsyncIterator[None]:
    """Whatever the store says, it is for the log: nobody who hears of it has proven who they are."""
    try:
        async with asyncio.timeout(READ_SECS):
            yield
    except TimeoutError:
        raise ControlUnavailable("The store does not say just now who may do what; try again.") from None
    except VoxloomError as error:
        if not isinstance(error, StoreUnavailable):
            log.error("%s cannot be read: %s", what, error)
        raise ControlUnavailable("This server cannot find out just now who may do what; try again.") from error
