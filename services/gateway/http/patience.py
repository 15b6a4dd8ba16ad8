"""How long who has tried wrong passwords waits until the next one is looked at.

Nobody is locked out: whoever waits gets in with the right one, and no wait is longer than SLOWEST. Failures count for
the name (many machines may guess one password) and for the address (one machine may guess many), and are forgotten
after a while. What is kept is bounded, whatever is sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from services.gateway.http.peers import bare, is_in
from voxloom.errors import TooMany

FREE = 3
"""Failures that cost nothing: people mistype."""
FIRST_SECS = 0.5
SLOWEST_OF_NAME = 4.0
SLOWEST_OF_ADDRESS = 15.0
SLOWEST = max(SLOWEST_OF_NAME, SLOWEST_OF_ADDRESS)
FORGOTTEN_SECS = 900.0
MOST_KNOWN = 10_000
"""Names, and addresses, whose failures are remembered."""
MOST_AT_ONCE = 4
"""Logins of one name from one address."""
MOST_OF_ADDRESS = 16
MOST_OF_SITE = 64
MOST_WAITING = 512
_DIGITS_OF_NETWORK = 64
"""Of IPv6, a machine has as many addresses as it likes."""
_DIGITS_OF_SITE = 48
"""And who is given a network there is often given so many of them."""


class Failures(NamedTuple):
    number: int
    last: float


def delay(count: int, slowest: float) -> float:
    """Seconds until the next one, after so many failures: none, then twice as long each time."""
    return min(slowest, FIRST_SECS * 2.0 ** min(count - FREE, 20)) if count >= FREE else 0.0


class Memory:
    """Failures by a key; of those that are too many, the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float], slowest: float, most: int = MOST_KNOWN) -> None:
        self._clock, self._slowest, self._most = clock, slowest, most
        self._known: OrderedDict[str, Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def count(self, key: str) -> int:
        found = self._known.get(key)
        return found.number if found is not None and self._clock() - found.last < FORGOTTEN_SECS else 0

    def delay(self, key: str) -> float:
        return delay(self.count(key), self._slowest)

    def note(self, key: str) -> None:
        self._known[key] = Failures(self.count(key) + 1, self._clock())
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        self._known.pop(key, None)


class Patience:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.names = Memory(clock, SLOWEST_OF_NAME)
        self.addresses = Memory(clock, SLOWEST_OF_ADDRESS)
        self._waiting: Counter[tuple[str, ...]] = Counter()

    def secs(self, name: str, address: str) -> float:
        return max(self.names.delay(name), self.addresses.delay(address))

    @asynccontextmanager
    async def turn(self, name: str, address: str) -> AsyncIterator[None]:
        """Begins after the wait. `address`: as `address_of` says it. Raises TooMany (`too_many_logins`) where too many
        wait already."""
        places = ((name, address), (address,), ("site", site_of(address), ""), ())
        self._check(places)
        self._waiting.update(places)
        try:
            await asyncio.sleep(self.secs(name, address))
            yield
        finally:
            self._waiting.subtract(places)
            for place in places:
                if not self._waiting[place]:
                    del self._waiting[place]

    def _check(self, places: Sequence[tuple[str, ...]]) -> None:
        # Those whose address has failed at nothing are not kept out by those who wait for their failures.
        more = 1 if self.addresses.count(places[1][0]) else 2
        most = (MOST_AT_ONCE, MOST_OF_ADDRESS, more * MOST_OF_SITE, more * MOST_WAITING)
        if any(self._waiting[place] >= limit for place, limit in zip(places, most, strict=True)):
            raise TooMany(
                "Too many logins wait at the same time; try again in some seconds.",
                code="too_many_logins",
            )

    def failed(self, name: str, address: str) -> None:
        self.names.note(name)
        self.addresses.note(address)

    def succeeded(self, name: str, address: str) -> None:
        """What one account has right does not excuse what was tried at others from the same address."""
        self.names.forget(name)


def address_of(peer: str, forwarded: Sequence[str], trusted: Sequence[str]) -> str:
    """Who asks: the nearest address that no trusted proxy has. `forwarded`: X-Forwarded-For, whose last entry the
    nearest proxy has written."""
    said = [bare(one.strip()) for value in forwarded for one in value.split(",")]
    address = peer
    while said and is_in(address, trusted):
        address = said.pop()
    return network_of(address)


def site_of(address: str) -> str:
    """Who may have many such addresses, and fill all places with them: of IPv6 a larger network."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(address).supernet(new_prefix=_DIGITS_OF_SITE))


def network_of(address: str) -> str:
    """What one machine has alone: its address, of IPv6 the network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _DIGITS_OF_NETWORK), strict=False))
