"""What has become of messages from outside: counted, and told in the log once a minute, however many they are."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Literal, NamedTuple

EVERY_SECS = 60.0
MOST_APART = 10
"""Reasons and users that a line tells apart."""
MOST_KNOWN = 1000
"""The same that are counted apart within a minute; all further ones count as one."""
OTHERS = "others"

Fate = Literal["accepted", "repeated", "rejected", "ignored"]
"""`repeated`: it came before, and has its run. `ignored`: there was nobody who could be told why."""
FATES: tuple[Fate, ...] = ("accepted", "repeated", "rejected", "ignored")
_TAKEN = ("accepted", "repeated")


class Refused(NamedTuple):
    fate: Fate
    code: str
    user: str


class Tally:
    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.counted: Counter[Fate] = Counter(dict.fromkeys(FATES, 0))
        """Since the start."""
        self._refused: Counter[Refused] = Counter()

    def note(self, fate: Fate, code: str = "", user: str | None = None) -> None:
        """`code`: why it was not taken. `user`: of the broker, as far as it was said."""
        self.counted[fate] += 1
        if fate not in _TAKEN:
            refused = Refused(fate, code, (user or "nobody")[:100])
            known = refused in self._refused or len(self._refused) < MOST_KNOWN
            self._refused[refused if known else Refused(fate, OTHERS, OTHERS)] += 1

    async def keep_telling(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY_SECS)
                self.tell()
        finally:
            self.tell()

    def tell(self) -> None:
        """A line of what was refused since the last one; nothing where nothing was."""
        if not self._refused:
            return
        refused, self._refused = self._refused, Counter()
        self._log.warning("messages from outside were not taken: %s", told(refused))


def told(refused: Counter[Refused]) -> str:
    said = [f"{count} of {one.user!r} {one.fate} ({one.code})" for one, count in refused.most_common(MOST_APART)]
    if (left := refused.total() - sum(count for _, count in refused.most_common(MOST_APART))) > 0:
        said.append(f"{left} more")
    return ", ".join(said)
