"""Three projects on one server: what part of the workers' time each of them gets, and how soon a single run begins.

Real runs on an embedded server that asks who people are. They sleep, so that more of them than there are cores do not
hinder each other. Who had what is taken from the records: from the begin of a run's code to its end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from benchmarks import share_picture
from benchmarks.figures import Figure
from benchmarks.report import Results
from benchmarks.system import System

SLOTS = 5
STEP_SECS = 0.25
"""Between two looks at who has had what."""
AT_ONCE = 16
PICTURE = "fair-share.svg"
_QUIET: dict[str, Any] = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
SLEEPER = """
    def preprocess(self, input_data, args):
        return []

    def inference(self, data, args):
        import time
        time.sleep(float(args["seconds"]))
        return []

    def postprocess(self, data, args):
        return []
"""


@dataclass(frozen=True)
class Story:
    """What projects ask for at the same time, and what they weigh."""

    title: str
    runs: Mapping[str, int]
    weights: Mapping[str, float]
    run_secs: float
    watched_secs: float


STORIES = (
    Story("1000 : 10 : 1 runs, the same weight", {"large": 1000, "middle": 10, "single": 1}, {}, 2.0, 16.0),
    Story("as many runs as they like, weights 3 : 1 : 1", dict.fromkeys("abc", 300), {"a": 3.0}, 0.6, 40.0),
)


@dataclass(frozen=True)
class Ran:
    """One run. Times are seconds since 1970; of one that goes on, the end is when we looked."""

    submitted: float
    begun: float
    ended: float

    def seconds(self, since: float, until: float) -> float:
        return max(0.0, min(self.ended, until) - max(self.begun, since))


@dataclass(frozen=True)
class Seen:
    story: Story
    since: float
    """When all was asked for."""
    until: float
    ran: Mapping[str, Sequence[Ran]]

    def had(self, project: str, since: float, until: float) -> float:
        """Seconds of its runs."""
        return sum(run.seconds(since, until) for run in self.ran[project])

    def waits(self, project: str, moment: float) -> bool:
        """Whether it still has runs that have not begun then."""
        return sum(run.begun <= moment for run in self.ran[project]) < self.story.runs[project]

    def times(self) -> list[float]:
        steps = int((self.until - self.since) / STEP_SECS)
        return [self.since + STEP_SECS * step for step in range(1, steps + 1)]

    def fairness(self) -> list[float]:
        """Jain's index of what those who have had runs waiting all the time have had by weight, as time goes on; from
        the moment when each could have had three runs."""
        weights = [self.story.weights.get(one, 1.0) for one in self.story.runs]
        first = self.since + 3 * self.story.run_secs * sum(weights) / min(weights) / SLOTS
        found = []
        for moment in self.times():
            waiting = [one for one in self.story.runs if self.waits(one, moment)]
            if moment >= first and len(waiting) > 1:
                found.append(jain([self.had(one, self.since, moment) / self._weight(one) for one in waiting]))
        return found

    def _weight(self, project: str) -> float:
        return self.story.weights.get(project, 1.0)

    def begun_after(self, project: str) -> float:
        """How long its first run waited, in lengths of a run."""
        first = min(self.ran[project], key=lambda run: run.begun)
        return (first.begun - first.submitted) / self.story.run_secs


def jain(had: Sequence[float]) -> float:
    """1 where all have had the same, 1 / n where one has had all (Jain, Chiu and Hawe, 1984)."""
    return sum(had) ** 2 / (len(had) * sum(one * one for one in had))


class ClosedSystem(System):
    """One that asks who people are, and that we are the admin of."""

    async def __aenter__(self) -> Self:
        words = ("-m", "voxloom", "admin", "init", "--data", str(self.data))
        process = await asyncio.create_subprocess_exec(sys.executable, *words, **_QUIET)
        assert await process.wait() == 0, "there is no admin"
        await super().__aenter__()
        self.http.headers["Authorization"] = f"Bearer {(self.data / 'admin.token').read_text().strip()}"
        return self

    async def ask(self, method: str, path: str, project: str, **more: Any) -> Any:
        headers = {"Voxloom-Project": project}
        async with self.http.request(method, f"{self.url}{path}", headers=headers, **more) as answer:
            body = await answer.json()
            assert answer.status == 200, body
            return body


async def measure() -> Results:
    seen = [await watch(story) for story in STORIES]
    return Results(figures(seen), pictures={PICTURE: share_picture.draw(seen)})


def figures(seen: Sequence[Seen]) -> list[Figure]:
    equal, weighted = seen
    return [
        Figure("the least of Jain's index over time, 1000 : 10 : 1 runs", min(equal.fairness()), "", 0.95, False),
        Figure("how soon the single run begins", equal.begun_after("single"), "run lengths", 2.0),
        Figure("the least of Jain's index by weight, 3 : 1 : 1", min(weighted.fairness()), "", 0.95, False),
    ]


async def watch(story: Story) -> Seen:
    async with ClosedSystem(auth="closed", slots=SLOTS, drain=0.1, grace=0.5, warm_processes=4 * SLOTS) as system:
        algorithms = {project: await settle(system, story, project) for project in story.runs}
        for project, algorithm in algorithms.items():  # the largest first: it has all slots when the others come
            await submit(system, story, project, algorithm)
        since = time.time()
        await asyncio.sleep(story.watched_secs)
        until = time.time()
        return Seen(story, since, until, {one: await ran(system, one, until) for one in story.runs})


async def settle(system: ClosedSystem, story: Story, project: str) -> str:
    """The project with its weight, and the algorithm in it. That is tried once: a process is warm then, and the
    scheduler knows that such runs are not quick."""
    await system.ask("PUT", f"/api/v1/projects/{project}", "default", json={"name": project})
    weight = story.weights.get(project, 1.0)
    await system.ask("PUT", f"/api/v1/projects/{project}/limits", project, json={"weight": weight})
    system.http.headers["Voxloom-Project"] = project
    algorithm = await system.deploy("sleeper", SLEEPER)
    await system.run(algorithm, seconds=story.run_secs)
    await system.ask("DELETE", "/api/v0/execute-algorithm/all", project)
    return algorithm


async def submit(system: ClosedSystem, story: Story, project: str, algorithm: str) -> None:
    left = iter(range(story.runs[project]))
    body = {"algorithm_id": algorithm, "input_dataset_ids": [], "additional_parameters": {"seconds": story.run_secs}}

    async def one_after_another() -> None:
        for _ in left:
            await system.ask("POST", "/api/v1/executions", project, json=body)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def ran(system: ClosedSystem, project: str, now: float) -> list[Ran]:
    """Those that have begun."""
    found: list[Ran] = []
    for status in ("RUNNING", "COMPLETED"):
        path = f"/api/v1/executions?limit=1000&status={status}"
        found += [_ran(one, now) for one in await system.ask("GET", path, project) if one["time_started"]]
    return found


def _ran(row: Mapping[str, Any], now: float) -> Ran:
    ended = _moment(row["time_completed"]) if row["time_completed"] else now
    return Ran(_moment(row["time_submitted"]), _moment(row["time_started"]), ended)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
