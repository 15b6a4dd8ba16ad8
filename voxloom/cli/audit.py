"""`voxloom audit`: who did what on a server that asks who people are."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect, principal
from voxloom.cli.text import moment, show_table

if TYPE_CHECKING:
    from voxloom.models import AuditEntry

Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], metavar="TIME", show_default=False),
]


class Outcome(StrEnum):
    """As `models.Outcome`."""

    begun = "begun"
    done = "done"
    refused = "refused"
    failed = "failed"


def audit(
    ctx: typer.Context,
    number: Annotated[int, typer.Option("-n", min=1, help="How many entries to show.")] = 50,
    by: Annotated[
        str | None, typer.Option(metavar="PRINCIPAL", help="Done by this one; `me`: by you.", show_default=False)
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="PROJECT", help="In this project.", show_default=False)
    ] = None,
    action: Annotated[
        str | None, typer.Option(help="`member.set`; or `member`: all that is done to members.", show_default=False)
    ] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="How it ended.", show_default=False)] = None,
    since: Day = None,
    until: Day = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what, the newest first. For admins, and for managers what is of their projects.

    --since and --until take a day (2026-11-30) or a time (2026-11-30T14:00), in UTC. An entry that is `begun` has no
    end: its gateway may have died meanwhile.
    """
    with connect(ctx) as client:
        found = list(
            client.audit(
                actor=principal(client, by),
                project=of,
                action=action,
                outcome=None if outcome is None else outcome.value,
                since=_utc(since),
                until=_utc(until),
                limit=number,
            )
        )
    if as_json:
        show(found)
        return
    if not found:
        typer.echo("There is nothing of that in the audit.")
        return
    heads = ("TIME (UTC)", "WHO", "ACTION", "SUBJECT", "PROJECT", "FROM", "OUTCOME")
    show_table(heads, [_row(one) for one in found], flexible="SUBJECT")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _row(one: AuditEntry) -> tuple[str, ...]:
    times = f" x{one.count}" if one.count > 1 else ""
    why = f" ({one.code})" if one.code else ""
    who = one.actor or "-"
    return moment(one.time), who, one.action, one.subject, one.project, one.address, f"{one.outcome}{why}{times}"
