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
        Field(description="Its name in the file; not needed where there is one alone."),
        AfterValidator(_plain),
    ] = None
    axis: Annotated[int | None, Field(ge=0, lt=64, description="Along which to cut; the first by default.")] = None
    index: Annotated[
        int | None,
        Field(ge=0, lt=1 << 63, description="Where; not needed for H × W and 3 × H × W values, which are shown whole."),
    ] = None
    format: Annotated[
        Literal["png", "npy"],
        Field(description="png: 8 bit, grey or (3 × H × W) in colour; npy: the very values."),
    ] = "png"
    contrast: Annotated[
        Literal["slice", "dtype"] | None,
        Field(
            description="What is black and what is white in a PNG: the least and the greatest finite value of the "
            "slice; or all that the dtype can say (0 to 1 where it is no integer), as by default for uint8 and bool."
        ),
    ] = None
    low: Annotated[FiniteFloat | None, Field(description="This value and what is less is black.")] = None
    high: Annotated[FiniteFloat | None, Field(description="This value and what is more is white.")] = None


async def info(request: web.Request) -> web.StreamResponse:
    file = await named_file(request)
    headers = _headers(file, "info")
    if _has_it(request, headers):
        return web.Response(status=304, headers=headers)
    described = await context_of(request).looking.info(file)
    answer = FileInfo(file_id=file.file_id, size_bytes=file.info.size, **described)
    return json_bytes(answer.__pydantic_serializer__.to_json(answer), headers=headers)


async def cut(request: web.Request) -> web.StreamResponse:
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
    ),
]
