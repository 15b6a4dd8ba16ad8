"""Whose turn it is: how much of the workers' time each project has had, in seconds of its runs.

Stride scheduling by time (Waldspurger and Weihl, 1995): the project that has had the least comes next. One whose runs
are short so gets more of them, and a single run of one waits for no queue of another, however long. Who has had
nothing to do for a while has saved nothing up: it goes on from where the others are, or it would have all workers to
itself until it has drawn level.
"""

from __future__ import annotations

from dataclasses import dataclass

GUESS_SECS = 1.0
"""How long a project's runs take, as long as none has ended."""
MOST_SECS = 60.0
"""What a run that has just begun is taken to need at most: a long one counts as it goes on."""
SMOOTHING = 0.3


@dataclass
class Share:
    """Of a project that has runs. Times are the scheduler's monotonic seconds."""

    had: float = 0.0
    """Seconds of its runs that are over."""
    mean: float = GUESS_SECS
    runs: int = 0
    """Those that have not ended."""
    held: int = 0
    """Those of them that workers have."""
    begun: float = 0.0
    """When those were given to them, added up."""

    def until(self, now: float) -> float:
        """With what the runs under way have had."""
        return self.had + self.held * now - self.begun

    def soon(self, now: float) -> float:
        """With what those will have had very soon: of slots that are free at once, one project must not get all."""
        return max(self.until(now), self.had + self.held * min(self.mean, MOST_SECS))


class Shares:
    """Follows the runs of all projects. No decisions are made here."""

    def __init__(self) -> None:
        self._projects: dict[str, Share] = {}

    def enter(self, project: str, now: float) -> None:
        """It has one more run."""
        share = self._projects.get(project)
        if share is None:
            least = min((one.until(now) for one in self._projects.values()), default=0.0)
            share = self._projects[project] = Share(had=least)
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

    def of(self, project: str, now: float) -> float:
        """Seconds; the least comes first. What still stands in a line of a project without runs goes at once."""
        share = self._projects.get(project)
        return 0.0 if share is None else share.soon(now)
