"""What a process knows of who may do what: read once, and again what is said to have changed."""

from __future__ import annotations

import asyncio

import pytest

from messages.control import ControlChanged
from shared.control.clock import NeverBack
from shared.control.objects import ControlObject
from shared.control.store import ControlStore
from shared.control.view import OLDEST_SECS, ControlView
from tests.unit.control_objects import principal
from tests.unit.memory_platform import MemoryStore
from voxloom.errors import ControlUnavailable, StoreUnavailable
from voxloom.ids import new_id


class Known:
    """A view, its store, and a clock that a test turns."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.control = ControlStore(self.store)
        self.time = 0.0
        self.view = ControlView(self.control, clock=lambda: self.time)

    async def write(self, *objects: ControlObject) -> None:
        for one in objects:
            await self.control.put(one)

    def tell(self, *keys: str) -> None:
        self.view.hear(ControlChanged(subject=new_id(), keys=list(keys)))

    def knows(self, name: str) -> str | None:
        found = self.view.directory.principal(name)
        return found.name if found else None


@pytest.fixture
async def known() -> Known:
    known = Known()
    await known.write(principal("anna", name="Anna"), principal("bob", name="Bob"))
    await known.view.read_anew()
    return known


async def test_what_was_told_is_read_and_nothing_else(known: Known) -> None:
    await known.write(principal("anna", name="Anna Berg"), principal("bob", name="Robert"))
    known.tell("principals/anna")
    await known.view.be_current()
    assert (known.knows("anna"), known.knows("bob")) == ("Anna Berg", "Bob")


async def test_without_a_key_all_is_read(known: Known) -> None:
    await known.write(principal("bob", name="Robert"))
    await known.control.remove("principals/anna")
    known.tell()
    await known.view.be_current()
    assert (known.knows("anna"), known.knows("bob")) == (None, "Robert")


async def test_while_it_is_read_nobody_goes_by_what_was_before(known: Known) -> None:
    # Given a store that does not answer for a while
    answer = asyncio.Event()
    get = known.store.get

    async def slow(collection: str, key: str) -> bytes:
        await answer.wait()
        return await get(collection, key)

    known.store.get = slow  # type: ignore[method-assign]
    await known.write(principal("anna", name="Anna Berg"))
    known.tell("principals/anna")
    first = asyncio.create_task(known.view.be_current())
    await asyncio.sleep(0)
    # When another one asks meanwhile
    second = asyncio.create_task(known.view.be_current())
    await asyncio.sleep(0)
    # Then it waits, too
    assert (known.view.is_current, second.done()) == (False, False)
    answer.set()
    await asyncio.gather(first, second)
    assert (known.view.is_current, known.knows("anna")) == (True, "Anna Berg")


async def test_what_is_told_while_it_is_read_is_read_once_more(known: Known) -> None:
    get = known.store.get

    async def get_and_change(collection: str, key: str) -> bytes:
        known.store.get = get  # type: ignore[method-assign]
        data = await get(collection, key)
        await known.write(principal("anna", name="last"))
        known.tell("principals/anna")
        return data

    await known.write(principal("anna", name="first"))
    known.store.get = get_and_change  # type: ignore[method-assign]
    known.tell("principals/anna")
    await known.view.be_current()
    assert (known.knows("anna"), known.view.is_current) == ("first", False)
    await known.view.be_current()
    assert known.knows("anna") == "last"


async def test_what_could_not_be_read_is_still_to_be_read(known: Known) -> None:
    def away(_what: str, _key: str) -> None:
        raise StoreUnavailable("The store is away.")

    await known.write(principal("anna", name="Anna Berg"))
    known.tell("principals/anna")
    known.store.before = away
    with pytest.raises(ControlUnavailable):
        await known.view.be_current()
    known.store.before = lambda _what, _key: None
    await known.view.be_current()
    assert known.knows("anna") == "Anna Berg"


async def test_what_is_too_old_is_not_gone_by(known: Known) -> None:
    await known.write(principal("anna", name="Anna Berg"))
    known.time = OLDEST_SECS
    assert not known.view.is_current
    await known.view.be_current()
    assert known.knows("anna") == "Anna Berg"


async def test_who_asks_for_changes_is_told_of_those_alone(known: Known) -> None:
    told: list[str | None] = []
    known.view.on_change = lambda: told.append(known.knows("anna"))
    known.tell("principals/anna")
    await known.view.be_current()
    await known.write(principal("anna", name="Anna Berg"))
    known.tell("principals/anna")
    await known.view.be_current()
    assert told == ["Anna Berg"]


class Clocks:
    def __init__(self) -> None:
        self.wall, self.passed = 1_800_000_000.0, 50.0


@pytest.mark.parametrize(
    ("passes", "jumps", "expected"), [(60.0, 60.0, 60.0), (60.0, -3600.0, 60.0), (60.0, 3600.0, 3600.0)]
)
def test_time_never_goes_back(passes: float, jumps: float, expected: float) -> None:
    clocks = Clocks()
    begun = clocks.wall
    clock = NeverBack(lambda: clocks.wall, lambda: clocks.passed)
    clocks.passed += passes
    clocks.wall += jumps
    assert clock.moment().timestamp() - begun == expected


def test_a_clock_that_was_ahead_is_followed_back() -> None:
    clocks = Clocks()
    begun = clocks.wall
    clock = NeverBack(lambda: clocks.wall, lambda: clocks.passed)
    clocks.wall += 1e9
    clock.moment()
    clocks.wall, clocks.passed = begun + 5.0, clocks.passed + 5.0
    assert clock.moment().timestamp() - begun == 5.0
