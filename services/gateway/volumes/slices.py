"""Looking into files: processes with limits open them, where they lie or by the bytes that they ask for here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from services.gateway.volumes.blocks import Blocks
from shared.files import COLLECTION, Located
from shared.hdf5 import reader
from shared.hdf5.limited_processes import Helper, Helpers
from shared.hdf5.slice_plan import MOST_BYTES
from shared.newest import Newest
from shared.objects.base import ObjectStore
from shared.settings import Settings
from shared.validation import refused
from voxloom.errors import InvalidInput, NotFound, Unavailable, VoxloomError
from voxloom.ids import new_id

KEPT_INFOS = 256
LARGEST_INFO = 1 << 20
TURN_SECS = 30.0
"""How long a request waits while others look into files."""

Reply = dict[str, Any]


class Looking:
    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self.blocks = Blocks(store)
        self._store = store
        self._settings = settings
        self._infos: Newest[str, Any] = Newest(KEPT_INFOS)
        self._most = max(2, os.cpu_count() or 1)
        self._turns = asyncio.Semaphore(self._most)
        self._readers = Helpers(
            reader, most=self._most, memory=settings.inspect_memory, timeout=settings.inspect_timeout
        )

    async def close(self) -> None:
        await self._readers.close()

    async def info(self, file: Located) -> Reply:
        """What is in the file, as `contents.describe` tells it. Raises what `slice` does."""
        kept = self._infos.get(file.info.etag)
        if kept is None:
            kept, _ = await self._ask(file, {"do": "info"})
            self._keep(file.info.etag, kept)
        described: Reply = kept
        return described

    async def slice(self, file: Located, request: Mapping[str, Any]) -> bytes:
        """A slice, encoded as the request says.

        Raises:
            InvalidInput: the request does not fit the file; or (`invalid_hdf5_file`) the file cannot be read.
            NotFound: it is gone by now.
            Unavailable: too many look into files (`server_busy`), or it takes too long (`answer_timeout`).
        """
        _, payload = await self._ask(file, {"do": "slice", **request})
        return payload

    async def _ask(self, file: Located, request: Mapping[str, Any]) -> tuple[Any, bytes]:
        await self._wait_for_turn()
        try:
            async with (
                self._readers.lend() as helper,
                asyncio.timeout(self._settings.inspect_timeout),
                self._placed(file) as path,
            ):
                reply, payload = await self._converse(helper, file, {**request, "path": path})
        except TimeoutError:
            raise _too_slow(self._settings.inspect_timeout) from None
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        except NotFound as error:
            raise NotFound(
                f"The file {file.file_id[:200]!r} is gone by now.",
                code="file_not_found",
                details={"object_name": file.file_id},
            ) from error
        finally:
            self._turns.release()
        return _checked(reply), payload

    @asynccontextmanager
    async def _placed(self, file: Located) -> AsyncIterator[str | None]:
        """Where the file lies, for as long as it is looked into; None where its bytes are far away. Raises NotFound."""
        if not self._store.is_here:
            yield None
            return
        place = self._store.scratch / f"look-{new_id()}"
        try:
            # A picture needs few of the bytes: to check them all would take far longer.
            info = await self._store.checkout(COLLECTION, file.info.key, place, check=False)
            if info.etag != file.info.etag:
                raise NotFound("The file was replaced while it was read; ask again.", code="object_not_found")
            yield str(place)
        finally:
            await asyncio.to_thread(place.unlink, missing_ok=True)

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(TURN_SECS):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("Too many look into files just now; try again in a moment.", code="server_busy") from None

    async def _converse(self, helper: Helper, file: Located, request: Mapping[str, Any]) -> tuple[Reply, bytes]:
        """Gives the process what it asks for until it has an answer."""
        size = file.info.size
        await _say(helper, {**request, "size": size, "limit": self._settings.max_dataset_bytes})
        while True:
            reply = await _hear(helper)
            if "read" in reply:
                start, stop = _within(reply["read"], size)
                await helper.send(*await self.blocks.read(COLLECTION, file.info, start, stop))
            elif "need" in reply:
                spans = [_within(span, size) for span in reply["need"]]
                await self.blocks.prefetch(COLLECTION, file.info, spans)
            else:
                helper.leaving = bool(reply.get("leaving"))
                return reply, await _payload(helper, reply)

    def _keep(self, etag: str, info: Any) -> None:
        if len(orjson.dumps(info)) <= LARGEST_INFO:
            self._infos[etag] = info


async def _say(helper: Helper, request: Mapping[str, Any]) -> None:
    await helper.send(orjson.dumps(request), b"\n")


async def _hear(helper: Helper) -> Reply:
    line = await helper.replies.readline()
    if not line.endswith(b"\n"):
        raise _unreadable("it crashes the HDF5 library, or needs too much memory or time")
    reply: Reply = orjson.loads(line)
    return reply


async def _payload(helper: Helper, reply: Reply) -> bytes:
    size = int(reply.get("bytes", 0))
    if size > 2 * MOST_BYTES:
        raise _unreadable("it makes its reader talk nonsense")
    try:
        return await helper.replies.readexactly(size)
    except asyncio.IncompleteReadError:
        raise _unreadable("it crashes the HDF5 library, or needs too much memory or time") from None


def _within(span: Any, size: int) -> tuple[int, int]:
    """The process has opened a file that nobody trusts, so neither is what it says."""
    start, stop = int(span[0]), int(span[1])
    if not 0 <= start < stop <= size:
        raise _unreadable("it refers to bytes that it does not have")
    return start, stop


def _checked(reply: Reply) -> Any:
    if "wrong" in reply:
        where = str(reply["where"])
        raise refused([{"loc": [where], "msg": str(reply["wrong"]).rstrip(".")}])
    if "refused" in reply:
        raise _unreadable(str(reply["refused"]))
    return reply["done"]


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(f"The file cannot be looked into: {why}.", code="invalid_hdf5_file")


def _too_slow(seconds: float) -> Unavailable:
    return Unavailable(
        f"Reading the file takes longer than {seconds:g} s. Try again, take another axis, or download it.",
        code="answer_timeout",
    )


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What one of several reads has failed with; the others were cancelled for it."""
    found = group.subgroup(VoxloomError)
    return found.exceptions[0] if found is not None else group
