"""Files: HDF5 in, bytes out."""

from __future__ import annotations

from aiohttp import web

from messages.base import DEFAULT_PROJECT
from messages.files import FileCommitted, FileDeleteRequested, FileRejected, FileUploaded
from services.gateway.answers import answer, deletion_of, inspection_of
from services.gateway.context import context_of
from services.gateway.intake import hdf5_chunks, store_body
from services.gateway.payloads import json_answer, json_bytes
from services.gateway.routing import HDF5, Route
from services.gateway.transfer import send_object
from shared.files import COLLECTION, bytes_key
from voxloom.errors import InvalidInput, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import FileUploadResponse, ResponseMessage


async def upload(request: web.Request) -> web.Response:
    context = context_of(request)
    file_id = new_id()
    key = bytes_key(file_id)
    chunks = hdf5_chunks(request)
    limit = context.settings.max_file_bytes
    metadata = {"project": DEFAULT_PROJECT}
    info = await store_body(request, context.store, COLLECTION, key, chunks, limit=limit, metadata=metadata)
    with context.answers.expect(inspection_of(file_id)) as inspected:
        try:
            await context.publish(FileUploaded(subject=file_id, size=info.size, etag=info.etag))
        except Unavailable:
            await context.store.delete(COLLECTION, key)  # Nobody will ever look at it.
            raise
        outcome = await answer(inspected, context.settings.answer_timeout, "Looking into the file")
    if isinstance(outcome, FileRejected):
        error = outcome.error
        kind = Unavailable if error.retryable else InvalidInput
        raise kind(error.message, code=error.code, details={"file_id": file_id})
    if not isinstance(outcome, FileCommitted):
        raise VoxloomError(f"{outcome.type_name()} is no answer to an upload")
    return json_bytes(b'{"file_id":"%b"}' % file_id.encode())


async def download(request: web.Request) -> web.StreamResponse:
    context = context_of(request)
    file = await context.files.find(request.match_info["file_id"])
    return await send_object(request, context.store, COLLECTION, file.info, "application/octet-stream")


async def delete(request: web.Request) -> web.Response:
    context = context_of(request)
    file = await context.files.find(request.match_info["file_id"])
    with context.answers.expect(deletion_of(file.file_id)) as deleted:
        await context.publish(FileDeleteRequested(subject=file.file_id, project=file.project or DEFAULT_PROJECT))
        await answer(deleted, context.settings.answer_timeout, "Deleting the file")
    return json_answer(ResponseMessage(detail="File deleted successfully"))


_NOT_FOUND = {404: ("file_not_found",)}

ROUTES = [
    Route(
        "POST",
        "/api/v0/files",
        upload,
        "Upload an HDF5 file",
        "Files",
        {200: FileUploadResponse},
        {413: ("too_large",), 422: ("invalid_hdf5_file",), 400: ("upload_incomplete",)},
        body=HDF5,
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
        _NOT_FOUND,
    ),
]
