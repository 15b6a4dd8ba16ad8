"""Bytes from the client: looked at as they pass, stored whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from services.gateway.context import Context
from services.gateway.http.bodies import Body
from shared.bodies import check_file_body, digest_said
from shared.objects.base import EXPIRING, ObjectInfo
from shared.room import while_room
from voxloom.errors import InvalidInput, TooLarge
from voxloom.hdf5 import signatures

LARGEST_USER_BLOCK = 64 << 20
"""HDF5 may begin after a block of any power of two from 512 bytes; one as large as this is none."""


class Hdf5Probe:
    """Looks for the signature of HDF5 in a stream: at byte 0, 512, 1024, 2048 and so on."""

    def __init__(self) -> None:
        self.found = False
        self._place = 0
        self._position = 0
        self._rest = b""
        self._head = b""

    def feed(self, chunk: bytes) -> None:
        """Raises InvalidInput once it is clear that there is none."""
        if self.found:
            return
        self._head += chunk[: signatures.HEAD - len(self._head)]
        begin, window = self._position - len(self._rest), self._rest + chunk
        self._position += len(chunk)
        while self._place + len(signatures.HDF5) <= self._position:
            start = self._place - begin
            if window[start : start + len(signatures.HDF5)] == signatures.HDF5:
                self.found = True
                return
            self._place = self._place * 2 or signatures.FIRST_USER_BLOCK
        if self._place > LARGEST_USER_BLOCK:
            raise not_hdf5(self._head)
        self._rest = window[-(len(signatures.HDF5) - 1) :]

    def finish(self) -> None:
        """Raises InvalidInput unless the signature was there."""
        if not self.found:
            raise not_hdf5(self._head)


def not_hdf5(head: bytes) -> InvalidInput:
    """`head`: the begin of the body."""
    told = signatures.told_by(head)
    wish = f"it is {told}" if told else "send the bytes of a file that h5py or another HDF5 library has written"
    return InvalidInput(f"The body is no HDF5 file; {wish}.", code="invalid_hdf5_file")


async def hdf5_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Passes on what is HDF5. Raises InvalidInput once it is clear that it is not."""
    probe = Hdf5Probe()
    async for chunk in chunks:
        probe.feed(chunk)
        yield chunk
    probe.finish()


async def store_body(
    context: Context,
    body: Body,
    place: tuple[str, str],
    *,
    limit: int,
    metadata: Mapping[str, str] | None = None,
) -> ObjectInfo:
    """`place`: collection and key. Raises TooLarge, if possible before a byte is read, StoreFull, and InvalidInput
    where it is not as its headers say."""
    check_file_body(body.headers)
    body.check_size(limit)
    roomy, digest = while_room(body.chunks, context.room), digest_said(body.headers)
    return await context.store.put_stream(*place, roomy, limit=limit, digest=digest, metadata=metadata, tags=EXPIRING)


async def read_through(body: Body, *, limit: int) -> None:
    """Takes in the body and keeps nothing. Raises TooLarge."""
    check_file_body(body.headers)
    body.check_size(limit)
    size = 0
    async for chunk in body.chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The body has more than the {limit} bytes allowed.")
