"""What somebody keeps is taken out of what is to be deleted unless it is kept.

Who keeps a run writes the note first, and then looks whether somebody has asked to delete it; the recorder looks at the
notes after it was asked. So of the two at the same time, one finds the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from messages.base import Event
from messages.records import RecordsDeleteRequested, RecordsKept
from shared.keeping import runs_kept_among
from shared.objects.base import ObjectStore
from voxloom.ids import new_id


class Spared(NamedTuple):
    """Events as far as they hold, and what is to be said of the rest once those are stored."""

    events: list[Event]
    news: list[RecordsKept]


async def spare(store: ObjectStore, events: Iterable[Event]) -> Spared:
    """Raises StoreUnavailable: then nobody knows, and nothing may be deleted."""
    left = Spared([], [])
    for event in events:
        if isinstance(event, RecordsDeleteRequested) and event.unless_kept:
            kept = await runs_kept_among(store, event.runs)
            event, news = divided(event, kept)
            left.news.extend(news)
        left.events.append(event)
    return left


def divided(event: RecordsDeleteRequested, kept: set[str]) -> tuple[RecordsDeleteRequested, list[RecordsKept]]:
    """What is left to be deleted, and the news of what is not."""
    stay = [run for run in event.runs if run in kept]
    if not stay:
        return event, []
    rest = event.model_copy(update={"runs": [run for run in event.runs if run not in kept]})
    return rest, [RecordsKept(subject=new_id(), project=event.project, runs=stay, spared=True)]
