"""Events of who may do what. They say what has changed, and nothing of it: the store is what counts."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from messages.base import Event, Project

SYSTEM = "system"
"""The project of events that are nobody's."""

ControlKey = Annotated[str, StringConstraints(pattern=r"^[a-z]+(/[A-Za-z0-9-]{1,64}){0,2}$")]


class ControlChanged(Event):
    """A principal, a project, a member or a token was made, changed or taken away: look again. Without a key: at all
    of them. The subject is an id of this news."""

    entities: ClassVar[tuple[str, ...]] = ("control",)
    verb = "changed"
    project: Project = SYSTEM
    keys: list[ControlKey] = []
    """In the collection `control-store`."""
