"""How many dead letters there are: as the broker counts them, where it does, and else by looking."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from messages.wire import Message
from services.gateway.views import queue_sampler
from services.gateway.views.queue_sampler import DeadCount, Sampler, dead_count, in_time, with_dead_letters
from services.gateway.views.queues import QueueWatch
from shared.bus.base import DeadLetter, QueueStats
from shared.bus.local import LocalBus
from voxloom.models import QueueFigures, QueueReport


def letter(queue: str = "ingest", *, parked: bool = False) -> DeadLetter:
    time = datetime(2026, 11, 21, tzinfo=UTC)
    return DeadLetter("1", queue, "no", time, Message(("file.uploaded",), {}, b""), parked)


def depth(name: str, waiting: int) -> QueueStats:
    return QueueStats(name, waiting, consumers=0)


class CountingBus(LocalBus):
    """A broker that keeps its dead letters in queues, and tells how often it was asked for them one by one."""

    def __init__(self, *letters: DeadLetter) -> None:
        self.letters = list(letters)
        self.looks = 0

    async def stats(self, *also: str) -> list[QueueStats]:
        dead = {"dead": False, "parked": True}
        counts = {name: sum(one.parked is parked for one in self.letters) for name, parked in dead.items()}
        return [depth("ingest", 2), *(depth(name, counts[name]) for name in also if name in counts)]

    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        self.looks += 1
        return self.letters[:limit]


async def sampler_of(bus: LocalBus) -> Sampler:
    sampler = Sampler(bus, QueueWatch())
    await sampler.figures()
    return sampler


@pytest.mark.parametrize(
    ("stats", "count"),
    [
        ([], None),
        ([depth("ingest", 7)], None),
        ([depth("dead", 0), depth("parked", 0)], DeadCount(0, 0)),
        ([depth("ingest", 7), depth("dead", 3), depth("parked", 1)], DeadCount(3, 1)),
        ([depth("parked", 1)], DeadCount(0, 1)),
    ],
)
def test_a_broker_counts_dead_letters_where_it_has_queues_of_them(
    stats: list[QueueStats], count: DeadCount | None
) -> None:
    assert dead_count(stats) == count


@pytest.mark.parametrize(
    ("found", "counted", "dead", "parked"),
    [
        (0, None, 0, 0),
        (2, None, 2, 0),
        (2, DeadCount(1, 4), 2, 0),  # they were counted a moment ago; all of them have been looked at now
        (3, None, 3, 0),
        (3, DeadCount(10, 4), 10, 4),  # there are more than are looked at
        (3, DeadCount(0, 0), 3, 0),
    ],
)
def test_all_are_counted_also_where_not_all_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, found: int, counted: DeadCount | None, dead: int, parked: int
) -> None:
    monkeypatch.setattr(queue_sampler, "MOST_DEAD_LETTERS", 3)
    report = with_dead_letters([], [letter()] * found, counted)
    assert (report.dead, report.parked) == (dead, parked)


def test_each_queue_has_those_that_came_from_it() -> None:
    figures = [QueueFigures(name=name, waiting=0, consumers=1) for name in ("ingest", "deployer")]
    letters = [letter(), letter(parked=True), letter("deployer"), letter("gone"), letter()]
    report = with_dead_letters(figures, letters, None)
    assert [(one.name, one.dead, one.parked) for one in report.items] == [("ingest", 2, 1), ("deployer", 1, 0)]
    assert (report.dead, report.parked) == (4, 1)


async def test_figures_and_counts_take_no_dead_letter_into_the_hand() -> None:
    bus = CountingBus(letter(), letter(parked=True))
    sampler = await sampler_of(bus)
    assert await sampler.dead_letters() == 2
    assert bus.looks == 0


async def test_a_report_without_dead_letters_looks_for_none() -> None:
    bus = CountingBus()
    assert await (await sampler_of(bus)).report() == QueueReport(items=await (await sampler_of(bus)).figures())
    assert bus.looks == 0


async def test_a_report_tells_which_queues_dead_letters_came_from() -> None:
    sampler = await sampler_of(CountingBus(letter(), letter(parked=True)))
    report = await sampler.report()
    assert [(one.name, one.waiting, one.dead, one.parked) for one in report.items] == [("ingest", 2, 1, 1)]


class SilentBus(CountingBus):
    """A broker that is away: it never answers."""

    async def stats(self, *also: str) -> list[QueueStats]:
        await asyncio.Event().wait()
        return []


async def test_what_is_known_is_told_while_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a sampler that has looked once
    monkeypatch.setattr(queue_sampler, "PAUSE_SECS", 0.0)
    bus = CountingBus(letter())
    watch = QueueWatch()
    sampler = Sampler(bus, watch)
    running = asyncio.create_task(sampler.run())
    try:
        before = await sampler.known()
        # When the broker goes away, then what it told is told again, with its age
        monkeypatch.setattr(CountingBus, "stats", SilentBus.stats)
        known = await sampler.known()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [(one.name, one.waiting) for one in known.figures] == [("ingest", 2)]
    assert (known.dead_letters, known.age >= before.age) == (1, True)


async def test_without_a_first_answer_nothing_is_known_and_nobody_waits_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_sampler, "FIRST_SECS", 0.01)
    known = await Sampler(SilentBus(), QueueWatch()).known()
    assert (known.figures, known.dead_letters, known.age) == ([], 0, float("inf"))


async def test_a_cancel_that_comes_together_with_the_answer_is_not_lost() -> None:
    # Given a question that waits
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asking = asyncio.create_task(in_time(answer))
    await asyncio.sleep(0)
    # When it is answered, and in the same moment nobody wants to know any more
    answer.set_result(1)
    asking.cancel()
    # Then it ends
    with pytest.raises(asyncio.CancelledError):
        await asking
