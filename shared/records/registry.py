"""The table of the kinds of records, runs apart."""

from __future__ import annotations

from typing import Any

from shared.records.deploys import DEPLOY, DeployState
from shared.records.kinds import RecordKind, S
from voxloom.models import Value

KINDS: tuple[RecordKind[Any], ...] = (DEPLOY,)


class RecordStates(Value):
    """Of every kind, what a snapshot has: those that have not ended, or did so lately."""

    deploys: list[DeployState] = []

    def of(self, kind: RecordKind[S]) -> list[S]:
        found: list[S] = getattr(self, kind.field)
        return found
