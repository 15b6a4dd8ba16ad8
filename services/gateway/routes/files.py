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
from services.gateway.routes import examples
from shared.files import COLLECTION, Located
from voxloom.digests import CONTENT, REPR
from voxloom.models import FileUploadResponse, ResponseMessage, UrlResponse


async def upload(request: web.Request) -> web.Response:
    """The server first looks into the file, in a process with limits, and then answers. These files get 422
    `invalid_hdf5_file` with the reason, and are not kept:

    * a body that is not an HDF5 file; the sentence says what it is, if the server knows (.npz, TIFF, old MATLAB, HDF4
      …): convert it;
    * links to other files, external storage, virtual datasets with sources in other files: copy the data into this
      file;
    * filters other than gzip, lzf, shuffle, fletcher32, nbit, scaleoffset (so szip, Blosc, bitshuffle, Zstandard), and
      data that is compressed several times: `h5repack -f GZIP=4 OLD NEW`;
    * a chunk that does not unpack to exactly the size that the dataset declares: write the file again;
    * a file that is marked as open for writing: close it, or `h5clear -s FILE`.

    The name of a file does not matter. Hard links, soft links and virtual datasets within the file are read. An upload
    looks at 1 GiB of packed data and at 200,000 chunks of each dataset, and no more. Whatever reads a chunk later
    (slices, statistics, runs, clients) checks it again.

    The body is the whole file, byte for byte. The server refuses a form (`multipart/form-data`: 415
    `unsupported_media_type`), a compressed body (`Content-Encoding`: 415 `unsupported_content_encoding`) and a part of
    a file (`Content-Range`: 400 `unsupported_content_range`).

    You can send the SHA-256 of the file: `Repr-Digest: sha-256=:<base64>:` (RFC 9530); `Content-Digest` works, too. If
    other bytes arrive, the answer is 400 `digest_mismatch`, and the server does not keep them. All this holds for every
    route that takes files.
    """
    key = key_of(request)
    file_id = await files.upload(context_of(request), caller_of(request), key, body_of(request))
    return json_bytes(b'{"file_id":"%b"}' % file_id.encode())


async def download(request: web.Request) -> web.StreamResponse:
    """`Range`, `If-Range` and `If-None-Match` work. The header `Repr-Digest` of the answer is the SHA-256 of the whole
    file, also if you ask for a part or use HEAD. The Python client checks each download with it. An output gets its
    digest a moment after its run has ended. A file that an older version has stored has no digest.
    """
    context = context_of(request)
    file = await context.files.find(caller_of(request), request.match_info["file_id"])
    return await send_object(request, context.store, COLLECTION, file.info, "application/octet-stream")


async def upload_url(request: web.Request) -> web.Response:
    """It is valid for an hour. If the store is S3, the bytes do not pass through the gateway. The name is the id of the
    file: use it in `input_dataset_ids`, in samples, everywhere. (In a project `lab1` other than `default` the id is
    `@lab1/` and the name, and the name alone will do.) You can use the file right after the PUT: the server
    looks into it at its first use, and before that it is in no list.

    409 `file_exists`: there is a file of that name already. If the file is not an HDF5 file, its first use is refused
    (422 `invalid_hdf5_file`), and the file is removed. A file that nobody uses for a day is removed, too.
    """
    url = await files.upload_url(context_of(request), caller_of(request), request.match_info["name"])
    return json_answer(UrlResponse(url=url))


async def download_url(request: web.Request) -> web.Response:
    """It is valid for an hour. 404 `file_not_found`: there is no such file."""
    return json_answer(UrlResponse(url=await files.download_url(context_of(request), await named_file(request))))


async def named_file(request: web.Request) -> Located:
    """The file that the path names. Raises NotFound (`file_not_found`), and InvalidInput where it is no good."""
    return await files.named_file(context_of(request), caller_of(request), request.match_info["name"])


async def delete_named(request: web.Request) -> web.Response:
    """If samples use the file, it is not deleted: 409 `file_in_use`, and `details.sample_ids` names the samples."""
    return await _delete(request, await named_file(request))


async def delete(request: web.Request) -> web.Response:
    """If samples use the file, it is not deleted: 409 `file_in_use`, and `details.sample_ids` names the samples."""
    file = await context_of(request).files.find(caller_of(request), request.match_info["file_id"])
    return await _delete(request, file)


async def _delete(request: web.Request, file: Located) -> web.Response:
    await files.delete(context_of(request), caller_of(request), file)
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
        {
            400: ("digest_mismatch", "digest_invalid", "unsupported_content_range"),
            409: ("stored_bytes_exceeded",),
            415: ("unsupported_media_type", "unsupported_content_encoding"),
            422: ("invalid_hdf5_file", "idempotency_key_reused"),
        },
        body=HDF5,
        headers=(IDEMPOTENCY_KEY, REPR, CONTENT),
        examples=(examples.UPLOAD,),
        needs="run",
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
        examples=(examples.DOWNLOAD,),
        needs="read",
    ),
    Route(
        "DELETE",
        "/api/v0/files/{file_id}",
        delete,
        "Delete a file",
        "Files",
        {200: ResponseMessage},
        {**_NOT_FOUND, 409: ("file_in_use",)},
        examples=(examples.DELETE_FILE,),
        needs="run",
    ),
    Route(
        "GET",
        "/api/v1/files/{name}/upload-url",
        upload_url,
        "A URL to PUT the bytes of a new file to; its name is its id",
        "Files",
        {200: UrlResponse},
        {409: ("file_exists", "stored_bytes_exceeded")},
        examples=(examples.UPLOAD_URL,),
        needs="run",
    ),
    Route(
        "GET",
        "/api/v1/files/{name}/download-url",
        download_url,
        "A URL to GET the bytes of a file from",
        "Files",
        {200: UrlResponse},
        _NOT_FOUND,
        needs="read",
    ),
    Route(
        "DELETE",
        "/api/v1/files/{name}",
        delete_named,
        "Delete a file",
        "Files",
        {200: ResponseMessage},
        {**_NOT_FOUND, 409: ("file_in_use",)},
        needs="run",
    ),
]
