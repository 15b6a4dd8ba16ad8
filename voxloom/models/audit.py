"""Who did what: entries of the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from voxloom.models.times import Time
from voxloom.values import Value

Outcome = Literal["begun", "done", "refused", "failed"]


class AuditEntry(Value):
    """Somebody did something, or was refused it. `begun`: it was written down before, and how it ended is not
    known: its gateway may have died meanwhile."""

    entry_id: str
    time: Annotated[Time, Field(description="When it began; of what is counted together, the first.")]
    action: Annotated[str, Field(description="`member.set`, `token.create`, `file.delete`, …")]
    outcome: Outcome
    actor: Annotated[
        str | None,
        Field(description="The principal; `system`: the server itself; null: nobody has proven who they are."),
    ] = None
    token_id: Annotated[str | None, Field(description="The token that has proven it.")] = None
    project: Annotated[str, Field(description="`system`: of none.")] = "system"
    subject: Annotated[str, Field(description="What it was done to.")] = ""
    address: Annotated[str, Field(description="Of the machine that has asked.")] = ""
    code: Annotated[str | None, Field(description="Of the problem that was the answer.")] = None
    count: Annotated[int, Field(description="So many of the same kind, within a minute or in one pass.")] = 1
    details: dict[str, str | list[str]] = {}
