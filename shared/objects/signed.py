"""The routes behind signed URLs: how anybody who was given one gets or puts that one object.

The gateway mounts them. A PUT never replaces an object, and what comes in expires unless somebody keeps it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from shared.bodies import check_file_body, digest_said
from shared.objects.base import ABSENT, EXPIRING, ObjectInfo, ServedStore
from shared.objects.sending import digest_headers, send_body
from shared.objects.signing import PATH
from shared.ranges import NotModified, Part, Selection, Unsatisfiable, select
from shared.room import BoundlessRoom, Room, refusals, while_room
from voxloom.errors import StoreFull, TooLarge, VoxloomError
from voxloom.models import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BYTES = {
    "Accept-Ranges": "bytes",
    "Content-Type": "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private",
}


def routes(store: ServedStore, *, limit: int | None = None, room: Room | None = None) -> list[web.RouteDef]:
    """GET (with HEAD and Range) and PUT of signed URLs; an upload has `limit` bytes at most. Errors are answered here,
    as problem+json."""

    async def get(request: web.Request) -> web.StreamResponse:
        return await _get(store, request)

    async def put(request: web.Request) -> web.StreamResponse:
        return await _put(store, request, limit, room or BoundlessRoom())

    path = PATH + r"/{collection}/{key:[\s\S]+}"
    return [web.get(path, _answering(get)), web.put(path, _answering(put))]


async def _get(store: ServedStore, request: web.Request) -> web.StreamResponse:
    collection, key = _signed(store, "GET", request)
    info = await store.head(collection, key)
    selection = select(request.headers, info.size, info.etag)
    if isinstance(selection, Unsatisfiable):
        return _unsatisfiable(info.size)
    wanted = range(selection.start, selection.stop) if isinstance(selection, Part) else range(info.size)
    response = _response(info, selection, len(wanted))
    response.headers.update(await digest_headers(store, collection, info))
    await response.prepare(request)
    if request.method != "HEAD" and response.status != HTTPStatus.NOT_MODIFIED:
        await _send(request, response, store, collection, info, wanted)
    await response.write_eof()
    return response


def _response(info: ObjectInfo, selection: Selection, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers=_BYTES)
    response.etag = info.etag
    response.last_modified = info.modified
    if isinstance(selection, NotModified):
        response.set_status(HTTPStatus.NOT_MODIFIED)
        return response
    response.content_length = length
    if isinstance(selection, Part):
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = f"bytes {selection.start}-{selection.stop - 1}/{info.size}"
    return response


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    store: ServedStore,
    collection: str,
    info: ObjectInfo,
    wanted: range,
) -> None:
    try:
        await send_body(request, response, store, collection, info, wanted)
    except VoxloomError as error:
        # The status has been sent: only breaking off tells the reader that this is not all.
        raise ConnectionResetError("the object could not be read to its end") from error


async def _put(store: ServedStore, request: web.Request, limit: int | None, room: Room) -> web.StreamResponse:
    collection, key = _signed(store, "PUT", request)
    check_file_body(request.headers)
    digest = digest_said(request.headers)
    if limit is not None and (request.content_length or 0) > limit:
        raise TooLarge(f"The object has more than the {limit} bytes allowed; send a smaller one.")
    room.check(request.content_length or 0)
    chunks = while_room(request.content.iter_any(), room)
    info = await store.put_stream(collection, key, chunks, limit=limit, digest=digest, condition=ABSENT, tags=EXPIRING)
    response = web.Response()
    response.etag = info.etag
    return response


def _signed(store: ServedStore, method: str, request: web.Request) -> tuple[str, str]:
    """Collection and key of a request that may have them. Raises NotAllowed."""
    collection, key = request.match_info["collection"], request.match_info["key"]
    store.check_signature(method, collection, key, request.query)
    return collection, key


def _unsatisfiable(size: int) -> web.Response:
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    detail = f"The object has {size} bytes; ask for some of those."
    response = _problem(status, "range_not_satisfiable", detail, retryable=False)
    response.headers["Content-Range"] = f"bytes */{size}"
    return response


def _answering(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except VoxloomError as error:
            if isinstance(error, StoreFull):
                refusals.note(f"{request.method} of a signed URL", error)
            return _problem(HTTPStatus(error.http_status), error.code, error.message, retryable=error.retryable)

    return answer


def _problem(status: HTTPStatus, code: str, detail: str, *, retryable: bool) -> web.Response:
    problem = Problem(title=status.phrase, status=status, detail=detail, code=code, retryable=retryable)
    body = problem.model_dump_json(exclude_none=True).encode()
    return web.Response(status=status, body=body, content_type="application/problem+json")
