"""What is being done just now for whoever asks, as the audit will have it.

The gateway notes it for each request; whatever changes who may do what writes it down before the first change.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from messages.control import SYSTEM
from shared.audit.log import AuditLog
from voxloom.ids import new_id
from voxloom.models import AuditEntry, Outcome, format_time, utc_now

MOST_KEYS = 50
LONGEST = 200
"""Characters of what people have typed."""


@dataclass(eq=False)
class Doing:
    log: AuditLog
    action: str
    actor: str | None = None
    token_id: str | None = None
    project: str = SYSTEM
    changes: str | None = None
    """The project that it is about, where it changes who may do what."""
    subject: str = ""
    address: str = ""
    entry_id: str = field(default_factory=new_id)
    time: str = field(default_factory=lambda: format_time(utc_now()))
    keys: list[str] = field(default_factory=list)
    """Those of `control-store` that are changed."""
    begun: bool = False
    """Whether it may be written that it is about to be done."""
    _written: bool = False

    def entry(self, outcome: Outcome, code: str | None = None) -> AuditEntry:
        return AuditEntry(
            entry_id=self.entry_id,
            time=self.time,
            action=self.action,
            outcome=outcome,
            actor=self.actor,
            token_id=self.token_id or None,
            project=self.project,
            subject=self.subject[:LONGEST],
            address=self.address,
            code=code,
            details={"changed": self.keys} if self.keys else {},
        )

    async def begin(self, *keys: str) -> None:
        """Before something of `control-store` is changed. Raises AuditUnavailable: then it must not be."""
        self.keys += [key for key in keys if key not in self.keys][: MOST_KEYS - len(self.keys)]
        if self._written:
            return
        if not self.begun:
            self.project = self.changes or SYSTEM
        self.begun = True  # first: it may be written although that is not known
        await self.log.before(self.entry("begun"))
        self._written = True

    def end(self, outcome: Outcome, code: str | None = None) -> None:
        self.log.note(self.entry(outcome, code))


CURRENT: ContextVar[Doing | None] = ContextVar("doing", default=None)


def doing() -> Doing | None:
    """None: nobody has asked for it, or the server keeps no audit."""
    return CURRENT.get()
