"""Checkpoints: what trainings have saved, for executions and trainings to begin with."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.examples import Example
from services.gateway.http.paging import PageQuery, page_answer, page_of
from services.gateway.http.payloads import json_answer, json_list, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.operations import checkpoints
from services.gateway.routes.examples import DELETE_CHECKPOINT
from shared.records.view import checkpoint_record
from voxloom.errors import NotFound
from voxloom.models import CheckpointRecord, ResponseMessage, Value


class TagQuery(Value):
    positive_tags: Annotated[list[str], Field(description="Has all of these tags.")] = []
    negative_tags: Annotated[list[str], Field(description="Has none of these tags.")] = []


class CheckpointQuery(PageQuery, TagQuery):
    algorithm_id: Annotated[str | None, Field(description="Came from this algorithm.")] = None
    training_id: Annotated[str | None, Field(description="Was saved by this training.")] = None


async def list_v0(request: web.Request) -> web.Response:
    """404 `checkpoints_not_found` if there are none at all."""
    query = read_query(request, TagQuery)
    found = await checkpoints.all_of(context_of(request), caller_of(request))
    if not found:
        raise NotFound("No training has saved a checkpoint yet.", code="checkpoints_not_found")
    return json_list([checkpoint_record(one) for one in found if _has_tags(one.tags, query)])


def _has_tags(tags: list[str], query: TagQuery) -> bool:
    mine = set(tags)
    return mine.issuperset(query.positive_tags) and mine.isdisjoint(query.negative_tags)


async def list_v1(request: web.Request) -> web.Response:
    """In [pages](#lists)."""
    query = read_query(request, CheckpointQuery)
    found = [
        checkpoint_record(one)
        for one in await checkpoints.all_of(context_of(request), caller_of(request))
        if _has_tags(one.tags, query)
        and query.algorithm_id in (None, one.algorithm_id)
        and query.training_id in (None, one.training_id)
    ]
    return page_answer(
        request,
        page_of(found, lambda one: (one.created_at, one.checkpoint_id), query, "checkpoints:newest", descending=True),
    )


async def get(request: web.Request) -> web.Response:
    found = await checkpoints.find(context_of(request), caller_of(request), request.match_info["checkpoint_id"])
    return json_answer(checkpoint_record(found))


async def delete(request: web.Request) -> web.Response:
    await checkpoints.delete(context_of(request), caller_of(request), request.match_info["checkpoint_id"])
    return json_answer(ResponseMessage(detail="Checkpoint deleted successfully"))


_NOT_FOUND = {404: ("checkpoint_not_found",)}


def _get(path: str) -> Route:
    return Route("GET", path, get, "One checkpoint", "Checkpoints", {200: CheckpointRecord}, _NOT_FOUND, needs="read")


def _delete(path: str, *examples: Example) -> Route:
    summary = "Delete a checkpoint, and what nothing else needs of it"
    return Route(
        "DELETE",
        path,
        delete,
        summary,
        "Checkpoints",
        {200: ResponseMessage},
        _NOT_FOUND,
        examples=examples,
        needs="run",
    )


ROUTES = [
    Route(
        "GET",
        "/api/v0/checkpoint/all",
        list_v0,
        "All checkpoints",
        "Checkpoints",
        {200: Many(CheckpointRecord)},
        {404: ("checkpoints_not_found",)},
        query=TagQuery,
        needs="read",
    ),
    _get("/api/v0/checkpoint/{checkpoint_id}"),
    _delete("/api/v0/checkpoint/{checkpoint_id}", DELETE_CHECKPOINT),
    Route(
        "GET",
        "/api/v1/checkpoints",
        list_v1,
        "List checkpoints, page by page, the newest first",
        "Checkpoints",
        {200: Many(CheckpointRecord)},
        query=CheckpointQuery,
        needs="read",
    ),
    _get("/api/v1/checkpoints/{checkpoint_id}"),
    _delete("/api/v1/checkpoints/{checkpoint_id}"),
]
