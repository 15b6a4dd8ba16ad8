"""Samples: which files belong together as what a training learns from."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from messages.base import DEFAULT_PROJECT
from messages.samples import SampleCreated, SampleDeleted
from services.gateway.context import Context, context_of
from services.gateway.paging import PageQuery, page_answer, page_of
from services.gateway.payloads import json_answer, json_list, read_json, read_query
from services.gateway.routing import Many, Route
from shared.bus.limits import check_first
from shared.samples import checked_files, files_of, folded_tags, load, remove, save
from voxloom.errors import NotFound
from voxloom.ids import new_id
from voxloom.models import (
    ResponseMessage,
    SampleRecord,
    SampleRequest,
    SampleResponse,
    Value,
    format_time,
    utc_now,
)


class TagQuery(Value):
    positive_tags: Annotated[list[str], Field(description="Has all of these tags.")] = []
    negative_tags: Annotated[list[str], Field(description="Has none of these tags.")] = []


class SampleQuery(PageQuery, TagQuery):
    pass


async def create(request: web.Request) -> web.Response:
    """The sample is written before its files are looked for, so that whoever deletes one of them finds it."""
    context = context_of(request)
    wanted = await read_json(request, SampleRequest)
    checked_files(wanted.files)
    sample = SampleRecord(
        sample_id=new_id(),
        files=wanted.files,
        tags=folded_tags(wanted.tags),
        time_created=format_time(utc_now()),
        project=DEFAULT_PROJECT,
    )
    facts = {"tags": sample.tags, "file_count": len(files_of(sample))}
    created = SampleCreated(subject=sample.sample_id, project=sample.project, **facts)
    check_first(created)  # before it is there
    await save(context.store, sample)
    try:
        await _check_files(context, sample)
    except BaseException:
        await remove(context.store, sample.sample_id)
        raise
    await context.publish(created)
    return json_answer(SampleResponse(sample_id=sample.sample_id))


async def _check_files(context: Context, sample: SampleRecord) -> None:
    missing = await context.files.missing_now(files_of(sample))
    if missing:
        raise NotFound(
            f"{len(missing)} of the files are not there: {', '.join(repr(one[:80]) for one in missing[:20])}. "
            "Upload them first.",
            code="sample_input_files_not_found",
            details={"file_ids": missing, "missing_file_ids": missing},
        )


async def list_v0(request: web.Request) -> web.Response:
    query = read_query(request, TagQuery)
    samples = await context_of(request).samples.all()
    if not samples:
        raise NotFound("There are no samples yet; make one with POST /api/v0/sample.", code="samples_not_found")
    return json_list([sample for sample in samples if has_tags(sample.tags, query)])


def has_tags(tags: list[str], query: TagQuery) -> bool:
    mine = set(tags)
    return mine.issuperset(folded_tags(query.positive_tags)) and mine.isdisjoint(folded_tags(query.negative_tags))


async def list_v1(request: web.Request) -> web.Response:
    query = read_query(request, SampleQuery)
    samples = [sample for sample in await context_of(request).samples.all() if has_tags(sample.tags, query)]
    return page_answer(
        request,
        page_of(
            samples, lambda sample: (sample.time_created, sample.sample_id), query, "samples:newest", descending=True
        ),
    )


async def get(request: web.Request) -> web.Response:
    return json_answer(await load(context_of(request).store, request.match_info["sample_id"]))


async def delete(request: web.Request) -> web.Response:
    context = context_of(request)
    sample = await load(context.store, request.match_info["sample_id"])
    await remove(context.store, sample.sample_id)
    await context.publish(SampleDeleted(subject=sample.sample_id, project=sample.project))
    return json_answer(ResponseMessage(detail="Sample deleted successfully"))


_NOT_FOUND = {404: ("sample_not_found",)}


def _post(path: str) -> Route:
    return Route(
        "POST",
        path,
        create,
        "Make a sample of files",
        "Samples",
        {200: SampleResponse},
        {404: ("sample_input_files_not_found",)},
        body=SampleRequest,
    )


def _get(path: str) -> Route:
    return Route("GET", path, get, "One sample", "Samples", {200: SampleRecord}, _NOT_FOUND)


def _delete(path: str) -> Route:
    return Route(
        "DELETE", path, delete, "Delete a sample; its files stay", "Samples", {200: ResponseMessage}, _NOT_FOUND
    )


ROUTES = [
    _post("/api/v0/sample"),
    Route(
        "GET",
        "/api/v0/sample/all",
        list_v0,
        "All samples",
        "Samples",
        {200: Many(SampleRecord)},
        {404: ("samples_not_found",)},
        query=TagQuery,
    ),
    _get("/api/v0/sample/{sample_id}"),
    _delete("/api/v0/sample/{sample_id}"),
    _post("/api/v1/samples"),
    Route(
        "GET",
        "/api/v1/samples",
        list_v1,
        "List samples, page by page, the newest first",
        "Samples",
        {200: Many(SampleRecord)},
        query=SampleQuery,
    ),
    _get("/api/v1/samples/{sample_id}"),
    _delete("/api/v1/samples/{sample_id}"),
]
