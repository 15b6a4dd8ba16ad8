"""The embedded bus: what every bus does, and what only this one promises."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from messages.base import Event
from messages.files import FileUploaded
from messages.gateways import GatewayStarted
from messages.runs import RunProgressed
from messages.wire import Message
from shared.bus.base import KEEP, Policy, Queue
from shared.bus.embedded import database
from shared.bus.local import LocalBus
from tests.contract import bus_process
from tests.contract.bus_behaviour import BusBehaviour
from tests.contract.bus_tools import ONCE, QUICK, Footing, Inbox, StreamInbox, numbers, offset_of_one_more, until
from tests.crashes import as_after_a_crash
from voxloom.errors import BusUnavailable, InvalidInput, Misconfigured
from voxloom.models import utc_now

QUEUE = Queue("uploads", ("file.uploaded.#",), QUICK)
BEYOND_MEMORY = 5000
"""More events than a queue keeps in memory."""


class LocalFooting(Footing):
    """An embedded bus in a folder, which tidies up often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus: LocalBus = self.new_bus()

    def new_bus(self) -> LocalBus:
        return LocalBus(self.folder, housekeeping=0.1)

    async def reopen(self) -> LocalBus:
        await self.bus.close()
        self.bus = self.new_bus()
        await self.bus.open()
        return self.bus


@pytest.fixture
async def footing(tmp_path: Path) -> AsyncIterator[LocalFooting]:
    footing = LocalFooting(tmp_path / "bus")
    await footing.bus.open()
    yield footing
    await footing.bus.close()


@pytest.fixture
def bus(footing: LocalFooting) -> LocalBus:
    return footing.bus


class TestLocalBus(BusBehaviour):
    """All of it."""


def uploaded(subject: str, etag: str = "e") -> FileUploaded:
    return FileUploaded(subject=subject, size=1, etag=etag)


@contextlib.asynccontextmanager
async def opened(folder: Path, *, stream_hours: float = 24.0, stream_bytes: int = 1 << 30) -> AsyncIterator[LocalBus]:
    bus = LocalBus(folder, stream_hours=stream_hours, stream_bytes=stream_bytes, housekeeping=0.05)
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()


class Crashes:
    """Copies of a bus's folder, as a crash at this moment would leave it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    @contextlib.asynccontextmanager
    async def now(self) -> AsyncIterator[LocalBus]:
        self._count += 1
        copy = self._folder.with_name(f"crashed-{self._count}")
        as_after_a_crash(self._folder, copy)
        async with opened(copy) as bus:
            yield bus

    async def leave(self, queue: str, waiting: int) -> bool:
        """Whether after a crash now so many would wait."""
        async with self.now() as bus:
            return any(stats.name == queue and stats.waiting == waiting for stats in await bus.stats())


@pytest.fixture
def crashes(footing: LocalFooting) -> Crashes:
    return Crashes(footing.folder)


# --- kill -9 ---


async def lines_until_killed(what: str, folder: Path, lines: int) -> list[str]:
    """What a process says that is killed once it has said so many lines."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", bus_process.__name__, what, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(60.0):
        while len(said) < lines:
            said.append((await process.stdout.readline()).decode())
        process.kill()
        said += (await process.stdout.read()).decode().splitlines(keepends=True)
        await process.wait()
    return [line.strip() for line in said if line.endswith("\n")]


async def test_all_that_was_confirmed_before_a_kill_is_there_and_in_order(tmp_path: Path) -> None:
    said = await lines_until_killed("publish", tmp_path, 3000)
    inbox = Inbox()
    async with opened(tmp_path) as bus:
        await bus.consume(replace(bus_process.QUEUE, batch=1000), inbox)
        await inbox.has(*said)
        rows = [subject.split() for subject in inbox.subjects]
    for row in range(bus_process.PUBLISHERS):
        kept = [int(number) for which, number in rows if int(which) == row]
        assert kept == list(range(len(kept)))


async def test_what_was_not_handled_before_a_kill_is_handled_after_it_in_order(tmp_path: Path) -> None:
    said = [line.split() for line in await lines_until_killed("handle", tmp_path, 3000)]
    handled = [int(number) for what, number in said if what == "handled"]
    published = [int(number) for what, number in said if what == "published"]
    inbox = Inbox()
    async with opened(tmp_path) as bus:
        await bus.consume(bus_process.QUEUE, inbox)
        await bus.publish(uploaded("1000000"))
        await inbox.has("1000000")
    after = [int(subject) for subject in inbox.subjects[:-1]]
    assert after == list(range(after[0], after[0] + len(after))) if after else True
    assert set(published) <= {*handled, *after}


async def test_a_crash_makes_little_come_again(bus: LocalBus, crashes: Crashes) -> None:
    inbox = Inbox()
    await bus.consume(QUEUE, inbox)
    await bus.publish(*map(uploaded, numbers(0, 100)))
    await inbox.has("99")
    await until(lambda: crashes.leave("uploads", 0))


async def test_what_was_settled_out_of_order_does_not_come_again_after_a_crash(bus: LocalBus, crashes: Crashes) -> None:
    gate, inbox, after = asyncio.Event(), Inbox(), Inbox()

    async def handler(events: Sequence[Event]) -> None:
        if events[0].subject == "a":
            await gate.wait()
        await inbox(events)

    spec = replace(QUEUE, concurrency=2)
    await bus.consume(spec, handler)
    await bus.publish(*map(uploaded, "abcd"))
    await inbox.has("d")
    await until(lambda: crashes.leave("uploads", 1))
    async with crashes.now() as crashed:
        await crashed.consume(spec, after)
        await crashed.publish(uploaded("end"))
        await after.has("a", "end")
    gate.set()
    assert sorted(after.subjects) == ["a", "end"]


async def test_a_delayed_event_outlives_a_crash_with_its_count_of_tries(bus: LocalBus, crashes: Crashes) -> None:
    spec = replace(QUEUE, policy=Policy(delays=(0.2,)))
    await bus.consume(spec, Inbox(fails={"a": 9}))
    await bus.publish(*map(uploaded, "ab"))
    await until(lambda: crashes.leave("uploads", 1))
    async with crashes.now() as crashed:
        after = Inbox(fails={"a": 9})
        await crashed.consume(spec, after)
        await until(lambda: after.tried == ["a"])
        await until(lambda: _has_dead_letters(crashed, 1))


async def _has_dead_letters(bus: LocalBus, count: int) -> bool:
    return len(await bus.dead_letters()) == count


# --- memory ---


async def test_a_consumer_that_lags_gets_all_in_order(bus: LocalBus) -> None:
    gate, inbox = asyncio.Event(), Inbox()

    async def handler(events: Sequence[Event]) -> None:
        await gate.wait()
        await inbox(events)

    await bus.consume(replace(QUEUE, batch=100), handler)
    half = BEYOND_MEMORY // 2
    await bus.publish(*map(uploaded, numbers(0, half)))
    gate.set()
    for start in range(half, BEYOND_MEMORY, 100):
        await bus.publish(*map(uploaded, numbers(start, start + 100)))
    await inbox.has(str(BEYOND_MEMORY - 1))
    assert inbox.subjects == numbers(0, BEYOND_MEMORY)


async def test_a_follower_that_lags_gets_all_in_order(bus: LocalBus) -> None:
    gate, inbox = asyncio.Event(), StreamInbox("default")

    async def handler(events: Sequence[tuple[int, Event]]) -> None:
        await gate.wait()
        await inbox.take(events)

    await bus.follow(handler)
    await bus.publish(*map(uploaded, numbers(0, BEYOND_MEMORY)))
    gate.set()
    await bus.publish(uploaded("end"))
    await inbox.has("end")
    assert inbox.subjects == [*numbers(0, BEYOND_MEMORY), "end"]


async def test_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", bus_process.__name__, "fill", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 90.0)
    assert int(said) < bus_process.FILL * bus_process.FILL_BYTES / 3


async def test_an_event_published_here_is_not_decoded_again(bus: LocalBus) -> None:
    inbox = Inbox()
    await bus.consume(QUEUE, inbox)
    event = uploaded("a")
    await bus.publish(event)
    await inbox.has("a")
    assert inbox.events[0] is event


async def test_a_handler_that_never_waits_lets_others_have_their_turn(bus: LocalBus) -> None:
    inbox = Inbox()
    turns = 0

    async def greedy(events: Sequence[Event]) -> None:
        time.sleep(0.002)
        await inbox(events)

    await bus.declare(QUEUE)
    await bus.publish(*map(uploaded, numbers(0, 100)))
    await bus.consume(QUEUE, greedy)
    while len(inbox.events) < 100:
        await asyncio.sleep(0)
        turns += 0 < len(inbox.events) < 100
    assert turns > 10


async def test_an_event_tried_again_is_with_one_handler_at_a_time(bus: LocalBus) -> None:
    gate, inbox = asyncio.Event(), Inbox(fails={"a": 1, "b": 1})

    async def handler(events: Sequence[Event]) -> None:
        await inbox(events)
        if events[0].subject == "a":
            await gate.wait()

    await bus.consume(replace(QUEUE, concurrency=3, policy=Policy(delays=(0.1,))), handler)
    await bus.publish(uploaded("a"))
    await inbox.has("a")
    await bus.publish(uploaded("b"))
    await inbox.has("b")
    gate.set()
    assert inbox.tried == ["a", "a", "b", "b"]


async def test_one_event_that_takes_long_does_not_stop_the_others_for_ever(bus: LocalBus) -> None:
    gate, running, most = asyncio.Event(), 0, 0
    inbox = Inbox()

    async def handler(events: Sequence[Event]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running if gate.is_set() else 0)
        if events[0].subject == "0":
            await gate.wait()
        else:
            await asyncio.sleep(0)
        running -= 1
        await inbox(events)

    await bus.consume(replace(QUEUE, concurrency=3), handler)
    await bus.publish(*map(uploaded, numbers(0, BEYOND_MEMORY)))
    await inbox.has(*numbers(1, 1900))
    gate.set()
    await inbox.has(*numbers(0, BEYOND_MEMORY))
    assert len(inbox.subjects) == BEYOND_MEMORY
    assert most == 3


# --- the stream's length ---


async def test_old_events_go_and_offsets_grow_on(tmp_path: Path) -> None:
    async with opened(tmp_path, stream_hours=0.0) as bus:
        await bus.publish(*map(uploaded, "abc"))
        end = await offset_of_one_more(bus)
        await until(lambda: _oldest_after(bus, end))
        before = await offset_of_one_more(bus)
    async with opened(tmp_path) as bus:
        assert await offset_of_one_more(bus) == before + 1


async def test_what_a_queue_has_not_settled_stays_however_old(tmp_path: Path) -> None:
    inbox = Inbox()
    async with opened(tmp_path, stream_hours=0.0) as bus:
        await bus.publish(uploaded("before"))
        before = await offset_of_one_more(bus)
        await bus.declare(QUEUE)
        await bus.publish(*map(uploaded, "abc"))
        await until(lambda: _oldest_after(bus, before))
        await bus.consume(QUEUE, inbox)
        await inbox.has("c")
        end = await offset_of_one_more(bus)
        await until(lambda: _oldest_after(bus, end))
    assert inbox.subjects == ["a", "b", "c"]


async def test_a_queue_that_wants_none_of_it_keeps_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, stream_hours=0.0) as bus:
        await bus.declare(Queue("others", ("worker.#",), KEEP))
        await bus.publish(*map(uploaded, "abc"))
        end = await offset_of_one_more(bus)
        await until(lambda: _oldest_after(bus, end))


async def test_the_stream_is_cut_to_its_size_from_the_old_end(tmp_path: Path) -> None:
    async with opened(tmp_path, stream_bytes=2 << 20) as bus:
        for number in range(100):
            await bus.publish(uploaded(str(number), "x" * 100_000))
        await until(lambda: _oldest_after(bus, 61))  # the first upload has the first offset
        inbox = StreamInbox("default")
        await bus.follow(inbox.take, after=0)
        await inbox.has("99")
        assert 5 <= sum(isinstance(event, FileUploaded) for event in inbox.events) < 40  # beside what probes say


async def _oldest_after(bus: LocalBus, offset: int) -> bool:
    """Whether all up to this offset is gone from the stream."""
    offsets: list[int] = []

    async def take(events: Sequence[tuple[int, Event]]) -> None:
        offsets.extend(number for number, _ in events)

    before = await offset_of_one_more(bus)
    probe = await bus.follow(take, after=0)

    async def told() -> bool:
        await bus.publish(GatewayStarted(subject="in-no-queue"))  # One that is soon too old may go before it is told.
        return bool(offsets) and offsets[-1] > before

    await until(told)
    await probe.close()
    return offsets[0] > offset


async def test_a_stream_begins_at_the_very_event(bus: LocalBus) -> None:
    for subject in "abc":
        await bus.publish(uploaded(subject))
    moment = utc_now()
    for subject in "def":
        await bus.publish(uploaded(subject))
    inbox = StreamInbox("default")
    await bus.follow(inbox.take, since=moment)
    await inbox.has("f")
    assert inbox.subjects == ["d", "e", "f"]


async def test_an_offset_of_another_journal_hides_nothing_new(bus: LocalBus) -> None:
    inbox = StreamInbox("default")
    await bus.follow(inbox.take, after=1_000_000)
    await bus.publish(uploaded("a"))
    await inbox.has("a")


async def test_of_live_events_the_oldest_go(bus: LocalBus) -> None:
    heard: list[str] = []
    await bus.listen(["execution.#"], lambda event: heard.append(event.subject), limit=10)
    for number in range(100):
        bus.announce(RunProgressed(subject=str(number), progress=0.5))
    await until(lambda: "99" in heard)
    assert heard == numbers(90, 100)


# --- the folder ---


async def test_a_folder_is_for_one_bus(bus: LocalBus, footing: LocalFooting) -> None:
    with pytest.raises(Misconfigured, match=r"in use by another Voxloom; stop that one, or choose another --data"):
        await LocalBus(footing.folder).open()
    assert await bus.healthy()


async def test_a_closed_bus_leaves_its_folder_to_the_next(bus: LocalBus, footing: LocalFooting) -> None:
    await bus.close()
    async with opened(footing.folder) as other:
        assert await other.healthy()


async def test_opening_and_closing_twice_is_fine(bus: LocalBus) -> None:
    await asyncio.gather(bus.open(), bus.open())
    await asyncio.gather(bus.close(), bus.close())
    assert not await bus.healthy()


async def test_an_opening_that_is_cancelled_leaves_the_folder_free(tmp_path: Path) -> None:
    opening = asyncio.create_task(LocalBus(tmp_path).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    async def free() -> bool:
        with contextlib.suppress(Misconfigured):
            async with opened(tmp_path):
                return True
        return False

    await until(free)


async def test_closing_amid_publishes_ends_and_keeps_all_that_was_confirmed(footing: LocalFooting) -> None:
    bus, confirmed = footing.bus, []

    async def publish(row: int) -> None:
        with contextlib.suppress(BusUnavailable):
            for number in itertools.count():
                await bus.publish(uploaded(f"{row} {number}"))
                confirmed.append(f"{row} {number}")

    await bus.declare(QUEUE)
    publishers = [asyncio.create_task(publish(row)) for row in range(20)]
    await until(lambda: len(confirmed) > 500)
    async with asyncio.timeout(60.0):
        await bus.close()
        await asyncio.gather(*publishers)
    inbox = Inbox()
    await (await footing.reopen()).consume(replace(QUEUE, batch=1000), inbox)
    await inbox.has(*confirmed)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match=r"cannot use the folder .*file/bus"):
        await LocalBus(tmp_path / "file" / "bus").open()


async def test_a_journal_that_is_none_is_refused_and_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    journal.write_bytes(b"something else entirely" * 100)
    with pytest.raises(Misconfigured, match="not a database"):
        await LocalBus(tmp_path).open()
    assert journal.read_bytes() == b"something else entirely" * 100


async def test_a_journal_of_a_newer_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(database, "VERSION", 99)
        async with opened(tmp_path):
            pass
    with pytest.raises(Misconfigured, match="upgrade"):
        await LocalBus(tmp_path).open()


async def test_the_version_before_seals_refuses_a_journal_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write past the seal, and the next start of this version would take that for damage."""
    async with opened(tmp_path):
        pass
    with monkeypatch.context() as older:
        older.setattr(database, "VERSION", 1)
        with pytest.raises(Misconfigured, match="upgrade"):
            await LocalBus(tmp_path).open()


async def test_a_queue_that_expired_while_the_bus_was_away_is_gone_at_once(footing: LocalFooting) -> None:
    await footing.bus.declare(replace(QUEUE, expires=0.2))
    await footing.bus.close()
    expired = time.time() + 0.3
    await until(lambda: time.time() > expired)
    bus = await footing.reopen()
    assert await bus.stats() == []


# --- a full disk ---


@pytest.fixture
def full_disk() -> contextlib.AbstractContextManager[None]:
    """While entered, this process writes to no file beyond its first page."""

    @contextlib.contextmanager
    def full() -> Iterator[None]:
        # What is written over needs no room, but the log begins anew at any time: not even that may succeed.
        size = 4096
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full()


async def test_on_a_full_disk_a_publish_says_so(
    bus: LocalBus, full_disk: contextlib.AbstractContextManager[None]
) -> None:
    await bus.publish(uploaded("a"))
    with full_disk:
        with pytest.raises(BusUnavailable, match="disk"):
            await bus.publish(uploaded("b", "x" * 100_000))
        assert not await bus.healthy()


async def test_once_the_disk_has_room_all_goes_on(
    bus: LocalBus, full_disk: contextlib.AbstractContextManager[None]
) -> None:
    inbox = Inbox()
    await bus.consume(QUEUE, inbox)
    await bus.publish(uploaded("a"))
    with full_disk:
        refused = await asyncio.gather(
            *(bus.publish(uploaded(f"refused {number}", "x" * 100_000)) for number in range(10)), return_exceptions=True
        )
    await bus.publish(uploaded("b"))
    await inbox.has("b")
    assert {type(result) for result in refused} == {BusUnavailable}
    assert inbox.subjects == ["a", "b"]
    assert await bus.healthy()


async def test_what_was_settled_while_the_disk_was_full_is_saved_later(
    bus: LocalBus, crashes: Crashes, full_disk: contextlib.AbstractContextManager[None]
) -> None:
    gate, inbox = asyncio.Event(), Inbox(fails={"a": 1})

    async def handler(events: Sequence[Event]) -> None:
        await gate.wait()
        await inbox(events)

    await bus.consume(replace(QUEUE, policy=ONCE), handler)
    await bus.publish(uploaded("a"), uploaded("b"))
    with full_disk:
        gate.set()
        await inbox.has("b")
        with pytest.raises(BusUnavailable):
            await bus.dead_letters()
    await until(lambda: crashes.leave("uploads", 0))
    assert len(await bus.dead_letters()) == 1


# --- what would spoil the journal for others ---


async def test_headers_that_are_no_json_are_refused(bus: LocalBus) -> None:
    with pytest.raises(InvalidInput):
        await bus.publish_message(Message(("file.uploaded.p.f",), {"x": object()}, b""))


# --- being honest ---


async def test_a_follower_whose_handler_raises_is_dead_and_the_bus_says_so(bus: LocalBus) -> None:
    async def handler(events: Sequence[tuple[int, Event]]) -> None:
        raise ValueError("no luck")

    follower = await bus.follow(handler)
    await bus.publish(uploaded("a"))
    await until(lambda: not follower.alive)
    assert not await bus.healthy()


async def test_closing_what_has_died_makes_the_bus_healthy_again(bus: LocalBus) -> None:
    async def handler(events: Sequence[tuple[int, Event]]) -> None:
        raise ValueError("no luck")

    follower = await bus.follow(handler)
    await bus.publish(uploaded("a"))
    await until(lambda: not follower.alive)
    await follower.close()
    assert await bus.healthy()


# --- all at once ---


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_and_whoever_comes_and_goes_nothing_is_lost(footing: LocalFooting, seed: int) -> None:
    chance = random.Random(seed)
    keeping, trying = Inbox(), Inbox()

    def unreliable(inbox: Inbox) -> Inbox:
        class Unreliable(Inbox):
            async def __call__(self, events: Sequence[Event]) -> None:
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() / 200)
                if chance.random() < 0.2:
                    raise ValueError("no luck")
                await inbox(events)

        return Unreliable()

    keep = replace(QUEUE, name="keep", batch=7, single_active=True)
    retry = replace(QUEUE, name="retry", batch=3, concurrency=3, policy=Policy(delays=(0.01,) * 50))
    bus: LocalBus = footing.bus
    await bus.declare(keep, retry)
    for round_ in range(10):
        consumers = [await bus.consume(spec, unreliable(inbox)) for spec, inbox in [(keep, keeping), (retry, trying)]]
        for start in range(round_ * 40, (round_ + 1) * 40, 4):
            await bus.publish(*map(uploaded, numbers(start, start + 4)))
            await asyncio.sleep(chance.random() / 500)
        for consumer in consumers:
            await consumer.close(drain=chance.random() / 200)
        if chance.random() < 0.3:
            bus = await footing.reopen()
    for spec, inbox in [(keep, keeping), (retry, trying)]:
        await bus.consume(spec, inbox)
        await inbox.has(*numbers(0, 400))
    assert list(dict.fromkeys(keeping.subjects)) == numbers(0, 400)
    assert await bus.dead_letters() == []
