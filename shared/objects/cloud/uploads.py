"""How bytes get to S3: small objects in one request, large ones in parts, with bounded memory and nothing left behind.

A conditional write whose answer was lost is refused when it is tried again, by itself. So every such write bears a mark
in the object's metadata, and one that is refused looks whose mark is there.
"""

from __future__ import annotations

import asyncio
import io
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from shared.objects.base import ANYWAY, Condition, ObjectInfo
from shared.objects.cloud.background import Aside
from shared.objects.cloud.connection import Answer, Connection, is_long, time_for
from shared.objects.cloud.digests import note
from shared.objects.cloud.errors import CLASHED_CODES, code_behind
from shared.objects.cloud.object_info import DIGEST, MARK, from_head, from_write, quoted
from shared.objects.cloud.parts import Blocks
from shared.objects.cloud.place import Spot
from shared.objects.cloud.task_group import crew
from shared.objects.disk.threads import Pool
from shared.objects.hashing import Running
from shared.objects.refusals import digest_mismatch, not_written
from voxloom.digests import digest_of
from voxloom.errors import Conflict, NotFound, VoxloomError

PARTS_AT_ONCE = 4
"""Of one object."""
_ALL_AT_ONCE = 16
"""Parts of all objects that are on their way."""
_COMPLETE_SECS = 600.0
"""Joining many parts takes some servers long."""
_CLASHES = 6
_HASHED_AT_ONCE = 256 * 1024
"""Bytes that are hashed sooner than a thread would begin to."""

_GONE_UPLOAD = {"NoSuchUpload"}


@dataclass(frozen=True)
class Write:
    """One object that somebody wants to have written."""

    spot: Spot
    metadata: Mapping[str, str]
    tags: Mapping[str, str]
    condition: Condition = ANYWAY
    digest: str | None = None
    """What the bytes must have, if they are to be stored."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def what(self, *, marked: bool, digest: str | None = None) -> dict[str, Any]:
        """What belongs to the object."""
        own = ({MARK: self.mark} if marked else {}) | ({DIGEST: digest} if digest else {})
        return {"Metadata": {**self.metadata, **own}, **({"Tagging": urlencode(self.tags)} if self.tags else {})}

    def checked(self, digest: str) -> str:
        """Raises InvalidInput (`digest_mismatch`)."""
        if self.digest is not None and self.digest != digest:
            raise digest_mismatch()
        return digest

    @property
    def when(self) -> dict[str, Any]:
        """What has to hold."""
        absent = {"IfNoneMatch": "*"} if self.condition.absent else {}
        return absent | ({"IfMatch": quoted(self.condition.etag)} if self.condition.etag is not None else {})


class Uploads:
    def __init__(self, connection: Connection, aside: Aside, pool: Pool) -> None:
        self._pool = pool
        self._connection = connection
        self._aside = aside
        self._room = asyncio.Semaphore(_ALL_AT_ONCE)

    async def put(self, write: Write, body: io.BytesIO) -> ObjectInfo:
        size = len(body.getbuffer())
        digest = write.checked(await self._digest(body))
        what = write.what(marked=write.condition != ANYWAY, digest=digest)
        answer = await self._judged(write, "put_object", within=time_for(size), bulk=is_long(size), Body=body, **what)
        return _info(write, answer, size, digest)

    async def put_stream(self, write: Write, chunks: AsyncIterator[bytes], limit: int | None) -> ObjectInfo:
        async with aclosing(Blocks(limit).of(chunks)) as blocks:
            first = await anext(blocks)
            second = await anext(blocks, None)
            if second is None:
                return await self.put(write, first)
            await self._check_early(write)
            return await self.put_parts(write, _chained(first, second, blocks))

    async def put_parts(self, write: Write, bodies: AsyncIterator[io.BytesIO]) -> ObjectInfo:
        """Of two parts or more. Whatever ends it, no part stays behind."""
        begun = await self._connection.call("create_multipart_upload", write.spot, **write.what(marked=True))
        upload = begun["UploadId"]
        try:
            size, parts, digest = await self._send_all(write.spot, upload, bodies)
            write.checked(digest)
            answer = await self._judged(
                write,
                "complete_multipart_upload",
                within=_COMPLETE_SECS,
                bulk=True,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            await self._aside.see_to(self._abort(write.spot, upload), "give an upload up")
            raise
        info = _info(write, answer, size, digest)
        await note(self._connection, write.spot, info.etag, digest, write.tags)
        return info

    async def _digest(self, body: io.BytesIO) -> str:
        data = body.getbuffer()
        return digest_of(data) if len(data) <= _HASHED_AT_ONCE else await self._pool.run(digest_of, data)

    async def _send_all(
        self, spot: Spot, upload: str, bodies: AsyncIterator[io.BytesIO]
    ) -> tuple[int, list[Answer], str]:
        """Size, parts and digest."""
        etags: dict[int, str] = {}
        size = 0
        hashing = Running(self._pool)

        async def send(number: int, body: io.BytesIO) -> None:
            etags[number] = await self._send(spot, upload, number, body)

        async with crew("objects.upload", PARTS_AT_ONCE) as uploaders:
            number = 0
            async for body in bodies:
                number += 1
                size += len(body.getbuffer())
                await hashing.add([body.getbuffer()])
                await uploaders.start(send, number, body)
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        return size, parts, await hashing.finish()

    async def _send(self, spot: Spot, upload: str, number: int, body: io.BytesIO) -> str:
        within = time_for(len(body.getbuffer()))
        async with self._room:
            answer = await self._connection.call(
                "upload_part", spot, within=within, bulk=True, UploadId=upload, PartNumber=number, Body=body
            )
        etag: str = answer["ETag"]
        return etag

    async def _abort(self, spot: Spot, upload: str) -> None:
        await self._connection.call("abort_multipart_upload", spot, UploadId=upload)

    async def _check_early(self, write: Write) -> None:
        """The server judges at the end; now it may save an upload in vain."""
        if write.condition == ANYWAY:
            return
        try:
            etag = from_head(write.spot, await self._connection.call("head_object", write.spot)).etag
        except NotFound:
            etag = None
        if write.condition.absent and etag is not None:
            raise _refused(write)
        if write.condition.etag is not None and write.condition.etag != etag:
            raise _refused(write)

    async def _judged(self, write: Write, operation: str, **params: Any) -> Answer | ObjectInfo:
        """The answer to a write, or what is there by then, if that is this very write's."""
        for attempt in range(_CLASHES):
            try:
                return await self._connection.call(operation, write.spot, **write.when, **params)
            except VoxloomError as error:
                if code_behind(error) not in CLASHED_CODES or attempt + 1 == _CLASHES:
                    return await self._ours(write, error)
                await asyncio.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**attempt)  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    async def _ours(self, write: Write, error: VoxloomError) -> ObjectInfo:
        """What this write has stored after all; raises the error if it has not."""
        # A condition on an object that is gone is told as 404.
        refused = isinstance(error, Conflict | NotFound)
        if not refused and code_behind(error) not in _GONE_UPLOAD:
            raise error
        try:
            head = await self._connection.call("head_object", write.spot)
        except NotFound:
            head = {}
        if head.get("Metadata", {}).get(MARK) == write.mark:
            return from_head(write.spot, head)
        raise _refused(write) if refused else error


def _info(write: Write, answer: Answer | ObjectInfo, size: int, digest: str) -> ObjectInfo:
    if isinstance(answer, ObjectInfo):
        return replace(answer, digest=digest)
    return from_write(write.spot, answer, size, write.metadata, digest)


def _refused(write: Write) -> VoxloomError:
    why = "it is already there" if write.condition.absent else "it has changed or is gone"
    return not_written(write.spot.collection, write.spot.key, why)


async def _chained(first: io.BytesIO, second: io.BytesIO, rest: AsyncIterator[io.BytesIO]) -> AsyncIterator[io.BytesIO]:
    yield first
    yield second
    async for block in rest:
        yield block
