"""What waits for the bus: in order, kept until confirmed, repeated only while somebody may still want to hear it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from messages.base import Event
from messages.runs import Result, RunFinished
from messages.wire import DEEPEST
from services.worker.reports import GIVE_UP_SECS, REMEMBER_SECS, REPEAT_SECS, Reports, failed_instead
from shared.bus import outbox as module
from shared.bus.limits import LARGEST
from shared.bus.outbox import Outbox
from tests.unit.memory_platform import NotingBus, assigned, requested
from voxloom.errors import BusUnavailable, TooLarge, VoxloomError


def finished(run: str, attempt: int = 1, **result: object) -> RunFinished:
    return RunFinished(
        subject=run, attempt=attempt, incarnation="i", outcome="completed", result=Result.model_validate(result)
    )


class Full:
    """A bus that takes nothing for a number of times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, events: Sequence[Event]) -> None:
        if self.left > 0:
            self.left -= 1
            raise BusUnavailable("full")


def refuse_long_ones(events: Sequence[Event]) -> None:
    if any(isinstance(event, RunFinished) and len(event.result.log) > 10 for event in events):
        raise TooLarge("too long")


@pytest.fixture
def bus() -> NotingBus:
    return NotingBus()


@pytest.fixture
async def outbox(bus: NotingBus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outbox]:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    made = Outbox(bus, failed_instead)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_is_still_here_can_be_taken_back(bus: NotingBus, outbox: Outbox) -> None:
    events = [requested(f"r{number}") for number in range(3)]
    outbox.put(*events, soon=True)

    assert (outbox.take_back(events[1]), outbox.take_back(events[1])) == (True, False)
    outbox.put(finished("end"))
    assert await outbox.drained(60.0)
    assert [event.subject for event in bus.published] == ["r0", "r2", "end"]


async def test_what_may_have_been_kept_is_not_taken_back(
    bus: NotingBus, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 60.0)
    tried = asyncio.Event()

    def fail(_: Sequence[Event]) -> None:
        tried.set()
        raise BusUnavailable("gone")

    bus.refuse = fail
    event = requested("a")
    outbox.put(event)
    async with asyncio.timeout(60.0):
        await tried.wait()

    assert not outbox.take_back(event)


async def test_what_was_taken_back_makes_nothing_else_leave_early(
    bus: NotingBus, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an event that is taken back, and another that has time
    monkeypatch.setattr(module, "_SOON", 0.01)
    gone, other = requested("gone"), requested("other")
    outbox.put(gone, soon=True)
    monkeypatch.setattr(module, "_SOON", 60.0)
    outbox.put(other, soon=True)
    outbox.take_back(gone)
    # When the first one would have left, then the other is still here
    await asyncio.sleep(0.05)
    assert outbox.take_back(other)


async def test_everything_is_published_in_the_order_in_which_it_was_put(bus: NotingBus, outbox: Outbox) -> None:
    events = [requested(f"r{number}") for number in range(1000)]
    outbox.put(*events[:300], soon=True)
    outbox.put(*events[300:])
    assert await outbox.drained(5.0)
    assert bus.published == events


async def test_what_the_bus_does_not_take_waits_and_keeps_its_place(bus: NotingBus, outbox: Outbox) -> None:
    bus.refuse = Full(3)
    events = [requested("a"), requested("b")]
    outbox.put(*events)
    assert await outbox.drained(5.0)
    assert bus.published == events


async def test_an_outbox_that_cannot_empty_says_so(bus: NotingBus, outbox: Outbox) -> None:
    bus.refuse = Full(10_000)
    outbox.put(requested("a"))
    assert not await outbox.drained(0.05)
    assert len(outbox) == 1


async def test_a_report_that_can_never_be_published_becomes_a_failure_that_can(bus: NotingBus, outbox: Outbox) -> None:
    # Given a bus with a limit for messages
    bus.refuse = refuse_long_ones
    # When one among others is over it
    outbox.put(requested("a"), finished("b", log="x" * 100), requested("c"))
    assert await outbox.drained(5.0)
    # Then the others arrive, and that run comes to an end, too
    said = [(event.subject, getattr(event, "outcome", None)) for event in bus.published]
    assert said == [("a", None), ("b", "failed"), ("c", None)]


async def test_an_event_that_nobody_will_ever_take_blocks_nobody(bus: NotingBus, outbox: Outbox) -> None:
    def refuse(events: Sequence[Event]) -> None:
        if any(event.subject == "bad" for event in events):
            raise TooLarge("never")

    bus.refuse = refuse
    outbox.put(finished("bad"), requested("good"))
    assert await outbox.drained(5.0)
    assert [event.subject for event in bus.published] == ["good"]


async def test_what_is_refused_even_in_place_of_another_is_said_no_more(bus: NotingBus) -> None:
    # Given a bus that takes nothing of one run
    def refuse(events: Sequence[Event]) -> None:
        if any(event.subject == "bad" for event in events):
            raise TooLarge(f"never, tried {len(asked)} times")

    bus.refuse, asked = refuse, list[Event]()

    def instead(event: Event, error: VoxloomError) -> list[Event]:
        asked.append(event)
        return [finished("bad"), finished("good")]

    outbox = Outbox(bus, instead)
    # When something is said of it, among other things
    outbox.put(requested("a"), requested("bad"), requested("b"))
    await outbox.say()
    # Then what was to be said instead is tried once, and all others arrive in their order
    assert ([event.subject for event in bus.published], len(asked)) == (["a", "good", "b"], 1)


def test_a_report_after_which_the_end_would_not_fit_is_a_failure(bus: NotingBus, reports: Reports) -> None:
    reports.add(finished("a", state={"x": "y" * (LARGEST - 2000)}), now=0.0)
    reports.add(finished("b", state={"x": "y" * LARGEST}, run_seconds=2.0), now=0.0)
    reports.add(finished("c", state={"x": "\ud800"}), now=0.0)
    reports.add(finished("d", progress=float("nan")), now=0.0)
    reports.add(finished("e", state={"x": nested(DEEPEST)}), now=0.0)
    said = [event for event in bus.published if isinstance(event, RunFinished)]
    codes = [event.result.error.code if event.result.error else None for event in said]
    assert [event.outcome for event in said] == ["completed", *["failed"] * 4]
    assert (codes, said[1].result.run_seconds) == ([None, "too_large", *["invalid_input"] * 3], 2.0)


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.fixture
def reports(bus: NotingBus) -> Reports:
    return Reports(_Emptied(bus))


class _Emptied(Outbox):
    """One whose events are confirmed as soon as they are put."""

    def put(self, *events: Event, soon: bool = False) -> None:
        assert isinstance(self._bus, NotingBus)
        self._bus.published += events


def test_a_report_is_said_again_until_it_is_settled(bus: NotingBus, reports: Reports) -> None:
    reports.add(finished("a"), now=0.0)
    reports.repeat(REPEAT_SECS + 1)
    reports.settle("a", 1, now=REPEAT_SECS + 2)
    reports.repeat(3 * REPEAT_SECS)
    assert len(bus.published) == 2


def test_a_report_that_nobody_ever_settles_is_given_up(reports: Reports) -> None:
    reports.add(finished("a"), now=0.0)
    reports.repeat(GIVE_UP_SECS + 1)
    assert reports.holding() == []


def test_no_report_grows_old_while_the_bus_takes_nothing(bus: NotingBus) -> None:
    # Given a report that waits in an outbox which nobody empties
    outbox = Outbox(bus)
    reports = Reports(outbox)
    reports.add(finished("a"), now=0.0)
    # When hours go by
    for hour in range(1, 4):
        reports.repeat(hour * 3600.0)
    # Then it is still there, and waits once
    assert (reports.holding(), len(outbox)) == ([("a", 1)], 1)


def test_a_settlement_of_an_earlier_attempt_leaves_the_report_of_a_later_one(reports: Reports) -> None:
    reports.add(finished("a", attempt=2), now=0.0)
    reports.settle("a", 1, now=1.0)
    assert reports.holding() == [("a", 2)]


def test_a_settled_attempt_is_remembered_for_a_while_and_then_no_more(reports: Reports) -> None:
    reports.settle("a", 2, now=0.0)
    assert (reports.knows("a", 1), reports.knows("a", 2), reports.knows("a", 3)) == (True, True, False)
    reports.repeat(REMEMBER_SECS + 1)
    assert not reports.knows("a", 2)


async def test_decisions_that_could_not_be_said_are_said_first_and_in_order(bus: NotingBus) -> None:
    decisions = Outbox(bus)
    events = [assigned("a"), assigned("b"), assigned("c")]
    bus.refuse = Full(1)
    decisions.put(*events[:2])
    with pytest.raises(BusUnavailable):
        await decisions.say()
    assert decisions.stuck(60.0)
    decisions.put(*events[2:])
    await decisions.say()
    assert (bus.published, decisions.stuck(60.0)) == (events, False)


async def test_decisions_that_are_dropped_while_they_are_said_take_no_later_ones_with_them() -> None:
    # Given a bus that is slow, and a decision on its way
    bus = _Slow()
    decisions = Outbox(bus)
    decisions.put(assigned("a"))
    saying = asyncio.create_task(decisions.say())
    await bus.asked.wait()
    # When all is dropped, and something new is decided
    decisions.drop()
    decisions.put(assigned("b"))
    bus.go.set()
    await saying
    # Then the new one is said
    assert [event.subject for event in bus.published] == ["a", "b"]


async def test_a_bus_that_does_not_answer_counts_as_stuck() -> None:
    bus = _Slow()
    decisions = Outbox(bus)
    decisions.put(assigned("a"))
    saying = asyncio.create_task(decisions.say())
    await bus.asked.wait()
    assert decisions.stuck(0.0)
    bus.go.set()
    await saying
    assert not decisions.stuck(0.0)


class _Slow(NotingBus):
    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def publish(self, *events: Event) -> None:
        self.asked.set()
        await self.go.wait()
        await super().publish(*events)
