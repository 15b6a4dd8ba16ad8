"""Deploys: put an algorithm in, look how it went, take one out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from messages.deploys import AlgorithmDeleteRefused, AlgorithmDeleteRequested, DeployRequested
from services.gateway import deploying
from services.gateway.answers import answer, removal_asked_by
from services.gateway.bodies import chunks_of
from services.gateway.context import Context, context_of
from services.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.idempotency import Digest, fingerprint_of, key_of
from services.gateway.intake import read_through, store_body
from services.gateway.paging import PageQuery, page_answer, page_of
from services.gateway.payloads import json_answer, read_query
from services.gateway.routing import ZIP_SENT, Many, Route
from shared.algorithms import AlgorithmEntry
from shared.bus.limits import check_first
from shared.records.store import DEPLOYS
from shared.records.view import deploy_record
from shared.versions import removed_from
from voxloom.errors import Conflict, InvalidInput, NotFound, Unavailable, VoxloomError
from voxloom.ids import is_id, new_id
from voxloom.models import (
    DeployBegun,
    DeployOverrides,
    DeployRecord,
    DeployResponse,
    DeployStatus,
    ResponseMessage,
    RunError,
    Value,
)

LONGEST_WAIT_SECS = 3600


class Overrides(Value):
    algorithm_name: Annotated[str | None, Field(description="In place of the name in pyproject.")] = None
    algorithm_major_version: Annotated[str | None, Field(description="In place of the one in pyproject.")] = None
    removable: bool | None = None
    exportable: bool | None = None

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
    project: str | None = None
    sort: Annotated[Literal["newest", "oldest"], Field(description="Which begin comes first.")] = "newest"


class RemoveQuery(Value):
    algorithm_minor_version: Annotated[str | None, Field(description="Only this one; else the algorithm whole.")] = None


class OperatorRemoveQuery(Value):
    minor: Annotated[str | None, Field(description="Only this minor version; else the algorithm whole.")] = None


async def deploy_local(request: web.Request) -> web.Response:
    context = context_of(request)
    event, once = await _local(request, "deploy/local")
    state = await deploying.run_to_end(context, event, context.settings.answer_timeout, once=once)
    return json_answer(DeployResponse.model_validate(deploy_record(state).model_dump()))


async def deploy_local_async(request: web.Request) -> web.Response:
    context = context_of(request)
    event, once = await _local(request, "deploy/local-async")
    await deploying.begin(context, event, once=once)
    return json_answer(DeployBegun(deploy_id=event.subject))


async def _local(request: web.Request, kind: str) -> tuple[DeployRequested, bool]:
    """What is to be asked for, its bytes in the store; and whether it may have been asked for before."""
    context = context_of(request)
    key, deploy = key_of(request), _DeployLocal(context, read_query(request, LocalQuery), kind)
    return (await deploy.make(), False) if key is None else (await deploy.event(context.keys, key), True)


async def deploy_upload(request: web.Request) -> web.Response:
    context = context_of(request)
    query = read_query(request, UploadQuery)
    key = key_of(request)
    if key is None:
        event = await _take_in(request, query)
    else:
        event = await _DeployUpload(request, query).event(context.keys, key)
    wait = context.settings.answer_timeout if query.wait is None else query.wait
    try:
        state = await deploying.run_to_end(context, event, wait, once=key is not None)
    except Unavailable as error:
        if error.code != "answer_timeout":
            raise
        return json_answer(await _record(context, event.subject), status=202)
    return json_answer(deploy_record(state))


class _DeployLocal(deploying.DeployOnce):
    """Known again by what was asked for: the folder may have changed, and is not looked at again."""

    def __init__(self, context: Context, query: LocalQuery, kind: str) -> None:
        super().__init__(context)
        self._query = query
        self._asked = kind

    async def make(self) -> DeployRequested:
        event = _requested(self._query.path, self._query)
        await deploying.store_local(self._context, event.source_key, self._query.path)
        return event

    def fingerprint(self) -> str:
        return fingerprint_of(self._asked, self._query.model_dump())


async def _take_in(request: web.Request, query: UploadQuery, digest: Digest | None = None) -> DeployRequested:
    """Stores the zip; `digest` knows it afterwards."""
    context, event = context_of(request), _requested(query.path, query, merge=query.merge)
    info = await store_body(
        request,
        context.store,
        DEPLOYS,
        event.source_key,
        _zip_chunks(request),
        limit=context.settings.max_algorithm_bytes,
    )
    if digest is not None:
        digest.note(info)
    return event


class _DeployUpload(deploying.DeployOnce):
    def __init__(self, request: web.Request, query: UploadQuery) -> None:
        super().__init__(context_of(request))
        self._request = request
        self._query = query
        self._digest = Digest()

    async def make(self) -> DeployRequested:
        return await _take_in(self._request, self._query, self._digest)

    def fingerprint(self) -> str:
        return fingerprint_of("algorithms", [self._digest.text, self._query.model_dump(exclude={"wait"})])

    async def read_again(self) -> None:
        limit = self._context.settings.max_algorithm_bytes
        await read_through(self._request, self._digest.of(chunks_of(self._request)), limit=limit)


def _requested(path: str, overrides: Overrides, *, merge: bool = False) -> DeployRequested:
    deploy_id = new_id()
    source_key = deploying.source_key(deploy_id)
    given = overrides.given()
    event = DeployRequested(subject=deploy_id, source_key=source_key, path=path, overrides=given, merge=merge)
    check_first(event)  # before anything is stored for it
    return event


async def _zip_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body, if it begins as a zip does."""
    begin = b""
    async for chunk in chunks_of(request):
        if len(begin) < 4:
            begin += chunk[:4]
            if not any(signature.startswith(begin[:4]) for signature in deploying.ZIP_SIGNATURES):
                raise deploying.invalid_zip("The body is no zip")
        yield chunk
    if len(begin) < 4:
        raise deploying.invalid_zip("The body is no zip")


async def list_all(request: web.Request) -> web.Response:
    query = read_query(request, ListQuery)
    records = [deploy_record(state) for state in await context_of(request).view.deploys()]
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
    return json_answer(await _record(context_of(request), request.match_info["deploy_id"]))


async def _record(context: Context, deploy_id: str) -> DeployRecord:
    state = await context.view.find_deploy(deploy_id) if is_id(deploy_id) else None
    if state is None:
        raise NotFound(
            f"There is no deploy {deploy_id[:200]!r}; its record may have expired.",
            code="deploy_record_not_found",
            details={"deploy_id": deploy_id},
        )
    return deploy_record(state)


async def remove(request: web.Request) -> web.Response:
    context = context_of(request)
    query = read_query(request, RemoveQuery)
    entry = await context.algorithms.get(request.match_info["algorithm_id"])
    return await _remove(context, entry, query.algorithm_minor_version, regardless=False)


async def remove_regardless(request: web.Request) -> web.Response:
    context = context_of(request)
    query = read_query(request, OperatorRemoveQuery)
    entry = await context.algorithms.named(request.match_info["name"], request.match_info["major"])
    return await _remove(context, entry, query.minor, regardless=True)


async def _remove(context: Context, entry: AlgorithmEntry, minor: str | None, *, regardless: bool) -> web.Response:
    removed_from(entry, minor, regardless=regardless)  # Refuses at once what the deployer would refuse.
    event = AlgorithmDeleteRequested(
        subject=entry.algorithm_id, project=entry.project, minor=minor, regardless=regardless
    )
    with context.answers.expect(removal_asked_by(event.id)) as removed:
        await context.publish(event)
        outcome = await answer(removed, context.settings.answer_timeout, "Removing the algorithm")
    if isinstance(outcome, AlgorithmDeleteRefused):
        raise _refusal(outcome.error, entry.algorithm_id)
    said = "Algorithm removed" if minor is None else f"Algorithm minor version {minor} removed"
    return json_answer(ResponseMessage(detail=said))


def _refusal(error: RunError, algorithm_id: str) -> VoxloomError:
    details = {"algorithm_id": algorithm_id}
    if error.retryable:
        return Unavailable(error.message, code=error.code, details=details)
    if error.code in ("algorithm_not_found", "minor_version_not_found"):
        return NotFound(error.message, code=error.code, details=details)
    if error.code == "algorithm_not_removable":
        return InvalidInput(error.message, code=error.code, http_status=400, details=details)
    return Conflict(error.message, code=error.code, details=details)


_BAD_ALGORITHM = ("algorithm_runner_not_found", "invalid_deployment_zip", "invalid_pyproject")
_BAD_PATH = ("deploy_path_not_found", "deployment_zip_not_found", "invalid_deploy_path_type")

ROUTES = [
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
    ),
    Route(
        "GET",
        "/api/v0/deploy/{deploy_id}",
        get,
        "The record of a deploy",
        "Deploys",
        {200: DeployRecord},
        {404: ("deploy_record_not_found",)},
    ),
    Route(
        "GET",
        "/api/v1/deploys",
        list_all,
        "List deploys, page by page: those that go on, and the newest that have ended",
        "Deploys",
        {200: Many(DeployRecord)},
        query=ListQuery,
    ),
    Route(
        "GET",
        "/api/v1/deploys/{deploy_id}",
        get,
        "The record of a deploy",
        "Deploys",
        {200: DeployRecord},
        {404: ("deploy_record_not_found",)},
    ),
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
    ),
    Route(
        "DELETE",
        "/api/v0/deploy/algorithm/{algorithm_id}",
        remove,
        "Remove an algorithm that says it may be removed, or one minor version of it",
        "Deploys",
        {200: ResponseMessage},
        {400: ("algorithm_not_removable",), 404: ("algorithm_not_found", "minor_version_not_found")},
        query=RemoveQuery,
    ),
    Route(
        "DELETE",
        "/api/v1/algorithms/{name}/{major}",
        remove_regardless,
        "Remove an algorithm, whatever it says of that: for operators",
        "Deploys",
        {200: ResponseMessage},
        {404: ("algorithm_not_found", "minor_version_not_found")},
        query=OperatorRemoveQuery,
    ),
]
