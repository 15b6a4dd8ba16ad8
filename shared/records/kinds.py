"""Kinds of records: what is kept of each thing of a kind, and where it lies once it has ended.

Runs are a kind with more to them (rows in lists, attempts, deletion): they have modules of their own. All others are
entries in a table (shared/records/registry.py), which recorder, record store and gateway go through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from messages.base import DEFAULT_PROJECT, Event, Project
from voxloom.models import Moment, Value

if TYPE_CHECKING:
    from shared.settings import Settings


class RecordState(Value):
    """All that is kept of one thing of a kind, folded from its events."""

    project: Project = DEFAULT_PROJECT

    @property
    def identity(self) -> str:
        """The subject of its events."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether it is stored by itself now, as no event will change it any more."""
        raise NotImplementedError

    @property
    def request(self) -> Event | None:
        """While it has not ended: what would have to be said again should it be lost."""
        raise NotImplementedError


S = TypeVar("S", bound=RecordState)


def never(_settings: Settings) -> None:
    """Such records stay."""


@dataclass(frozen=True)
class RecordKind(Generic[S]):
    """`fold` is pure: the state after one more event of the same thing; neither order nor repetition matters to it."""

    name: str
    """The first word of its events: `deploy`."""
    state: type[S]
    fold: Callable[[S | None, Event], S]
    collection: str
    """Where a record lies once it has ended, under `records/<id>`."""
    field: str
    """Of snapshots: where those lie that have not."""
    expiry: Callable[[Settings], float | None] = never
    """Days after which what lies there goes; None: it stays."""


def earliest(known: Moment | None, new: Moment) -> Moment:
    return new if known is None else min(known, new)
