"""Projects share the workers' time, whatever the number of runs that each has waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from messages.base import Event
from messages.runs import RunAssigned
from services.scheduler.limits import Limits
from services.scheduler.shares import GUESS_SECS, Shares
from tests.unit.scheduler_story import Story, finished, lane, requested, started, worker_started

Length = Callable[[str], float]
"""Seconds that the runs of a project take."""


@dataclass
class Lab:
    """One worker with so many slots, whose runs take their time."""

    slots: int
    length: Length
    story: Story = field(default_factory=lambda: Story(lease=1e9, claim_timeout=1e9))
    had: dict[str, float] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    held_at_most: dict[str, int] = field(default_factory=dict)
    """Of each project, at any time."""
    _under_way: dict[str, tuple[str, float]] = field(default_factory=dict)
    """run → project, end"""
    _ahead: list[RunAssigned] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hear(worker_started("i1", "w1", lane(self.slots)))

    def submit(self, project: str, count: int) -> None:
        self.had.setdefault(project, 0.0)
        self.hear(*[requested(f"{project}{number}", project) for number in range(count)])

    def hear(self, *events: Event) -> None:
        self._ahead += [one for one in self.story.hear(*events) if isinstance(one, RunAssigned)]
        while self._ahead and len(self._under_way) < self.slots:
            self._begin(self._ahead.pop(0))

    def _begin(self, assigned: RunAssigned) -> None:
        run, project = assigned.subject, assigned.project
        self._under_way[run] = project, self.story.now + self.length(project)
        now = sum(of == project for of, _ in self._under_way.values())
        self.held_at_most[project] = max(now, self.held_at_most.get(project, 0))
        self.begun[run] = self.story.now
        self.story.hear(started(run).model_copy(update={"project": project}))

    def go_on(self) -> Iterator[float]:
        """The times at which a run has ended, as long as there are any."""
        while self._under_way:
            run, (project, end) = min(self._under_way.items(), key=lambda item: item[1][1])
            self.story.now = end
            del self._under_way[run]
            self.had[project] += self.length(project)
            done = finished(run, "completed", run_seconds=self.length(project))
            self.hear(done.model_copy(update={"project": project}))
            yield end

    def limit(self, at_once: dict[str, int] | None = None, weights: dict[str, float] | None = None) -> None:
        self.story.mind.state.obey(Limits(at_once or {}, weights or {}), self.story.now)
        self.hear()

    def so_far(self, project: str) -> float:
        """Seconds, with those of the runs under way."""
        now = self.story.now
        going = [now - self.begun[run] for run, (of, _) in self._under_way.items() if of == project]
        return self.had[project] + sum(going)

    def waits(self, project: str) -> bool:
        return any(job.project == project and job.lease is None for job in self.story.mind.state.jobs.values())


def jain(had: list[float]) -> float:
    """The index of fairness (Jain, Chiu and Hawe, 1984): 1 where all have had the same, 1 / n where one has had all."""
    return sum(had) ** 2 / (len(had) * sum(one * one for one in had))


LENGTHS: dict[str, tuple[int, int, dict[str, float]]] = {
    "one slot": (1, 10, {}),
    "four slots": (4, 10, {}),
    "short runs beside long ones": (1, 100, {"big": 0.2, "middle": 2.0}),
    "long runs beside short ones": (3, 100, {"big": 3.0, "middle": 0.7}),
}
"""Slots, runs of the second project, and how long runs take that do not take a second."""


WEIGHTS: dict[str, dict[str, float]] = {
    "equal": {},
    "the largest three times": {"big": 3.0},
    "the smallest three times": {"one": 3.0, "middle": 2.0},
    "little": {"big": 0.001, "middle": 0.003, "one": 0.001},
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("slots", "count", "lengths"), LENGTHS.values(), ids=LENGTHS)
def test_a_thousand_runs_of_one_project_leave_the_others_their_share(
    slots: int, count: int, lengths: dict[str, float], weights: dict[str, float]
) -> None:
    # Given three projects that submit at the same time, the largest first
    lab = Lab(slots, lambda project: lengths.get(project, 1.0))
    lab.limit(weights=weights)
    for project, runs in (("big", 1000), ("middle", count), ("one", 1)):
        lab.submit(project, runs)
    # When they run
    fairness: list[float] = []
    longest = max([1.0, *lengths.values()])
    part = [weights.get(project, 1.0) for project in ("big", "middle")]
    enough = 3 * longest * max(part) / min(part)
    for _ in lab.go_on():
        had = [lab.so_far("big"), lab.so_far("middle")]
        if min(had) > enough and lab.waits("big") and lab.waits("middle"):
            fairness.append(jain([one / weight for one, weight in zip(had, part, strict=True)]))
    # Then the single run has begun within two run lengths, and whoever has something to run gets as much as the others
    assert lab.begun["one0"] <= 2 * longest
    assert (min(fairness, default=1.0) >= 0.95, len(lab.begun)) == (True, 1001 + count), fairness
    assert len(fairness) > 3 or weights


def test_over_time_each_gets_its_part_by_weight() -> None:
    # Given three projects with enough to do, on four slots
    weights = {"big": 3.0, "middle": 1.0, "one": 1.0}
    lab = Lab(4, lambda _: 1.0)
    lab.limit(weights=weights)
    for project in weights:
        lab.submit(project, 400)
    fairness = [
        jain([lab.so_far(project) / weight for project, weight in weights.items()])
        for now in lab.go_on()
        if now > 20 and all(map(lab.waits, weights))
    ]
    assert (len(fairness) > 100, min(fairness) >= 0.99) == (True, True)


def test_who_was_away_has_saved_nothing_up() -> None:
    # Given a project that has had the worker for itself for long
    lab = Lab(1, lambda _: 1.0)
    lab.submit("busy", 300)
    ends = lab.go_on()
    for _ in range(200):
        next(ends)
    # When another comes, then they take turns from there on
    lab.submit("late", 10)
    for _ in range(10):
        next(ends)
    assert 4 <= sum(run.startswith("late") for run in lab.begun) <= 6


def test_what_a_lost_run_had_counts_too() -> None:
    shares = Shares()
    shares.enter("a", 0.0)
    shares.enter("b", 0.0)
    shares.begin("a", 0.0)
    shares.end("a", 0.0, 50.0, None)
    assert (shares.of("a", 50.0), shares.of("b", 50.0)) == (50.0, 0.0)


def test_a_run_that_has_just_begun_counts_as_what_the_others_of_its_project_took() -> None:
    shares = Shares()
    shares.enter("a", 0.0)
    shares.begin("a", 0.0)
    assert shares.of("a", 0.0) == GUESS_SECS
    shares.end("a", 0.0, 2.0, 11.0)
    shares.begin("a", 2.0)
    assert shares.of("a", 2.0) == pytest.approx(11.0 + 4.0)


def test_a_project_that_has_nothing_left_is_forgotten() -> None:
    shares = Shares()
    for number in range(100):
        shares.enter(f"p{number}", 0.0)
        shares.leave(f"p{number}")
    assert shares._projects == {}


def test_leases_that_get_a_full_term_again_cost_nobody_anything() -> None:
    # Given a run that a worker has had for a while
    story = Story()
    story.hear(worker_started("i1", "w1", lane(1)), requested("a0", "a"))
    story.now = 30.0
    # When nobody could be heard for a while
    story.mind.grant_full_terms(story.now)
    # Then it has had those seconds all the same
    assert story.mind.state.shares.of("a", 30.0) == 30.0


# --- limits of runs at once -----------------------------------------------------------------------------------------


def test_whose_limit_is_reached_is_passed_over_and_others_go_on() -> None:
    # Given a project that may have one run at a time, with the first ten runs of the line
    lab = Lab(3, lambda _: 1.0)
    lab.limit({"small": 1})
    lab.submit("small", 10)
    lab.submit("other", 10)
    # When they run
    for _ in lab.go_on():
        pass
    # Then it never has more, and no slot idles for it meanwhile
    assert (lab.held_at_most, len(lab.begun)) == ({"small": 1, "other": 2}, 20)


def test_who_was_held_back_by_a_limit_has_saved_nothing_up() -> None:
    # Given a project that for long may have only one of eight slots
    lab = Lab(8, lambda _: 1.0)
    lab.limit({"small": 1})
    lab.submit("small", 300)
    lab.submit("other", 1500)
    for now in lab.go_on():
        if now >= 100:
            break
    # When its limit is taken away, or a third one comes
    begun = set(lab.begun)
    lab.limit()
    lab.submit("late", 100)
    for now in lab.go_on():
        if now >= 110:
            break
    # Then each of them gets a third from there on
    counts = [sum(run.startswith(one) for run in lab.begun.keys() - begun) for one in ("small", "other", "late")]
    assert jain([float(one) for one in counts]) >= 0.98, counts


def test_a_weight_that_is_changed_counts_from_there_on() -> None:
    # Given two who have taken turns for long
    lab = Lab(1, lambda _: 1.0)
    for project in ("a", "b"):
        lab.submit(project, 500)
    for now in lab.go_on():
        if now >= 200:
            break
    # When one of them gets three times the weight
    lab.limit(weights={"a": 3.0})
    begun = set(lab.begun)
    for now in lab.go_on():
        if now >= 240:
            break
    # Then it gets three of four, and not all for what it would have had before
    assert 28 <= sum(run.startswith("a") for run in lab.begun.keys() - begun) <= 32
