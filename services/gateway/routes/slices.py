"""What is inside a file, without downloading it: its datasets, and slices of them."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import orjson
from aiohttp import web
from pydantic import AfterValidator, Field, FiniteFloat

from services.gateway.context import context_of
from services.gateway.http.payloads import json_bytes, read_query
from services.gateway.http.routing import PNG, Media, Route
from services.gateway.routes import examples
from services.gateway.routes.files import named_file
from shared import ranges
from shared.files import Located
from voxloom.filemodels import FileInfo
from voxloom.ids import is_id
from voxloom.models import Value

NPY = Media("application/octet-stream")
FOREVER = "private, max-age=86400, immutable"
"""An id is never given to another file."""
WHILE_SAME = "private, no-cache"
"""A name that a client has chosen may be another file's once this one is deleted."""


def _plain(name: str | None) -> str | None:
    """A query may hold halves of characters, which no name in a file has."""
    return None if name is None else name.encode("utf-8", "replace").decode()


class SliceQuery(Value):
    dataset: Annotated[
        str | None,
        Field(description="Its name in the file; not needed if the root has only one."),
        AfterValidator(_plain),
    ] = None
    axis: Annotated[
        int | None, Field(ge=0, lt=64, description="Along which to cut, counted from 0; the first by default.")
    ] = None
    index: Annotated[
        int | None,
        Field(
            ge=0,
            lt=1 << 63,
            description="Where, counted from 0; without it H × W and 3 × H × W values are shown whole.",
        ),
    ] = None
    format: Annotated[
        Literal["png", "npy"],
        Field(
            description="`png`: 8 bit, grey, or in colour if the slice is 3 × H × W; `npy`: the exact values, "
            "with the dtype of the file."
        ),
    ] = "png"
    contrast: Annotated[
        Literal["slice", "dtype"] | None,
        Field(
            description="Which values are black and white in a PNG. `slice`: the smallest and the largest finite value "
            "of the slice; `dtype`: those of the dtype (0 to 1 if it is no integer). By default `dtype` for uint8 and "
            "bool, `slice` for others."
        ),
    ] = None
    low: Annotated[FiniteFloat | None, Field(description="This value and what is less is black, and NaN.")] = None
    high: Annotated[FiniteFloat | None, Field(description="This value and what is more is white.")] = None


async def info(request: web.Request) -> web.StreamResponse:
    """No download is needed for it. `statistics` count finite values only, and at most 64 MiB of values in a file. If
    there are none, `statistics_absent` says why. Attributes of up to 1 KiB are shown, and the first 1000 datasets.
    `ETag` and `If-None-Match` work.
    """
    file = await named_file(request)
    headers = _headers(file, "info")
    if _has_it(request, headers):
        return web.Response(status=304, headers=headers)
    described = await context_of(request).looking.info(file)
    answer = FileInfo(file_id=file.file_id, size_bytes=file.info.size, **described)
    return json_bytes(answer.__pydantic_serializer__.to_json(answer), headers=headers)


async def cut(request: web.Request) -> web.StreamResponse:
    """Only the chunks that the slice crosses are read. If the query does not fit the file, the answer is 422, and
    `details.errors` names the part that does not fit. A slice has at most 2²⁵ values and 128 MiB, and the chunks that
    it crosses have at most 1 GiB together. In a dataset without chunks, a slice along the last axis needs nearly all
    the data, and may be refused for this reason. `ETag` and `If-None-Match` work.

    Files are opened in processes with limits: `inspect_timeout` and `inspect_memory`. If the memory is not enough, the
    answer is 422 `invalid_hdf5_file`; if it takes too long, 503 `answer_timeout`.
    """
    wanted = read_query(request, SliceQuery).model_dump()
    file = await named_file(request)
    headers = _headers(file, orjson.dumps(wanted).decode())
    if _has_it(request, headers):
        return web.Response(status=304, headers=headers)
    data = await context_of(request).looking.slice(file, wanted)
    kind = PNG if wanted["format"] == "png" else NPY
    return web.Response(body=data, headers=headers, content_type=kind.content_type)


def _headers(file: Located, what: str) -> dict[str, str]:
    etag = hashlib.sha256(f"{file.info.etag} {what}".encode()).hexdigest()[:32]
    lasting = FOREVER if is_id(file.file_id) else WHILE_SAME
    return {"ETag": f'"{etag}"', "Cache-Control": lasting, "X-Content-Type-Options": "nosniff"}


def _has_it(request: web.Request, headers: dict[str, str]) -> bool:
    return isinstance(ranges.select(request.headers, 0, headers["ETag"].strip('"')), ranges.NotModified)


_PROBLEMS = {404: ("file_not_found",), 422: ("invalid_hdf5_file",), 503: ("inspector_unavailable",)}

ROUTES = [
    Route(
        "GET",
        "/api/v1/files/{name}/info",
        info,
        "What is in a file: datasets, how they are stored, small attributes, statistics of small ones",
        "Files",
        {200: FileInfo, 304: None},
        _PROBLEMS,
        headers=("If-None-Match",),
        examples=(examples.FILE_INFO,),
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/files/{name}/slice",
        cut,
        "A slice of a dataset, as a picture or as it is",
        "Files",
        {200: (PNG, NPY), 304: None},
        _PROBLEMS,
        query=SliceQuery,
        headers=("If-None-Match",),
        examples=examples.SLICE,
        needs="read",
    ),
]
