"""Whose turn it is: how much of the workers' time each project has had, in seconds of its runs by its weight.

Stride scheduling by time (Waldspurger and Weihl, 1995): the project that has had the least comes next. One whose runs
are short so gets more of them, and a single run of one waits for no queue of another, however long. Twice the weight
is twice the time. Who has had nothing to do for a while has saved nothing up: it goes on from where the others are, or
it would have all workers to itself until it has drawn level. Nor has one that its own limit has held back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GUESS_SECS = 1.0
"""How long a project's runs take, as long as none has ended."""
MOST_SECS = 60.0
"""What a run that has just begun is taken to need at most: a long one counts as it goes on."""
SMOOTHING = 0.3


@dataclass
class Share:
    """Of a project that has runs. Times are the scheduler's monotonic seconds."""

    base: float = 0.0
    """Where it began: seconds by weight that it is taken to have had before."""
    had: float = 0.0
    """Seconds of its runs that are over."""
    mean: float = GUESS_SECS
    runs: int = 0
    """Those that have not ended."""
    held: int = 0
    """Those of them that workers have."""
    begun: float = 0.0
    """When those were given to them, added up."""
    weight: float = 1.0

    def _seconds(self, now: float) -> float:
        """With what the runs under way have had."""
        return self.had + self.held * now - self.begun

    def until(self, now: float) -> float:
        """Seconds by weight."""
        return self.base + self._seconds(now) / self.weight

    def soon(self, now: float) -> float:
        """With what those under way will have had very soon: of slots that are free at once, one project must not get
        all."""
        return max(self.until(now), self.base + (self.had + self.held * min(self.mean, MOST_SECS)) / self.weight)

    def weigh(self, weight: float, now: float) -> None:
        """From now on; what it has had before counts as it did."""
        self.base += self._seconds(now) * (1 / self.weight - 1 / weight)
        self.weight = weight


class Shares:
    """Follows the runs of all projects. No decisions are made here."""

    def __init__(self) -> None:
        self._projects: dict[str, Share] = {}
        self._weights: Mapping[str, float] = {}

    def weigh(self, weights: Mapping[str, float], now: float) -> None:
        """What projects weigh from now on; 1 where it is not said."""
        self._weights = weights
        for project, share in self._projects.items():
            share.weigh(weights.get(project, 1.0), now)

    def enter(self, project: str, now: float) -> None:
        """It has one more run."""
        share = self._projects.get(project)
        if share is None:
            least = min((one.until(now) for one in self._projects.values()), default=0.0)
            share = self._projects[project] = Share(base=least, weight=self._weights.get(project, 1.0))
        share.runs += 1

    def leave(self, project: str) -> None:
        """One of its runs has ended."""
        share = self._projects[project]
        share.runs -= 1
        if not share.runs:
            del self._projects[project]

    def begin(self, project: str, now: float) -> None:
        """A worker has got one of its runs."""
        share = self._projects[project]
        share.held += 1
        share.begun += now

    def end(self, project: str, begun: float, now: float, ran: float | None) -> None:
        """The worker has it no more. `ran`: the seconds that its code took, where that is known."""
        share = self._projects[project]
        share.held -= 1
        share.begun -= begun
        share.had += now - begun if ran is None else ran
        if ran is not None:
            share.mean += SMOOTHING * (ran - share.mean)

    def held(self, project: str) -> int:
        """How many of its runs workers have."""
        share = self._projects.get(project)
        return 0 if share is None else share.held

    def of(self, project: str, now: float) -> float:
        """Seconds by weight; the least comes first. What still stands in a line of a project without runs goes at
        once."""
        share = self._projects.get(project)
        return 0.0 if share is None else share.soon(now)

    def draw_level(self, project: str, had: float, now: float) -> None:
        """It counts as having had no less than this."""
        share = self._projects.get(project)
        if share is not None:
            share.base += max(0.0, had - share.soon(now))
