"""What a client sends, as it comes: bounded in size and time, whatever the client does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import ClientError, StreamReader, web

from voxloom.errors import InvalidInput, TooLarge

SILENCE_SECS = 60.0
"""How long a client may send nothing in the middle of an upload."""
JSON_SECS = 60.0
"""How long a client may take to send a JSON body."""


class UploadBroken(InvalidInput):
    """The client hung up, fell silent, or sent something that is no body. It will mostly not read this."""

    code = "upload_incomplete"
    http_status = 400


@dataclass(frozen=True)
class Body:
    """What a client sends that may be large: taken in once, as it comes."""

    headers: Mapping[str, str]
    size: int | None
    """Bytes, as the client has said."""
    chunks: AsyncIterator[bytes]
    """Raises UploadBroken where it ends too early, or the client falls silent."""

    def check_size(self, limit: int) -> None:
        """Raises TooLarge where the body says itself that it is."""
        if self.size is not None and self.size > limit:
            raise TooLarge(f"The body has {self.size} bytes; {limit} are allowed.")


def body_of(request: web.Request) -> Body:
    return Body(request.headers, request.content_length, chunks_of(request))


async def chunks_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises UploadBroken where it ends too early, or the client falls silent."""
    read = request.content.readany if request.content_length is None else partial(_read_on, request.content)
    while True:
        with _translated(f"Nothing came for {SILENCE_SECS:g} s"):
            async with asyncio.timeout(SILENCE_SECS):
                chunk = await read()
        if not chunk:
            return
        yield chunk


async def _read_on(content: StreamReader) -> bytes:
    """One piece as it was received: `readany` would copy all there are together. But that is right for a chunked body,
    whose chunks may be a byte each."""
    chunk, _ = await content.readchunk()
    return chunk


async def read_whole(request: web.Request) -> bytes:
    """A body that is small enough to be kept in memory. Raises UploadBroken, and TooLarge past `client_max_size`, if
    possible before a byte is read."""
    body_of(request).check_size(request.client_max_size)
    pieces: list[bytes] = []
    size = 0
    with _translated(f"The body was not here within {JSON_SECS:g} s"):
        async with asyncio.timeout(JSON_SECS):
            while piece := await request.content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > request.client_max_size:
                    raise TooLarge(f"The body has more than the {request.client_max_size} bytes allowed.")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def _translated(too_late: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise UploadBroken(f"{too_late}, and nothing of it was kept. Send it again.", http_status=408) from None
    except (ConnectionError, ClientError, web.RequestPayloadError) as error:
        # The stream keeps this error, and its traceback the stream: what has come so far would stay in that circle.
        error.__traceback__ = None
        raise UploadBroken("The body broke off before its end, and nothing of it was kept. Send it again.") from error
