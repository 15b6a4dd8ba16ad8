"""Looking into the audit: admins at all of it, managers at what is of their projects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.gateway.context import Context
from services.gateway.http.paging import Page, PageQuery, cursor_at, position_of
from services.gateway.operations.control import may_all, not_found, reach_of
from shared.audit.batches import micros, place_of
from shared.audit.reading import Wanted, read
from shared.caller import Caller
from voxloom.errors import NotAllowed
from voxloom.models import AuditEntry, Outcome

ORDER = "audit:newest"


@dataclass(frozen=True)
class Query:
    page: PageQuery
    actor: str | None = None
    project: str | None = None
    action: str | None = None
    """As a whole, or its begin up to a dot: `member`."""
    outcome: Sequence[Outcome] = ()
    since: datetime | None = None
    until: datetime | None = None


async def page(context: Context, caller: Caller, query: Query) -> Page[AuditEntry]:
    """The newest first. Raises NotAllowed (`audit_not_allowed`), NotFound (`project_not_found`), StoreUnavailable, and
    InvalidInput for a cursor that is not of this list."""
    projects = _projects(context, caller)
    if query.project is not None and projects is not None and query.project not in projects:
        raise not_found("project", query.project)
    after = position_of(query.page, ORDER, int, str)
    if context.auditor is not None:
        await context.auditor.log.flush()  # One's own deeds are there at once; those of other gateways a little later.
    wanted = Wanted(
        query.page.limit + 1,
        fits(query, projects),
        after=(int(after[0]), str(after[1])) if after is not None else None,
        since=None if query.since is None else micros(query.since),
        until=None if query.until is None else micros(query.until),
    )
    part = await read(context.store, wanted)
    found, last = part.entries, part.after
    if len(found) > query.page.limit:
        found = found[: query.page.limit]
        last = place_of(found[-1])
    return Page(found, cursor_at(ORDER, last) if last is not None else None)


def _projects(context: Context, caller: Caller) -> Collection[str] | None:
    """Those whose audit the caller may see; None: all, and what is of none."""
    if may_all(context, caller):
        return None
    managed = {project for project, rights in reach_of(context, caller).items() if "deploy" in rights}
    if not managed:
        raise NotAllowed(
            "The audit is for admins, and for managers what is of their projects; ask one of them.",
            code="audit_not_allowed",
            details={"right": "deploy"},
        )
    return managed


def fits(query: Query, projects: Collection[str] | None) -> Callable[[AuditEntry], bool]:
    """Whether an entry is wanted, and the caller may see it."""

    def wanted(entry: AuditEntry) -> bool:
        return (
            (projects is None or entry.project in projects)
            and query.project in (None, entry.project)
            and query.actor in (None, entry.actor)
            and (query.action is None or f"{entry.action}.".startswith(f"{query.action}."))
            and (not query.outcome or entry.outcome in query.outcome)
        )

    return wanted
