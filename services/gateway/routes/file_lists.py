"""Which files there are, and what is known of one without opening it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.paging import Page, PageQuery, page_answer
from services.gateway.http.payloads import json_answer, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.operations.keeping import expires_at, later
from services.gateway.operations.lifetimes import days_of
from services.gateway.operations.samples import find
from services.gateway.routes import examples
from services.gateway.routes.files import named_file
from services.gateway.views.files import Query, Sort
from shared.files import COLLECTION, Located, being_deleted
from shared.keeping import kept_among
from shared.samples import files_of
from voxloom.filemodels import FileKind, FileRecord, FileSummary
from voxloom.models import format_time, utc_now

LONGEST_DAYS = 36_500.0


class ListQuery(PageQuery):
    kind: Annotated[FileKind | None, Field(description="Made by a client (upload) or by a run (output).")] = None
    name: Annotated[str | None, Field(description="What the id contains, without regard to case.")] = None
    sample_id: Annotated[str | None, Field(description="Only files of this sample.")] = None
    since: Annotated[datetime | None, Field(description="Made then or later; ISO 8601, UTC unless it says so.")] = None
    until: Annotated[datetime | None, Field(description="Made before.")] = None
    expiring_within: Annotated[
        float | None,
        Field(
            gt=0,
            le=LONGEST_DAYS,
            allow_inf_nan=False,
            description="Only files that can expire within so many days; without `sort`, the first to go first.",
        ),
    ] = None
    sort: Annotated[Sort, Field(description="What comes first.")] = "newest"


async def list_all(request: web.Request) -> web.Response:
    """In [pages](#lists). Outputs are listed when their run has completed. A file that was sent to an upload URL is
    listed after its first use.
    """
    context = context_of(request)
    wanted = read_query(request, ListQuery)
    days, within = days_of(context, caller_of(request).project, "file"), wanted.expiring_within
    if within is not None and days is None:
        return page_answer(request, Page[FileSummary]([]))  # Nothing expires here.
    expiring, made_before = within is not None, made_before_to_go(within, days, utc_now())
    page = await context.index.page(
        Query(
            page=wanted,
            caller=caller_of(request),
            sort="oldest" if expiring and "sort" not in wanted.model_fields_set else wanted.sort,
            kind=wanted.kind,
            name=wanted.name,
            among=await _files_of(request, wanted.sample_id),
            since=_utc(wanted.since),
            until=_earlier(_utc(wanted.until), made_before),
            expiring=expiring,
        )
    )
    items = [FileSummary(**_facts_of(file), expires_at=_goes(file, days) if expiring else None) for file in page.items]
    return page_answer(request, Page(items, page.next_cursor))


def made_before_to_go(within: float | None, days: float | None, now: datetime) -> datetime | None:
    """Before when a file was made that can expire within so many days, where files expire after `days`. None: whenever
    it was."""
    if within is None or days is None or within >= days:
        return None
    try:
        return now - timedelta(days=days - within)
    except OverflowError:  # No file is so old.
        return datetime.min.replace(tzinfo=UTC)


def _goes(file: Located, days: float | None) -> str | None:
    return None if days is None else later(file.info.modified, days)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


async def _files_of(request: web.Request, sample_id: str | None) -> frozenset[str] | None:
    """Raises NotFound (`sample_not_found`)."""
    if sample_id is None:
        return None
    return frozenset(files_of(await find(context_of(request), caller_of(request), sample_id)))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


async def get(request: web.Request) -> web.Response:
    context = context_of(request)
    file = await named_file(request)
    going = await being_deleted(context.store, [file.file_id])
    expires = await expires_at(context, file)
    record = FileRecord(
        **_facts_of(file),
        state="deleting" if going else "available",
        sample_ids=await context.samples.using(file.file_id),
        expires=expires,
        kept=bool(await kept_among(context.store, [file.file_id])),
        expires_at=expires,
        digest=await context.store.digest(COLLECTION, file.info),
    )
    return json_answer(record)


def _facts_of(file: Located) -> dict[str, Any]:
    made_by_run = not file.committed and file.run is not None
    return {
        "file_id": file.file_id,
        "size_bytes": file.info.size,
        "etag": file.info.etag,
        "time_created": format_time(file.info.modified),
        "kind": "output" if made_by_run else "upload",
        "project": file.project,
        "execution_id": file.run if made_by_run else None,
        "attempt": file.attempt if made_by_run else None,
    }


ROUTES = [
    Route(
        "GET",
        "/api/v1/files",
        list_all,
        "List files, page by page",
        "Files",
        {200: Many(FileSummary)},
        {404: ("sample_not_found",)},
        query=ListQuery,
        examples=(examples.FILES,),
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/files/{name}",
        get,
        "What is known of a file: its size, who made it, what refers to it, when it may go",
        "Files",
        {200: FileRecord},
        {404: ("file_not_found",)},
        needs="read",
    ),
]
