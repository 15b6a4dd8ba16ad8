"""Files: HDF5 in, bytes out."""

from __future__ import annotations

import asyncio

from aiohttp import web

from messages.base import DEFAULT_PROJECT, Event
from messages.files import FileCommitted, FileDeleteRefused, FileDeleteRequested, FileRejected, FileUploaded
from services.gateway.context import Context, context_of
from services.gateway.http.bodies import chunks_of
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.idempotency import Digest, Once, fingerprint_of, key_of
from services.gateway.http.payloads import json_answer, json_bytes
from services.gateway.http.routing import HDF5, Route
from services.gateway.http.transfer import send_object
from services.gateway.operations.uploads import hdf5_chunks, read_through, store_body
from services.gateway.views.answers import answer, deletion_of, inspection_of
from services.gateway.views.presigned import refusal_of
from shared.files import COLLECTION, Located, bytes_key, check_name, entry_key, locate_many, upload_key
from voxloom.digests import CONTENT, REPR
from voxloom.errors import Conflict, NotFound, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import FileUploadResponse, ResponseMessage, UrlResponse

URL_SECS = 3600.0


async def upload(request: web.Request) -> web.Response:
    context = context_of(request)
    key = key_of(request)
    if key is None:
        event = await _take_in(request)
        await _inspect(context, event)
    else:
        event = await _UploadOnce(request).event(context.keys, key)
        await _inspect_once(context, event)
    return json_bytes(b'{"file_id":"%b"}' % event.subject.encode())


async def _take_in(request: web.Request, digest: Digest | None = None) -> FileUploaded:
    """Stores the body under a new id; `digest` knows it afterwards."""
    context, file_id = context_of(request), new_id()
    info = await store_body(
        request,
        context.store,
        COLLECTION,
        bytes_key(file_id),
        hdf5_chunks(request),
        limit=context.settings.max_file_bytes,
        metadata={"project": DEFAULT_PROJECT},
    )
    if digest is not None:
        digest.note(info)
    return FileUploaded(subject=file_id, size=info.size, etag=info.etag)


class _UploadOnce(Once[FileUploaded]):
    """If the file is gone, or was refused, so is its claim to the key."""

    kind = FileUploaded

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._context = context_of(request)
        self._digest = Digest()

    async def make(self) -> FileUploaded:
        return await _take_in(self._request, self._digest)

    def fingerprint(self) -> str:
        return fingerprint_of("files", self._digest.text)

    async def read_again(self) -> None:
        limit = self._context.settings.max_file_bytes
        await read_through(self._request, self._digest.of(chunks_of(self._request)), limit=limit)

    async def holds(self, event: FileUploaded) -> bool:
        return await _exists(self._context, bytes_key(event.subject))

    async def undo(self, event: FileUploaded) -> None:
        await self._context.store.delete(COLLECTION, bytes_key(event.subject))


async def _inspect(context: Context, event: FileUploaded) -> None:
    """Returns when the file can be used. Raises what it was refused for."""
    with context.answers.expect(inspection_of(event.subject)) as inspected:
        try:
            await context.publish(event)
        except Unavailable:
            await context.store.delete(COLLECTION, bytes_key(event.subject))  # Nobody will ever look at it.
            raise
        await _inspected(context, event, inspected)


async def _inspect_once(context: Context, event: FileUploaded) -> None:
    """The same for a file that others may be asking for, too, or will: it stays where it is."""
    with context.answers.expect(inspection_of(event.subject)) as inspected:
        if not await _exists(context, entry_key(event.subject)):
            await context.publish(event)
            await _inspected(context, event, inspected)


async def _inspected(context: Context, event: FileUploaded, inspected: asyncio.Future[Event]) -> None:
    outcome = await answer(inspected, context.settings.answer_timeout, "Looking into the file")
    if isinstance(outcome, FileRejected):
        raise refusal_of(outcome.error, event.subject)
    if not isinstance(outcome, FileCommitted):
        raise VoxloomError(f"{outcome.type_name()} is no answer to an upload")


async def _exists(context: Context, key: str) -> bool:
    try:
        await context.store.head(COLLECTION, key)
    except NotFound:
        return False
    return True


async def download(request: web.Request) -> web.StreamResponse:
    context = context_of(request)
    file = await context.files.find(request.match_info["file_id"])
    return await send_object(request, context.store, COLLECTION, file.info, "application/octet-stream")


async def upload_url(request: web.Request) -> web.Response:
    """What is put there is no file yet: it becomes one when it is first asked for."""
    context, name = context_of(request), request.match_info["name"]
    check_name(name)
    context.room.check()
    if name in await locate_many(context.store, [name]):
        raise Conflict(
            f"There is a file {name[:200]!r} already, and files never change; choose another name, or delete it first.",
            code="file_exists",
            details={"object_name": name},
        )
    return json_answer(
        UrlResponse(url=await context.store.presign("PUT", COLLECTION, upload_key(name), expires=URL_SECS))
    )


async def download_url(request: web.Request) -> web.Response:
    context = context_of(request)
    file = await named_file(request)
    key = bytes_key(file.file_id)
    return json_answer(UrlResponse(url=await context.store.presign("GET", COLLECTION, key, expires=URL_SECS)))


async def named_file(request: web.Request) -> Located:
    """The file that the path names. Raises NotFound (`file_not_found`), and InvalidInput where it is no good."""
    name = request.match_info["name"]
    try:
        return await context_of(request).files.find(name)
    except NotFound as error:
        raise NotFound(error.message, code="file_not_found", details={"object_name": name}) from None


async def delete_named(request: web.Request) -> web.Response:
    return await _delete(context_of(request), await named_file(request))


async def delete(request: web.Request) -> web.Response:
    context = context_of(request)
    return await _delete(context, await context.files.find(request.match_info["file_id"]))


async def _delete(context: Context, file: Located) -> web.Response:
    with context.answers.expect(deletion_of(file.file_id)) as deleted:
        await context.publish(FileDeleteRequested(subject=file.file_id, project=file.project or DEFAULT_PROJECT))
        outcome = await answer(deleted, context.settings.answer_timeout, "Deleting the file")
    if isinstance(outcome, FileDeleteRefused):
        raise Conflict(
            f"The file is part of {len(outcome.sample_ids)} samples; delete those first.",
            code="file_in_use",
            details={"file_id": file.file_id, "sample_ids": outcome.sample_ids},
        )
    return json_answer(ResponseMessage(detail="File deleted successfully"))


_NOT_FOUND = {404: ("file_not_found",)}

ROUTES = [
    Route(
        "GET",
        "/api/v1/files/{name}/upload-url",
        upload_url,
        "A URL to PUT the bytes of a new file to; its name is its id",
        "Files",
        {200: UrlResponse},
        {409: ("file_exists",)},
    ),
    Route(
        "GET",
        "/api/v1/files/{name}/download-url",
        download_url,
        "A URL to GET the bytes of a file from",
        "Files",
        {200: UrlResponse},
        _NOT_FOUND,
    ),
    Route(
        "DELETE",
        "/api/v1/files/{name}",
        delete_named,
        "Delete a file",
        "Files",
        {200: ResponseMessage},
        {**_NOT_FOUND, 409: ("file_in_use",)},
    ),
    Route(
        "POST",
        "/api/v0/files",
        upload,
        "Upload an HDF5 file",
        "Files",
        {200: FileUploadResponse},
        {
            400: ("digest_mismatch", "digest_invalid", "unsupported_content_range"),
            415: ("unsupported_media_type", "unsupported_content_encoding"),
            422: ("invalid_hdf5_file", "idempotency_key_reused"),
        },
        body=HDF5,
        headers=(IDEMPOTENCY_KEY, REPR, CONTENT),
    ),
    Route(
        "GET",
        "/api/v0/files/{file_id}",
        download,
        "The bytes of a file",
        "Files",
        {200: HDF5, 206: HDF5, 304: None},
        {**_NOT_FOUND, 416: ("range_not_satisfiable",)},
        headers=("Range", "If-Range", "If-None-Match"),
    ),
    Route(
        "DELETE",
        "/api/v0/files/{file_id}",
        delete,
        "Delete a file",
        "Files",
        {200: ResponseMessage},
        {**_NOT_FOUND, 409: ("file_in_use",)},
    ),
]
