"""Algorithms: which are deployed, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.paging import PageQuery, Position, page_answer, page_of
from services.gateway.http.payloads import json_answer, json_list, read_query, read_values
from services.gateway.http.routing import ZIP, Many, Route
from services.gateway.http.transfer import send_pieces
from services.gateway.operations import archives
from services.gateway.routes import examples
from voxloom.errors import NotFound
from voxloom.models import AlgorithmRecord, Value


class AlgorithmQuery(Value):
    positive_tag: Annotated[list[str], Field(description="Has all of these tags.")] = []
    negative_tag: Annotated[list[str], Field(description="Has none of these tags.")] = []
    algorithm_type: Annotated[list[str], Field(description="Is of one of these types, without regard to case.")] = []
    supported_devices: Annotated[
        list[str], Field(description="Supports any of these devices, without regard to case.")
    ] = []


class ExportQuery(Value):
    algorithm_minor_version: Annotated[int | None, Field(description="This one; else the latest.")] = None
    checkpoint_id: Annotated[
        str | None, Field(description="What it has learnt, in place of the assets of the same paths.")
    ] = None


class _Major(Value):
    major: int


class ListQuery(PageQuery, AlgorithmQuery):
    name: Annotated[str | None, Field(description="Has this name, without regard to case.")] = None
    project: Annotated[
        str | None,
        Field(description="Of this project: yours, or a library, with all that is in it. Else what names lead to."),
    ] = None
    sort: Annotated[Literal["name", "type"], Field(description="What is sorted by; then by name and version.")] = "name"


async def list_all(request: web.Request) -> web.Response:
    """With their parameters. If none matches, the answer is `[]`. If nothing is deployed at all, it is 404
    `no_algorithms_found`.
    """
    query = read_query(request, AlgorithmQuery)
    records = await context_of(request).algorithms.records(caller_of(request))
    if not records:
        raise NotFound(
            "No algorithm is deployed yet; deploy one with `voxloom deploy FOLDER` or POST /api/v1/algorithms.",
            code="no_algorithms_found",
        )
    return json_list([record for record in records if _fits(record, query)])


def _fits(record: AlgorithmRecord, query: AlgorithmQuery) -> bool:
    tags = set(record.algorithm_tags)
    return (
        tags.issuperset(query.positive_tag)
        and tags.isdisjoint(query.negative_tag)
        and _any_of(query.algorithm_type, [record.algorithm_type])
        and _any_of(query.supported_devices, record.supported_devices)
    )


def _any_of(wanted: list[str], given: Iterable[str]) -> bool:
    return not wanted or not {one.casefold() for one in wanted}.isdisjoint(one.casefold() for one in given)


async def list_page(request: web.Request) -> web.Response:
    """In [pages](#lists), with their parameters. Nothing deployed is `[]`."""
    query = read_query(request, ListQuery)
    records = await context_of(request).algorithms.records(caller_of(request), project=query.project)
    page = page_of(
        (record for record in records if _fits(record, query) and _is_named(record, query)),
        _by_type if query.sort == "type" else _by_name,
        query,
        f"algorithms:{query.sort}",
    )
    return page_answer(request, page)


def _is_named(record: AlgorithmRecord, query: ListQuery) -> bool:
    return query.name is None or record.algorithm_name.casefold() == query.name.casefold()


def _by_name(record: AlgorithmRecord) -> Position:
    name = record.algorithm_name
    return name.casefold(), name, int(record.algorithm_version), record.algorithm_id


def _by_type(record: AlgorithmRecord) -> Position:
    return record.algorithm_type.casefold(), *_by_name(record)


async def get_by_id(request: web.Request) -> web.Response:
    algorithms, caller = context_of(request).algorithms, caller_of(request)
    entry = await algorithms.get(caller, request.match_info["algorithm_id"])
    return json_answer(await algorithms.record(caller, entry))


async def get(request: web.Request) -> web.Response:
    """The exact name counts first, then any upper or lower case; the project that is asked for goes before libraries,
    and those by their ids.
    """
    algorithms, caller = context_of(request).algorithms, caller_of(request)
    entry = await algorithms.named(caller, request.match_info["name"], request.match_info["major"])
    return json_answer(await algorithms.record(caller, entry))


async def export(request: web.Request) -> web.StreamResponse:
    """The name's case matters only where two algorithms differ in nothing else. Major and minor version are whole
    numbers, else 422.

    The `pyproject.toml` in it names the algorithm and the minor version that it is an export of: where the deployed one
    says otherwise (it was deployed under another name, or again without a new version), `name` and the first two
    numbers of `version` are changed in its text, and nothing else. So another server gives a first deploy the same name
    and version. A server that has it as its latest minor version adds nothing: a deploy equals the latest minor version
    if its files do, or if they differ only in those values and name that minor version.

    `removable` and `exportable` travel as the algorithm has them: where its pyproject says otherwise (a deploy has
    overridden them), a section `[voxloom-exported]` at the end of the text says so, which goes before the sections
    above it. A deploy warns of it.

    An algorithm that is not exportable answers 403 `algorithm_not_exportable`; one whose pyproject has
    `obfuscate = true` or `pyc_only = true` is not, unless `exportable = true` is written there, too, or given with the
    deploy.
    """
    context, caller, query = context_of(request), caller_of(request), read_query(request, ExportQuery)
    major = read_values({"major": request.match_info["major"]}, _Major).major
    entry = await context.algorithms.named(caller, request.match_info["name"], str(major))
    minor = query.algorithm_minor_version
    wanted = archives.Wanted(entry, None if minor is None else str(minor), query.checkpoint_id)
    plan = await archives.plan(context.store, caller, wanted)
    headers = {"Content-Type": "application/zip", "Content-Disposition": archives.disposition(plan.entry)}
    if request.method == "HEAD":
        return await send_pieces(request, headers, None)
    async with archives.opened(context.store, plan) as pieces:
        return await send_pieces(request, headers, pieces)


ROUTES = [
    Route(
        "GET",
        "/api/v0/algorithm/all",
        list_all,
        "List the deployed algorithms",
        "Algorithms",
        {200: Many(AlgorithmRecord)},
        {404: ("no_algorithms_found",)},
        query=AlgorithmQuery,
        examples=(examples.ALGORITHMS,),
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/algorithms",
        list_page,
        "List the deployed algorithms, page by page",
        "Algorithms",
        {200: Many(AlgorithmRecord)},
        query=ListQuery,
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/algorithms/{algorithm_id}",
        get_by_id,
        "One algorithm, by its id",
        "Algorithms",
        {200: AlgorithmRecord},
        {404: ("algorithm_not_found",)},
        needs="read",
    ),
    Route(
        "GET",
        "/api/v0/algorithm/{name}/{major}",
        get,
        "One algorithm, by its name (exact case first, then any) and major version",
        "Algorithms",
        {200: AlgorithmRecord},
        {404: ("algorithm_not_found",)},
        needs="read",
    ),
    Route(
        "GET",
        "/api/v0/algorithm/{name}/{major}/export",
        export,
        "The files of an algorithm as a zip that can be deployed again",
        "Algorithms",
        {200: ZIP},
        {
            403: ("algorithm_not_exportable",),
            404: ("algorithm_not_found", "minor_version_not_found", "checkpoint_not_found"),
        },
        query=ExportQuery,
        needs="read",
    ),
]
