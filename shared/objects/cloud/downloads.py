"""How bytes come from S3: as one stream that survives lost connections, or in parts at once into a file.

Whatever is read of an object is of one version: the first answer's etag is asked for from then on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from shared.objects.base import CHUNK
from shared.objects.cloud.connection import Answer, Connection
from shared.objects.cloud.errors import FAILURES, code_behind, told
from shared.objects.cloud.object_info import bare, quoted
from shared.objects.cloud.place import Spot
from shared.objects.cloud.task_group import crew
from shared.objects.disk.threads import Pool
from voxloom.errors import Conflict, StoreUnavailable, VoxloomError

PARTS_AT_ONCE = 6
"""Of one object that comes into a file."""
PART = 8 << 20
_TRIES = 4
"""Without a byte more; a stream that moves on may be interrupted as often as it likes."""


class ReplacedMeanwhile(Exception):
    """The object is no longer the version that was asked for."""


class _Short(ConnectionError):
    """The server has ended its answer too early."""


class Reading:
    """A stretch of one object, read piece by piece. It ends with `close`."""

    def __init__(self, connection: Connection, spot: Spot, start: int, stop: int | None, etag: str | None) -> None:
        self._connection = connection
        self._spot = spot
        self._at = start
        self._stop = stop
        self._etag = etag
        self._body: Any = None

    async def next(self) -> bytes:
        """CHUNK bytes, fewer at the end, none after it. Raises NotFound, StoreUnavailable, ReplacedMeanwhile."""
        failure: Exception | None = None
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(random.uniform(0.1, 0.3) * 2**attempt)  # noqa: S311
            await self._open()
            if self._stop is not None and self._at >= self._stop:
                return b""
            try:
                return await self._read(min(CHUNK, (self._stop or 0) - self._at))
            except FAILURES as error:
                failure = error
                self.close()
        assert failure is not None
        raise told(failure, self._connection.about(self._spot)) from failure

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    async def _open(self) -> None:
        """Afterwards it is known where the stretch ends."""
        if self._body is not None or self._is_over:
            return
        answer = await self._ask()
        if answer is None:
            self._stop = self._at
            return
        self._body = answer["Body"]
        self._etag = bare(answer["ETag"])
        self._stop = self._at + answer["ContentLength"]

    @property
    def _is_over(self) -> bool:
        return self._etag is not None and self._stop is not None and self._at >= self._stop

    async def _ask(self) -> Answer | None:
        """None: there are no such bytes."""
        params = _span(self._at, self._stop) | ({"IfMatch": quoted(self._etag)} if self._etag is not None else {})
        try:
            return await self._connection.call("get_object", self._spot, bulk=True, **params)
        except Conflict:
            raise ReplacedMeanwhile from None
        except VoxloomError as error:
            if _is_beyond(error):
                return None
            raise

    async def _read(self, wanted: int) -> bytes:
        pieces: list[bytes] = []
        missing = wanted
        while missing:
            piece = await self._body.read(missing)
            if not piece:
                raise _Short("the server sent fewer bytes than it had announced")
            pieces.append(piece)
            missing -= len(piece)
        self._at += wanted
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def stream(connection: Connection, spot: Spot, start: int, stop: int | None) -> AsyncIterator[bytes]:
    """Pieces of CHUNK. An answer under way goes on when the object is replaced or deleted; if it breaks off after that,
    the rest is nowhere any more."""
    if stop is not None and stop <= start:
        await connection.call("head_object", spot)
        return
    reading = Reading(connection, spot, start, stop, None)
    try:
        while piece := await reading.next():
            yield piece
            await asyncio.sleep(0)
    except ReplacedMeanwhile:
        raise _lost() from None
    finally:
        reading.close()


async def read_all(connection: Connection, spot: Spot) -> bytes:
    return b"".join([piece async for piece in stream(connection, spot, 0, None)])


async def read_version(connection: Connection, spot: Spot, etag: str) -> bytes:
    """Raises ReplacedMeanwhile, NotFound and StoreUnavailable."""
    reading = Reading(connection, spot, 0, None, etag)
    pieces: list[bytes] = []
    try:
        while piece := await reading.next():
            pieces.append(piece)
    finally:
        reading.close()
    return b"".join(pieces)


async def to_file(
    connection: Connection, spot: Spot, etag: str, size: int, write: Callable[[bytes, int], None], *, pool: Pool
) -> None:
    """`write` blocks; it gets bytes and where they belong. Raises ReplacedMeanwhile, NotFound and StoreUnavailable."""

    async def fetch(start: int, stop: int) -> None:
        reading = Reading(connection, spot, start, stop, etag)
        try:
            while piece := await reading.next():
                await pool.run(write, piece, start)
                start += len(piece)
        finally:
            reading.close()

    async with crew("objects.download", PARTS_AT_ONCE) as fetchers:
        for start in range(0, size, PART):
            await fetchers.start(fetch, start, min(start + PART, size))


def _span(start: int, stop: int | None) -> dict[str, Any]:
    if not start and stop is None:
        return {}
    return {"Range": f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"}


def _is_beyond(error: VoxloomError) -> bool:
    """Whether the object ends before the first byte that was asked for."""
    return code_behind(error) in ("InvalidRange", "416")


def _lost() -> StoreUnavailable:
    return StoreUnavailable("The object was replaced or deleted while it was being read; read it again.")
