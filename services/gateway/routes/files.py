"""Files: HDF5 in, bytes out."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.bodies import body_of
from services.gateway.http.callers import caller_of
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.idempotency import key_of
from services.gateway.http.payloads import json_answer, json_bytes
from services.gateway.http.routing import HDF5, Route
from services.gateway.http.transfer import send_object
from services.gateway.operations import files
from shared.files import COLLECTION, Located
from voxloom.digests import CONTENT, REPR
from voxloom.models import FileUploadResponse, ResponseMessage, UrlResponse


async def upload(request: web.Request) -> web.Response:
    key = key_of(request)
    file_id = await files.upload(context_of(request), caller_of(request), key, body_of(request))
    return json_bytes(b'{"file_id":"%b"}' % file_id.encode())


async def download(request: web.Request) -> web.StreamResponse:
    context = context_of(request)
    file = await context.files.find(request.match_info["file_id"])
    return await send_object(request, context.store, COLLECTION, file.info, "application/octet-stream")


async def upload_url(request: web.Request) -> web.Response:
    """What is put there is no file yet: it becomes one when it is first asked for."""
    return json_answer(UrlResponse(url=await files.upload_url(context_of(request), request.match_info["name"])))


async def download_url(request: web.Request) -> web.Response:
    return json_answer(UrlResponse(url=await files.download_url(context_of(request), await named_file(request))))


async def named_file(request: web.Request) -> Located:
    """The file that the path names. Raises NotFound (`file_not_found`), and InvalidInput where it is no good."""
    return await files.named_file(context_of(request), request.match_info["name"])


async def delete_named(request: web.Request) -> web.Response:
    return await _delete(request, await named_file(request))


async def delete(request: web.Request) -> web.Response:
    return await _delete(request, await context_of(request).files.find(request.match_info["file_id"]))


async def _delete(request: web.Request, file: Located) -> web.Response:
    await files.delete(context_of(request), file)
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
