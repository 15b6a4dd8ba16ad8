# Generated from voxloom/client/_async/audit.py by `python -m voxloom.client._generate`; edit that file.

"""Who did what, as far as we may see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from voxloom.client._sync.pages import pages
from voxloom.client._sync.transport import Transport
from voxloom.models import AuditEntry


class Audit:
    """What the client offers of that."""

    _transport: Transport

    def audit(
        self,
        *,
        actor: str | None = None,
        project: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditEntry]:
        """Entries of the audit, the newest first, fetched page by page as they are asked for; `limit` of them at most.
        For admins, and for managers what is of their projects.

        Args:
            actor: the principal who has done it.
            action: `member.set`; or `member`, for all that is done to members.
            outcome: begun, done, refused or failed.
            since: begun then or later; `until`: before.
        """
        query = {
            "actor": actor,
            "project": project,
            "action": action,
            "outcome": outcome,
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
        }
        yield from pages(self._transport, "/api/v1/audit", AuditEntry, query, limit)
