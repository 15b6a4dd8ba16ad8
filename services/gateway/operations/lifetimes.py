"""After how many days things go, by what the server and their project say."""

from __future__ import annotations

from typing import Literal

from messages.runs import Task
from services.gateway.context import Context
from shared.control.objects import Retention
from shared.settings import Settings
from voxloom.limits import narrower
from voxloom.models import RetentionDays

Things = Literal["file", "execution", "training"]
OF_TASKS: dict[Task, Things] = {"execution": "execution", "benchmark": "execution", "training": "training"}


_SETTINGS: dict[Things, str] = {
    "file": "data_expire_days",
    "execution": "execution_expire_days",
    "training": "training_expire_days",
}


def servers(settings: Settings) -> RetentionDays:
    """After how many days the server itself removes something."""
    return RetentionDays(**{f"{things}_days": getattr(settings, name) for things, name in _SETTINGS.items()})


def days_of(context: Context, project: str, things: Things) -> float | None:
    """After how many days it goes; None: it stays."""
    server: float | None = getattr(context.settings, _SETTINGS[things])
    if context.control is None:
        return server
    return narrower(server, days_in(context.control.directory.retention(project), things))


def days_in(said: RetentionDays | Retention | None, things: Things) -> float | None:
    return None if said is None else getattr(said, f"{things}_days")
