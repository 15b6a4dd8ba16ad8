"""Events of records. The subject is an id of the event's own."""

from __future__ import annotations

import operator

from pydantic import Field

from messages.base import Event, Subject


class RecordsDeleteRequested(Event):
    """A client wants no more records of these runs, which are over. The subject is the request's own id."""

    entities = ("record",)
    verb = "delete-requested"
    runs: list[Subject]
    unless_kept: bool = Field(False, exclude_if=operator.not_)
    """Nobody has named them; their time is over, say. Those that somebody keeps stay, and the recorder says which."""


class RecordsDeleted(Event):
    """Nothing is left of these runs' records in the store. The subject is an id of its own."""

    entities = ("record",)
    verb = "deleted"
    runs: list[Subject]


class RecordsKept(Event):
    """Somebody keeps these runs, or has let them go. The subject is an id of its own."""

    entities = ("record",)
    verb = "kept"
    runs: list[Subject]
    kept: bool = True
    spared: bool = Field(False, exclude_if=operator.not_)
    """They were to be deleted unless somebody keeps them: somebody does, so their records stay."""
