"""Samples: which files belong together as what a training learns from."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.examples import Example
from services.gateway.http.paging import PageQuery, page_answer, page_of
from services.gateway.http.payloads import json_answer, json_list, read_json, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.operations import samples
from services.gateway.routes.examples import DELETE_SAMPLE, SAMPLE
from shared.samples import folded_tags
from voxloom.errors import NotFound
from voxloom.models import ResponseMessage, SampleRecord, SampleRequest, SampleResponse, Value


class TagQuery(Value):
    positive_tags: Annotated[list[str], Field(description="Has all of these tags.")] = []
    negative_tags: Annotated[list[str], Field(description="Has none of these tags.")] = []


class SampleQuery(PageQuery, TagQuery):
    pass


async def create(request: web.Request) -> web.Response:
    """`files` is a list of entries with the same keys. Each key has a list of file ids. Files of a sample do not
    expire. They cannot be deleted as long as the sample exists (409 `file_in_use`). If a file is missing, the answer is
    404 `sample_input_files_not_found` with `details.missing_file_ids` (and the same in `details.file_ids`, for clients
    of Compox).
    """
    wanted = await read_json(request, SampleRequest)
    sample = await samples.create(context_of(request), caller_of(request), wanted)
    return json_answer(SampleResponse(sample_id=sample.sample_id))


async def list_v0(request: web.Request) -> web.Response:
    """404 `samples_not_found` if there are no samples at all."""
    query = read_query(request, TagQuery)
    known = await samples.all_of(context_of(request), caller_of(request))
    if not known:
        raise NotFound("There are no samples yet; make one with POST /api/v0/sample.", code="samples_not_found")
    return json_list([sample for sample in known if has_tags(sample.tags, query)])


def has_tags(tags: list[str], query: TagQuery) -> bool:
    mine = set(tags)
    return mine.issuperset(folded_tags(query.positive_tags)) and mine.isdisjoint(folded_tags(query.negative_tags))


async def list_v1(request: web.Request) -> web.Response:
    """In [pages](#lists), the newest first."""
    query = read_query(request, SampleQuery)
    known = await samples.all_of(context_of(request), caller_of(request))
    found = [sample for sample in known if has_tags(sample.tags, query)]
    return page_answer(
        request,
        page_of(
            found, lambda sample: (sample.time_created, sample.sample_id), query, "samples:newest", descending=True
        ),
    )


async def get(request: web.Request) -> web.Response:
    return json_answer(await samples.find(context_of(request), caller_of(request), request.match_info["sample_id"]))


async def delete(request: web.Request) -> web.Response:
    """Its files stay until they expire."""
    await samples.delete(context_of(request), caller_of(request), request.match_info["sample_id"])
    return json_answer(ResponseMessage(detail="Sample deleted successfully"))


_NOT_FOUND = {404: ("sample_not_found",)}


def _post(path: str, *examples: Example) -> Route:
    return Route(
        "POST",
        path,
        create,
        "Make a sample of files",
        "Samples",
        {200: SampleResponse},
        {404: ("sample_input_files_not_found",)},
        body=SampleRequest,
        examples=examples,
        needs="run",
    )


def _get(path: str) -> Route:
    return Route("GET", path, get, "One sample", "Samples", {200: SampleRecord}, _NOT_FOUND, needs="read")


def _delete(path: str, *examples: Example) -> Route:
    return Route(
        "DELETE",
        path,
        delete,
        "Delete a sample; its files stay",
        "Samples",
        {200: ResponseMessage},
        _NOT_FOUND,
        examples=examples,
        needs="run",
    )


ROUTES = [
    _post("/api/v0/sample", SAMPLE),
    Route(
        "GET",
        "/api/v0/sample/all",
        list_v0,
        "All samples",
        "Samples",
        {200: Many(SampleRecord)},
        {404: ("samples_not_found",)},
        query=TagQuery,
        needs="read",
    ),
    _get("/api/v0/sample/{sample_id}"),
    _delete("/api/v0/sample/{sample_id}", DELETE_SAMPLE),
    _post("/api/v1/samples"),
    Route(
        "GET",
        "/api/v1/samples",
        list_v1,
        "List samples, page by page, the newest first",
        "Samples",
        {200: Many(SampleRecord)},
        query=SampleQuery,
        needs="read",
    ),
    _get("/api/v1/samples/{sample_id}"),
    _delete("/api/v1/samples/{sample_id}"),
]
