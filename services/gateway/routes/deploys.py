"""Deploys: put an algorithm in, look how it went, take one out."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from messages.deploys import DeployRequested
from services.gateway.context import context_of
from services.gateway.http.bodies import body_of
from services.gateway.http.callers import caller_of
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.idempotency import key_of
from services.gateway.http.paging import PageQuery, page_answer, page_of
from services.gateway.http.payloads import is_exact, json_answer, read_query
from services.gateway.http.routing import ZIP_SENT, Many, Route
from services.gateway.operations import deploys
from services.gateway.operations.deploys import Wanted
from services.gateway.operations.removals import remove as remove_algorithm
from services.gateway.routes import examples
from shared.records.deploys import DEPLOY, deploy_record
from voxloom.errors import NotFound, Unavailable
from voxloom.ids import is_id
from voxloom.models import (
    DeployBegun,
    DeployOverrides,
    DeployRecord,
    DeployResponse,
    DeployStatus,
    ResponseMessage,
    Value,
)

LONGEST_WAIT_SECS = 3600


class Overrides(Value):
    algorithm_name: Annotated[str | None, Field(description="In place of the name in pyproject.")] = None
    algorithm_major_version: Annotated[str | None, Field(description="In place of the one in pyproject.")] = None
    removable: Annotated[bool | None, Field(description="In place of the one in pyproject.")] = None
    exportable: Annotated[bool | None, Field(description="In place of the one in pyproject.")] = None

    def given(self) -> DeployOverrides:
        return DeployOverrides.model_validate(self.model_dump())


class LocalQuery(Overrides):
    path: Annotated[str, Field(description="A folder or zip on the server, within its `deploy_roots`.")]


class UploadQuery(Overrides):
    path: Annotated[str, Field(max_length=1000, description="What the deploy's record shows as its path.")] = "upload"
    merge: Annotated[
        bool, Field(description="Add nothing where any minor version has this content already, not only the latest.")
    ] = False
    wait: Annotated[
        float | None,
        Field(ge=0, le=LONGEST_WAIT_SECS, description="Seconds to wait for the deploy's end; 0: answer at once."),
    ] = None


class ListQuery(PageQuery):
    status: Annotated[list[DeployStatus], Field(description="One of these.")] = []
    algorithm: Annotated[
        str | None, Field(description="Came to this algorithm: its id, or its name without regard to case.")
    ] = None
    project: Annotated[str | None, Field(description="Is of this project.")] = None
    sort: Annotated[Literal["newest", "oldest"], Field(description="Which begin comes first.")] = "newest"


class RemoveQuery(Value):
    algorithm_minor_version: Annotated[str | None, Field(description="Only this one; else the algorithm whole.")] = None


class OperatorRemoveQuery(Value):
    minor: Annotated[str | None, Field(description="Only this minor version; else the algorithm whole.")] = None


async def deploy_local(request: web.Request) -> web.Response:
    """The path must be below one of the folders in the setting `deploy_roots`. By default there are none, and the
    answer is 403 `deploy_path_not_allowed`.
    """
    context = context_of(request)
    event, once = await _local(request, "deploy/local")
    state = await deploys.run_to_end(context, event, context.settings.answer_timeout, once=once)
    return json_answer(DeployResponse.model_validate(deploy_record(state).model_dump()))


async def deploy_local_async(request: web.Request) -> web.Response:
    """As [POST /api/v0/deploy/local](#post-apiv0deploylocal), but the answer comes at once, after a look at the path.
    The record says later how the deploy went.
    """
    context = context_of(request)
    event, once = await _local(request, "deploy/local-async")
    await deploys.begin(context, event, once=once)
    return json_answer(DeployBegun(deploy_id=event.subject))


async def _local(request: web.Request, operation: str) -> tuple[DeployRequested, bool]:
    """What is to be asked for, its bytes in the store; and whether it may have been asked for before."""
    key, query = key_of(request), read_query(request, LocalQuery)
    wanted = Wanted(operation, query.path, query.given(), query.model_dump())
    event = await deploys.ask_local(context_of(request), caller_of(request), wanted, key)
    return event, key is not None


async def deploy_upload(request: web.Request) -> web.Response:
    """The zip has the algorithm's files, with or without one folder around them. The answer comes when the deploy has
    ended, and is its record. With `?wait=0` the answer comes at once, with 202; find the record later at
    `/api/v0/deploy/{deploy_id}`.

    A deploy of unchanged content adds no minor version; usually it is compared with the latest one, with `?merge=true`
    with all of them. `changed` in the record says whether a version was added. If the algorithm cannot be used, the
    answer is a 400 that says why.
    """
    context = context_of(request)
    query = read_query(request, UploadQuery)
    key = key_of(request)
    wanted = Wanted("algorithms", query.path, query.given(), query.model_dump(exclude={"wait"}), merge=query.merge)
    event = await deploys.ask_upload(context, caller_of(request), wanted, key, body_of(request))
    wait = context.settings.answer_timeout if query.wait is None else query.wait
    try:
        state = await deploys.run_to_end(context, event, wait, once=key is not None)
    except Unavailable as error:
        if error.code != "answer_timeout":
            raise
        return json_answer(await _record(request, event.subject), status=202)
    return json_answer(deploy_record(state))


async def list_all(request: web.Request) -> web.Response:
    """In [pages](#lists): all that are running, and the newest 1000 that have ended."""
    query = read_query(request, ListQuery)
    caller, known = caller_of(request), await context_of(request).view.of(DEPLOY).newest()
    records = [deploy_record(state) for state in known if caller.owns(state.project)]
    page = page_of(
        (record for record in records if _fits(record, query)),
        lambda record: (record.time_started or "", record.deploy_id),
        query,
        f"deploys:{query.sort}",
        descending=query.sort == "newest",
    )
    return page_answer(request, page)


def _fits(record: DeployRecord, query: ListQuery) -> bool:
    wanted = query.algorithm.casefold() if query.algorithm is not None else None
    return (
        (not query.status or record.status in query.status)
        and wanted in (None, record.algorithm_id, (record.algorithm_name or "").casefold())
        and query.project in (None, record.project)
    )


async def get(request: web.Request) -> web.Response:
    """`status` is PENDING, RUNNING, COMPLETED or FAILED; `error` says why it failed."""
    record = await _record(request, request.match_info["deploy_id"])
    in_v0 = not is_exact(request.path)
    return json_answer(record.model_copy(update={"submitted_by": None}) if in_v0 else record)


async def _record(request: web.Request, deploy_id: str) -> DeployRecord:
    state = await context_of(request).view.of(DEPLOY).find(deploy_id) if is_id(deploy_id) else None
    if state is None or not caller_of(request).owns(state.project):
        raise NotFound(
            f"There is no deploy {deploy_id[:200]!r}; its record may have expired.",
            code="deploy_record_not_found",
            details={"deploy_id": deploy_id},
        )
    return deploy_record(state)


async def remove(request: web.Request) -> web.Response:
    """An algorithm whose `removable` is false stays: 400 `algorithm_not_removable`."""
    context = context_of(request)
    query = read_query(request, RemoveQuery)
    caller = caller_of(request)
    entry = await context.algorithms.get(caller, request.match_info["algorithm_id"])
    await remove_algorithm(context, caller, entry, query.algorithm_minor_version, regardless=False)
    return _removed(query.algorithm_minor_version)


async def remove_regardless(request: web.Request) -> web.Response:
    """It goes even if its `removable` is false (`voxloom rm` does this)."""
    context = context_of(request)
    query = read_query(request, OperatorRemoveQuery)
    caller, name, major = caller_of(request), request.match_info["name"], request.match_info["major"]
    entry = await context.algorithms.named(caller, name, major)
    await remove_algorithm(context, caller, entry, query.minor, regardless=True)
    return _removed(query.minor)


def _removed(minor: str | None) -> web.Response:
    said = "Algorithm removed" if minor is None else f"Algorithm minor version {minor} removed"
    return json_answer(ResponseMessage(detail=said))


_BAD_ALGORITHM = ("algorithm_runner_not_found", "invalid_deployment_zip", "invalid_pyproject")
_BAD_PATH = ("deploy_path_not_found", "deployment_zip_not_found", "invalid_deploy_path_type")

ROUTES = [
    Route(
        "POST",
        "/api/v1/algorithms",
        deploy_upload,
        "Deploy an algorithm from a zip in the body; 202 where the end was not waited for",
        "Deploys",
        {200: DeployRecord, 202: DeployRecord},
        {400: _BAD_ALGORITHM, 422: ("idempotency_key_reused",)},
        query=UploadQuery,
        body=ZIP_SENT,
        headers=(IDEMPOTENCY_KEY,),
        examples=(examples.DEPLOY,),
        needs="deploy",
    ),
    Route(
        "POST",
        "/api/v0/deploy/local",
        deploy_local,
        "Deploy an algorithm from a folder or zip on the server",
        "Deploys",
        {200: DeployResponse},
        {
            400: (*_BAD_PATH, *_BAD_ALGORITHM),
            403: ("deploy_path_not_allowed",),
            413: ("too_large",),
            422: ("idempotency_key_reused",),
        },
        query=LocalQuery,
        headers=(IDEMPOTENCY_KEY,),
        examples=(examples.DEPLOY_LOCAL,),
        needs="admin",
    ),
    Route(
        "POST",
        "/api/v0/deploy/local-async",
        deploy_local_async,
        "Begin to deploy an algorithm from a folder or zip on the server; the record says how it goes on",
        "Deploys",
        {200: DeployBegun},
        {
            400: (*_BAD_PATH, "invalid_deployment_zip"),
            403: ("deploy_path_not_allowed",),
            413: ("too_large",),
            422: ("idempotency_key_reused",),
        },
        query=LocalQuery,
        headers=(IDEMPOTENCY_KEY,),
        examples=(examples.DEPLOY_LOCAL_ASYNC,),
        needs="admin",
    ),
    Route(
        "GET",
        "/api/v1/deploys",
        list_all,
        "List deploys, page by page: those that go on, and the newest that have ended",
        "Deploys",
        {200: Many(DeployRecord)},
        query=ListQuery,
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/deploys/{deploy_id}",
        get,
        "The record of a deploy",
        "Deploys",
        {200: DeployRecord},
        {404: ("deploy_record_not_found",)},
        needs="read",
    ),
    Route(
        "GET",
        "/api/v0/deploy/{deploy_id}",
        get,
        "The record of a deploy",
        "Deploys",
        {200: DeployRecord},
        {404: ("deploy_record_not_found",)},
        needs="read",
    ),
    Route(
        "DELETE",
        "/api/v0/deploy/algorithm/{algorithm_id}",
        remove,
        "Remove an algorithm that says it may be removed, or one minor version of it",
        "Deploys",
        {200: ResponseMessage},
        {
            400: ("algorithm_not_removable",),
            403: ("forbidden",),
            404: ("algorithm_not_found", "minor_version_not_found"),
        },
        query=RemoveQuery,
        needs="deploy",
    ),
    Route(
        "DELETE",
        "/api/v1/algorithms/{name}/{major}",
        remove_regardless,
        "Remove an algorithm, whatever it says of that: for operators",
        "Deploys",
        {200: ResponseMessage},
        {403: ("forbidden",), 404: ("algorithm_not_found", "minor_version_not_found")},
        query=OperatorRemoveQuery,
        examples=(examples.REMOVE,),
        needs="deploy",
    ),
]
