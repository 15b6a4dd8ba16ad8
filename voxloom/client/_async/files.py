"""Files: up and down, many at a time, never whole in memory unless the caller asks for arrays. What is downloaded is
compared with the digest that the server tells of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from voxloom import imagefiles
from voxloom.client._aio import in_thread, parallel
from voxloom.client._async.transport import AsyncTransport, path_of
from voxloom.client._bodies import CHUNK
from voxloom.client._digests import Taking
from voxloom.client._inputs import Datasets, FileId, Item, Upload, WholeFile, open_body
from voxloom.client._outputs import Progress, Stack, Tally, unwrap
from voxloom.client._problems import parse
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import is_id
from voxloom.models import FileUploadResponse

AT_ONCE = 8
"""Files under way at the same time."""


class AsyncFiles:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def send(self, upload: Upload) -> str:
        """The id of the file, which is on the server now."""
        if isinstance(upload, FileId):
            return upload.file_id
        return await self._send(upload)

    async def _send(self, upload: WholeFile | Datasets | Item) -> str:
        with ExitStack() as opened:
            body = await in_thread(opened.enter_context, open_body(upload))
            response = await self._transport.request(
                "POST", "/api/v0/files", body=body, content_type="application/x-hdf5"
            )
        return parse(FileUploadResponse, response).file_id

    async def send_all(self, uploads: Sequence[Upload], progress: Progress | None = None) -> list[str]:
        tally = Tally(progress, len(uploads))

        async def send(upload: Upload) -> str:
            file_id = await self.send(upload)
            tally.one_more()
            return file_id

        return await parallel(send, uploads, AT_ONCE)

    async def save(self, file_id: str, path: Path) -> Path:
        """Downloads to `path`, which appears when it is complete. Raises Damaged (`download_damaged`)."""
        with imagefiles.replacing(path) as draft:
            await self._fetch(file_id, draft)
        return path

    async def export(self, name: str, major: int | str, path: Path, params: Mapping[str, Any]) -> Path:
        """Saves an algorithm's zip to `path`, which appears when it is complete."""
        route = path_of("api", "v0", "algorithm", name, str(major), "export")
        with imagefiles.replacing(path) as draft:
            await self._write(route, draft, params)
        return path

    async def load(self, file_id: str) -> imagefiles.Datasets:
        with tempfile.TemporaryDirectory(prefix="voxloom-") as folder:
            path = Path(folder) / "download.h5"
            await self._fetch(file_id, path)
            return await in_thread(imagefiles.read_datasets, path)

    async def files_among(self, outputs: Sequence[str]) -> list[str]:
        """The outputs that are files of the server; an algorithm may return texts, too."""
        return [one for one in outputs if is_id(one) or await self._is_file(one)]

    async def _is_file(self, name: str) -> bool:
        """A client may have named a file as it liked, and an algorithm have handed it through."""
        if not name:
            return False
        try:
            await self._transport.request("GET", path_of("api", "v1", "files", name))
        except (NotFound, InvalidInput):
            return False
        return True

    async def _value(self, output: str) -> Any:
        return unwrap(await self.load(output)) if is_id(output) or await self._is_file(output) else output

    async def load_all(self, file_ids: Sequence[str], progress: Progress | None = None) -> Stack:
        """The outputs in order: of each file an array where it holds one and nothing else; texts are as they are."""
        stack = Stack(len(file_ids))
        tally = Tally(progress, len(file_ids))

        async def load(index: int) -> None:
            value = await self._value(file_ids[index])
            await in_thread(stack.put, index, value)
            tally.one_more()

        await parallel(load, range(len(file_ids)), AT_ONCE)
        return stack

    async def delete(self, file_id: str) -> None:
        await self._transport.request("DELETE", path_of("api", "v0", "files", file_id))

    async def _fetch(self, file_id: str, path: Path) -> None:
        await self._write(path_of("api", "v0", "files", file_id), path)

    async def _write(self, route: str, path: Path, params: Mapping[str, Any] | None = None) -> None:
        with path.open("wb") as file:
            async with self._transport.stream(route, params=params) as response:
                taking = Taking(file, response.headers)
                async for chunk in response.aiter_raw(CHUNK):
                    await in_thread(taking.add, chunk)
                taking.check()
