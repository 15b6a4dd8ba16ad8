"""An object as the body of an HTTP answer: from its file straight to the socket where that can be, else in pieces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import closing

from aiohttp import web

from shared.objects.base import ObjectInfo, ObjectStore, Sender
from voxloom.digests import REPR, as_header
from voxloom.errors import NotFound

STALLED_SECS = 600.0
"""How long a client may take nothing in the middle of an answer."""

_AT_ONCE = 16 << 20
"""Bytes that one thread sends in one go, at most."""
_WORTH_IT = 1 << 18
"""Bytes from which on a body is sent from its file; fewer are in memory as soon as it would be open."""


async def digest_headers(store: ObjectStore, collection: str, info: ObjectInfo) -> dict[str, str]:
    """What tells the client how the whole object's bytes must be, whatever part of them it gets."""
    try:
        digest = await store.digest(collection, info)
    except NotFound:  # Deleted just now: what is being sent breaks off, or not.
        return {}
    return {} if digest is None else {REPR: as_header(digest)}


async def send_body(
    request: web.Request,
    response: web.StreamResponse,
    store: ObjectStore,
    collection: str,
    info: ObjectInfo,
    span: range,
) -> None:
    """Sends the bytes `span` of the object after the headers of `response`, which is prepared and tells their number.

    Raises NotFound, StoreUnavailable, and ConnectionResetError when the client has left or takes nothing any more.
    """
    sender = await _open_sender(request, store, collection, info, span)
    if sender is None:
        await _send_pieces(response, store, collection, info.key, span)
        return
    with closing(sender):
        await _send_file(request, response, sender, span)


async def _open_sender(
    request: web.Request, store: ObjectStore, collection: str, info: ObjectInfo, span: range
) -> Sender | None:
    """None where the bytes are too few, or have to be encrypted on their way."""
    transport = request.transport
    if len(span) < _WORTH_IT or not hasattr(os, "sendfile") or transport is None:
        return None
    if transport.get_extra_info("sslcontext") is not None:
        return None
    sender = await store.open_sender(collection, info.key, transport.get_extra_info("socket").fileno())
    if sender is not None and sender.info.etag != info.etag:
        sender.close()
        raise ConnectionResetError("the object was replaced before it could be sent")
    return sender


async def _send_pieces(
    response: web.StreamResponse, store: ObjectStore, collection: str, key: str, span: range
) -> None:
    pieces = store.stream(collection, key, start=span.start, stop=span.stop)
    try:
        async for piece in pieces:
            try:
                async with asyncio.timeout(STALLED_SECS):
                    await response.write(piece)
            except TimeoutError:
                raise _stalled() from None
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def _send_file(request: web.Request, response: web.StreamResponse, sender: Sender, span: range) -> None:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has left")
    await _send_headers(request, response, transport)
    at = span.start
    try:
        while at < span.stop:
            wanted = min(_AT_ONCE, span.stop - at)
            sent = await sender.send(at, at + wanted)
            at += sent
            if sent < wanted:
                await _until_writable(transport)
    except ConnectionError:
        transport.abort()  # It may not have noticed yet.
        raise


async def _send_headers(request: web.Request, response: web.StreamResponse, transport: asyncio.Transport) -> None:
    """When it returns, the transport has nothing left to send."""
    transport.set_write_buffer_limits(0)
    try:
        async with asyncio.timeout(STALLED_SECS):
            await response.write(b"")
            await request.writer.drain()
    except TimeoutError:
        raise _stalled() from None
    finally:
        transport.set_write_buffer_limits()


async def _until_writable(transport: asyncio.Transport) -> None:
    """Raises ConnectionResetError when the connection is over instead."""
    if transport.is_closing():
        raise ConnectionResetError("the connection was closed")
    loop = asyncio.get_running_loop()
    # Of the transport's own descriptor the loop would not tell.
    socket = os.dup(transport.get_extra_info("socket").fileno())
    writable = asyncio.Event()
    loop.add_writer(socket, writable.set)
    try:
        async with asyncio.timeout(STALLED_SECS):
            await writable.wait()
    except TimeoutError:
        raise _stalled() from None
    finally:
        loop.remove_writer(socket)
        os.close(socket)


def _stalled() -> ConnectionResetError:
    return ConnectionResetError(f"the client has taken nothing for {STALLED_SECS:g} s")
