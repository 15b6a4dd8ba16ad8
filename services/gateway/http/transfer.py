"""Bytes to the client: whole, in part, or not at all because it has them already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from services.gateway.http.problems import problem
from shared import ranges
from shared.objects.base import ObjectInfo, ObjectStore
from shared.objects.sending import STALLED_SECS, digest_headers, send_body

_SAFE = {"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}


async def send_object(
    request: web.Request, store: ObjectStore, collection: str, info: ObjectInfo, content_type: str
) -> web.StreamResponse:
    """An object of the store, as fast as the client takes it."""
    selection = ranges.select(request.headers, info.size, info.etag)
    if isinstance(selection, ranges.Unsatisfiable):
        return _unsatisfiable(info.size)
    response = web.StreamResponse(headers=_headers(content_type, info.etag))
    if isinstance(selection, ranges.NotModified):
        response.set_status(304)
        await response.prepare(request)
        return response
    response.headers.update(await digest_headers(store, collection, info))
    start, stop = _apply(response, selection, info.size)
    response.content_length = stop - start
    await response.prepare(request)
    if request.method != "HEAD" and stop > start:
        await send_body(request, response, store, collection, info, range(start, stop))
    await response.write_eof()
    return response


async def send_pieces(
    request: web.Request, headers: Mapping[str, str], pieces: AsyncIterator[bytes] | None
) -> web.StreamResponse:
    """A body whose size nobody knows before; None for the head alone. Raises ConnectionResetError when the client has
    left or takes nothing any more."""
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if pieces is None:
        return response
    async for piece in pieces:
        await _write(response, piece)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    try:
        async with asyncio.timeout(STALLED_SECS):
            await response.write(piece)
    except TimeoutError:
        raise ConnectionResetError(f"the client has taken nothing for {STALLED_SECS:g} s") from None


def send_text(request: web.Request, text: str) -> web.Response:
    """Text that may be another the next time it is asked for."""
    body = text.encode(errors="replace")
    selection = ranges.select(request.headers, len(body), None)
    if isinstance(selection, ranges.Unsatisfiable):
        return _unsatisfiable(len(body))
    response = web.Response(headers=_headers("text/plain; charset=utf-8", None))
    start, stop = _apply(response, selection, len(body))
    response.body = body[start:stop]
    return response


def _headers(content_type: str, etag: str | None) -> dict[str, str]:
    headers = {**_SAFE, "Content-Type": content_type}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    return headers


def _apply(response: web.StreamResponse, selection: ranges.Selection, size: int) -> tuple[int, int]:
    if not isinstance(selection, ranges.Part):
        return 0, size
    response.set_status(206)
    response.headers["Content-Range"] = f"bytes {selection.start}-{selection.stop - 1}/{size}"
    return selection.start, selection.stop


def _unsatisfiable(size: int) -> web.Response:
    answer = problem(416, "range_not_satisfiable", f"There are {size} bytes; ask for some of those.")
    answer.headers["Content-Range"] = f"bytes */{size}"
    return answer
