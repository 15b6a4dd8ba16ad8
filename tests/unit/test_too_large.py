"""What no bus takes of a run ends that run, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from messages.base import Event
from messages.runs import Result, RunAssigned, RunCompleted, RunFailed, RunHandedOver, RunStopped
from services.gateway.operations.recovery import _say
from services.scheduler.dispatcher import Dispatcher
from services.scheduler.service import Scheduler
from tests.each import each
from tests.unit.memory_platform import NotingBus, memory_platform
from tests.unit.memory_platform import requested as known
from tests.unit.scheduler_story import Story, finished, kinds, lane, requested, started, worker_started
from voxloom.errors import TooLarge
from voxloom.models import RunError

REFUSED = RunError(type="TooLarge", message="It is too large.", code="too_large")


def refuse_of(run: str, *kept: type[Event]) -> NotingBus:
    """A bus that takes nothing of one run but what is `kept`."""
    bus = NotingBus()

    def refuse(events: Sequence[Event]) -> None:
        if any(event.subject == run and not isinstance(event, kept) for event in events):
            raise TooLarge("A message has so many bytes.")

    bus.refuse = refuse
    return bus


async def test_a_run_that_no_worker_can_be_told_of_fails_and_the_scheduler_goes_on() -> None:
    # Given a scheduler on a bus that takes no message with the work of one run
    bus = refuse_of("bad", RunAssigned, RunFailed)
    scheduler = Scheduler(memory_platform(bus=bus))
    scheduler.dispatcher = Dispatcher(scheduler.settings, epoch=1, instance="s")
    # When that run and others are asked for
    await scheduler.handle([worker_started("i1", "w1", lane(3)), requested("a"), requested("bad"), requested("b")])
    # Then it alone fails, the others are assigned, and its slot is free again
    await scheduler.handle([requested("c")])
    assert [one for one in kinds(bus.published) if one[0] == "assigned"] == [
        ("assigned", one) for one in ("a", "bad", "b", "c")
    ]
    assert [one.subject for one in bus.published if isinstance(one, RunHandedOver)] == ["a", "b", "c"]
    failed = next(event for event in bus.published if isinstance(event, RunFailed))
    assert failed.result.error is not None
    assert (failed.result.error.code, failed.attempt) == ("too_large", 1)


async def test_a_run_whose_end_cannot_be_told_has_failed_and_the_scheduler_goes_on() -> None:
    bus = refuse_of("bad", RunAssigned, RunHandedOver, RunFailed)
    scheduler = Scheduler(memory_platform(bus=bus))
    scheduler.dispatcher = Dispatcher(scheduler.settings, epoch=1, instance="s")
    await scheduler.handle([worker_started("i1"), requested("bad")])
    await scheduler.handle([started("bad"), finished("bad", "completed", outputs=["f"])])
    await scheduler.handle([requested("a")])
    assert kinds(bus.published) == [("assigned", "bad"), ("failed", "bad"), ("assigned", "a")]


async def test_a_run_of_which_nothing_at_all_can_be_told_stops_nobody() -> None:
    bus = refuse_of("bad")
    scheduler = Scheduler(memory_platform(bus=bus))
    scheduler.dispatcher = Dispatcher(scheduler.settings, epoch=1, instance="s")
    await scheduler.handle([worker_started("i1"), requested("bad"), requested("a")])
    await scheduler.handle([requested("b")])
    assert kinds(bus.published) == [("assigned", "a")]


@each("task", ["execution", "training", "benchmark"])
@each("kind", [RunCompleted, RunStopped, RunFailed])
def test_an_end_that_is_told_shorter_is_of_the_same_attempt(
    kind: type[RunCompleted | RunStopped | RunFailed], task: str
) -> None:
    event = kind(
        task=task,
        subject="a",
        project="p",
        attempt=3,
        epoch=1,
        incarnation="i",
        worker_id="w",
        result=Result(log="x" * 100),
    )
    (shorter,) = Story().mind.on_refused(event, REFUSED, 0.0)
    assert isinstance(shorter, RunStopped if kind is RunStopped else RunFailed)
    facts = shorter.model_dump(exclude={"id", "result"})
    assert facts == event.model_dump(exclude={"id", "result"})
    assert shorter.result.error == REFUSED


def test_an_assignment_that_is_refused_late_ends_no_later_attempt() -> None:
    story = Story()
    (assigned,) = story.hear(worker_started(), requested("a"))
    story.hear(finished("a", "released"))
    assert story.mind.on_refused(assigned, REFUSED, 0.0) == []


async def test_what_is_asked_for_again_after_a_loss_gets_through_beside_what_does_not() -> None:
    bus = refuse_of("bad")
    assert await _say(bus, [[known("a")], [known("bad")], [known("b")]]) == 3
    assert [event.subject for event in bus.published] == ["a", "b"]
