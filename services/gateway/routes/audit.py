"""The audit: who did what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.paging import PageQuery, page_answer
from services.gateway.http.payloads import read_query
from services.gateway.http.routing import Many, Route
from services.gateway.operations import audit
from voxloom.models import AuditEntry, Outcome


class AuditQuery(PageQuery):
    actor: Annotated[str | None, Field(max_length=100, description="Was done by this principal.")] = None
    project: Annotated[
        str | None, Field(max_length=100, description="Is of this project; `system`: of none, for admins.")
    ] = None
    action: Annotated[
        str | None, Field(max_length=100, description="`member.set`; or `member`, for all that is done to members.")
    ] = None
    outcome: Annotated[list[Outcome], Field(description="Ended in one of these ways.")] = []
    since: Annotated[datetime | None, Field(description="Began then or later; without an offset, in UTC.")] = None
    until: Annotated[datetime | None, Field(description="Began before then.")] = None


async def list_all(request: web.Request) -> web.Response:
    """In [pages](#lists), the newest first. An admin sees all; a manager of projects what is of those. For all others
    the answer is 403 `audit_not_allowed`. A page looks at a part of the audit only, so it may have fewer entries than
    `limit`, or none, where few fit: as long as there is a `Link`, there may be more.

    An entry is there at once at the gateway that has written it, and after two seconds at the others.
    [access.md](access.md#who-did-what) says what is in the audit.
    """
    asked = read_query(request, AuditQuery)
    query = audit.Query(
        page=asked,
        actor=asked.actor,
        project=asked.project,
        action=asked.action,
        outcome=asked.outcome,
        since=_utc(asked.since),
        until=_utc(asked.until),
    )
    return page_answer(request, await audit.page(context_of(request), caller_of(request), query))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


ROUTES = [
    Route(
        "GET",
        "/api/v1/audit",
        list_all,
        "Who did what, page by page",
        "Access",
        {200: Many(AuditEntry)},
        {403: ("audit_not_allowed",), 404: ("project_not_found",), 409: ("auth_is_open",)},
        query=AuditQuery,
        needs="identity",
    ),
]
