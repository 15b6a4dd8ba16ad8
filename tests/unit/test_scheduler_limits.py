"""In whatever order things happen: no project gets more runs at once than it may, and none waits beside a free slot."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from messages.base import Event
from messages.control import ControlChanged
from messages.runs import RunAssigned, RunStopRequested
from messages.workers import WorkerDraining
from services.scheduler.limits import KnownLimits, Limits, limits_of
from services.scheduler.state import Job
from shared.control.objects import Limits as Kept
from shared.control.store import COLLECTION, ControlStore
from tests.unit.control_objects import limits, project
from tests.unit.memory_platform import MemoryStore
from tests.unit.scheduler_story import Story, finished, kinds, lane, requested, started, worker_started
from tests.unit.test_scheduler import restored
from voxloom.errors import StoreUnavailable
from voxloom.ids import new_id

PROJECTS = ("a", "b", "c")


@dataclass
class Lab:
    """A scheduler's mind to which things happen; it is looked at after each of them."""

    story: Story = field(default_factory=lambda: Story(lease=1e9, claim_timeout=1e9, max_lost=1000, alone_after_lost=1))
    limits: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    workers: int = 0

    @property
    def jobs(self) -> list[Job]:
        return list(self.story.mind.state.jobs.values())

    def held(self) -> Counter[str]:
        return Counter(job.project for job in self.jobs if job.lease is not None)

    def hear(self, *events: Event) -> None:
        for event in self.story.hear(*events):
            if isinstance(event, RunAssigned):  # the last that is decided: all that has ended has made room before
                assert self.held()[event.project] <= self.limits.get(event.project, 99), event
        assert self.beside_a_free_slot() == []

    def beside_a_free_slot(self) -> list[str]:
        """Runs that nothing keeps from beginning, and workers that idle for one that must not begin."""
        state, held = self.story.mind.state, self.held()
        kept = [state.suspects[one.kept_for] for one in state.workers.values() if one.kept_for in state.suspects]
        idle = [job.run for job in kept if held[job.project] >= self.limits.get(job.project, 99)]
        held.update(job.project for job in kept)
        waiting = [job for job in self.jobs if job.lease is None and job.run not in state.suspects]
        if state.freest("cpu") is None:
            return idle
        return idle + [job.run for job in waiting if held[job.project] < self.limits.get(job.project, 99)]

    # what happens

    def submit(self, number: int) -> None:
        self.asked += 1
        self.hear(requested(f"r{self.asked}", PROJECTS[number % 3], priority=number % 5))

    def join(self, number: int) -> None:
        self.workers += 1
        self.hear(worker_started(f"i{self.workers}", f"w{number % 4}", lane(1 + number % 3)))

    def drain(self, number: int) -> None:
        if workers := list(self.story.mind.state.workers.values()):
            one = workers[number % len(workers)]
            self.hear(WorkerDraining(subject=one.incarnation, worker_id=one.worker_id))

    def limit(self, number: int) -> None:
        """Sets, raises, lowers or removes one."""
        self.limits.pop(name := PROJECTS[number % 3], None)
        if number % 4:
            self.limits[name] = number % 4
        weights = {name: 1.0 + number % 7}
        self.story.mind.state.obey(Limits(dict(self.limits), weights), self.story.now)
        self.hear()

    def forget(self, number: int) -> None:
        """All limits and weights: their projects are gone, say."""
        self.limits.clear()
        self.story.mind.state.obey(Limits(), self.story.now)
        self.hear()

    def _one(self, number: int, *, held: bool) -> Job | None:
        found = [job for job in self.jobs if (job.lease is not None) == held]
        return found[number % len(found)] if found else None

    def begin(self, number: int) -> None:
        if (job := self._one(number, held=True)) is not None and job.lease is not None:
            event = started(job.run, job.attempt, job.lease.incarnation)
            self.hear(event.model_copy(update={"project": job.project}))

    def _report(self, job: Job | None, outcome: str, **result: Any) -> None:
        if job is not None and job.lease is not None:
            event = finished(job.run, outcome, job.attempt, job.lease.incarnation, **result)
            self.hear(event.model_copy(update={"project": job.project}))

    def finish(self, number: int) -> None:
        self._report(self._one(number, held=True), "completed", run_seconds=number % 9 / 4)

    def give_back(self, number: int) -> None:
        self._report(self._one(number, held=True), "released")

    def lose(self, number: int) -> None:
        """A worker dies on a run that has begun, and comes again."""
        job = self._one(number, held=True)
        if job is not None and job.lease is not None:
            worker = job.lease.worker_id
            self.begin(number)
            self.workers += 1
            self.hear(worker_started(f"i{self.workers}", worker, lane(1 + number % 3)))

    def stop(self, number: int) -> None:
        if (job := self._one(number, held=bool(number % 2))) is not None:
            self.hear(RunStopRequested(subject=job.run, project=job.project))

    def wait(self, number: int) -> None:
        self.story.now += number / 100
        self.hear()


HAPPENS = (
    *("submit", "submit", "submit", "join", "drain", "limit", "limit", "forget", "begin", "finish", "finish"),
    *("give_back", "lose", "lose", "stop", "wait"),
)


@pytest.mark.parametrize("seed", range(20))
def test_a_limit_is_never_exceeded_and_no_run_is_stuck(seed: int) -> None:
    # Given a long day, with whatever happens on it: what is rare needs many steps before it
    chance, lab = random.Random(seed), Lab()
    for _ in range(400):
        getattr(lab, chance.choice(HAPPENS))(chance.randrange(1000))
    # When there is a worker, and nothing more than that runs end
    lab.join(2)
    for _ in range(2 * lab.asked):
        lab.finish(0)
    # Then all of them do
    assert lab.jobs == []


def test_a_run_that_is_tried_alone_keeps_no_worker_idle_while_its_project_may_not_have_it() -> None:
    # Given a run that was lost once, whose project may have one run and has another
    lab = Lab()
    lab.join(0)
    lab.hear(requested("bad", "a"))
    lab.lose(0)
    lab.join(1)
    lab.hear(requested("good", "a"))
    lab.give_back(0)
    lab.limits = {"a": 1}
    lab.story.mind.state.obey(Limits({"a": 1}), 0.0)
    # When others come, and all that is given out ends
    lab.hear(requested("other", "b"), requested("next", "a"))
    for _ in range(4):
        lab.finish(0)
    # Then all have had their turn
    assert lab.jobs == []


def test_a_run_that_is_tried_alone_is_not_overtaken_by_others_of_its_project() -> None:
    # Given two workers that are busy, and a run of a project that may have one, which one of them is kept for
    lab = Lab(limits={"a": 1})
    lab.story.mind.state.obey(Limits({"a": 1}), 0.0)
    lab.hear(worker_started("i1", "w1"), requested("bad", "a"))
    lab.hear(worker_started("i2", "w2"), worker_started("i3", "w3"), requested("x", "b"), requested("y", "b"))
    lab.hear(started("bad"), worker_started("i4", "w1"), WorkerDraining(subject="i4", worker_id="w1"))
    lab.hear(requested("good", "a"), requested("z", "b"))
    state = lab.story.mind.state
    assert set(state.suspects) == {"bad"}
    # When the other one is free, then it is for others
    other = next(one for one in state.workers.values() if one.runs and one.kept_for is None)
    lab._report(state.jobs[next(iter(other.runs))], "completed", run_seconds=5.0)
    assert (lab.held()["a"], state.jobs["z"].lease is not None) == (0, True)


def test_a_limit_below_what_is_held_takes_nothing_away() -> None:
    lab = Lab()
    lab.join(2)
    for number in range(3):
        lab.hear(requested(f"r{number}", "a"))
    lab.limits = {"a": 1}
    lab.story.mind.state.obey(Limits({"a": 1}), 0.0)
    lab.hear(requested("r3", "a"))
    lab.finish(0)
    lab.finish(0)
    assert lab.held() == {"a": 1}
    lab.finish(0)
    assert [job.run for job in lab.jobs if job.lease is not None] == ["r3"]


def test_what_workers_have_counts_for_a_successor() -> None:
    # Given the records of a scheduler that has given two runs of a project to a worker
    first = Story()
    asked = [requested(f"a{number}", "a") for number in range(3)]
    events = [*asked, *first.hear(worker_started("i1", "w1", lane(2)), *asked), requested("b0", "b")]
    # When another one takes over, and knows that this is as many as there may be
    mind, _ = restored(*events)
    mind.state.obey(Limits({"a": 2}), 100.0)
    mind.on_worker_started(worker_started("i2", "w2", lane(4)), 100.0)
    # Then it gives the others' alone to a worker with room
    assert kinds(mind.plan(100.0)) == [("assigned", "b0")]


# --- where they are known from --------------------------------------------------------------------------------------


class Known:
    def __init__(self, *, closed: bool = True) -> None:
        self.store = MemoryStore()
        self.control = ControlStore(self.store)
        self.limits = KnownLimits(self.store, closed=closed)
        self.asked: list[str] = []
        self.store.before = lambda what, key: self.asked.append(f"{what} {key}")

    def tell(self, *keys: str) -> None:
        self.limits.hear(ControlChanged(subject=new_id(), keys=list(keys)))


async def test_an_open_server_is_asked_for_nothing() -> None:
    known = Known(closed=False)
    await known.limits.read()
    following = asyncio.create_task(known.limits.follow(lambda: None))
    await asyncio.sleep(0)
    following.cancel()
    assert (known.asked, known.limits.now) == ([], Limits())


async def test_nothing_but_limits_is_read() -> None:
    known = Known()
    await known.control.put(project("lab1"))
    await known.control.put(limits("lab1", runs_at_once=2, weight=3.0))
    known.asked.clear()
    await known.limits.read()
    assert known.limits.now == Limits({"lab1": 2}, {"lab1": 3.0})
    assert known.asked == ["list limits/", "get limits/lab1"]


async def test_what_changes_is_known_at_once() -> None:
    known = Known()
    await known.limits.read()
    changed = asyncio.Event()
    following = asyncio.create_task(known.limits.follow(lambda: changed.set() if known.limits.now.at_once else None))
    await asyncio.sleep(0)
    await known.control.put(limits("lab1", runs_at_once=1))
    known.tell("limits/lab1")
    async with asyncio.timeout(60):
        await changed.wait()
    following.cancel()
    assert known.limits.now.at_once == {"lab1": 1}


async def test_a_server_that_is_told_to_be_closed_later_is_read_from_then_on() -> None:
    known = Known(closed=False)
    await known.control.put(limits("lab1", runs_at_once=1))
    changed = asyncio.Event()
    following = asyncio.create_task(known.limits.follow(lambda: changed.set() if known.limits.now.at_once else None))
    known.tell("mode")
    async with asyncio.timeout(60):
        await changed.wait()
    following.cancel()
    assert known.limits.now.at_once == {"lab1": 1}


def away(_what: str, _key: str) -> None:
    raise StoreUnavailable("The store is away.")


async def test_where_the_store_is_away_the_last_that_was_known_counts() -> None:
    known = Known()
    await known.control.put(limits("lab1", runs_at_once=2))
    await known.limits.read()
    known.store.before = away
    await known.limits.read()
    assert known.limits.now.at_once == {"lab1": 2}


NEWER = b'{"format": 2, "project": "lab1", "runs_at_once": "some"}'


@pytest.mark.parametrize(("before", "expected"), [(limits("lab1", runs_at_once=2), {"lab1": 2}), (None, {})])
async def test_what_a_newer_version_has_written_changes_nothing(
    before: Kept | None, expected: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    known = Known()
    if before is not None:
        await known.control.put(before)
    await known.limits.read()
    await known.store.put(COLLECTION, "limits/lab1", NEWER)
    await known.limits.read()
    assert (known.limits.now.at_once, "'limits/lab1'" in caplog.text) == (expected, True)


async def test_limits_of_a_project_that_is_gone_are_gone_with_them() -> None:
    known = Known()
    await known.control.put(limits("lab1", runs_at_once=2))
    await known.limits.read()
    await known.control.remove("limits/lab1")
    await known.limits.read()
    assert known.limits.now == Limits()


def test_who_has_no_limit_of_runs_has_a_weight_all_the_same() -> None:
    assert limits_of([limits("lab1", weight=0.5)]) == Limits({}, {"lab1": 0.5})
