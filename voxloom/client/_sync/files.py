# Generated from voxloom/client/_async/files.py by `python -m voxloom.client._generate`; edit that file.

"""Files: up and down, many at a time, never whole in memory unless the caller asks for arrays. What is downloaded is
compared with the digest that the server tells of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from voxloom import imagefiles
from voxloom.client._bodies import CHUNK
from voxloom.client._digests import Taking
from voxloom.client._inputs import Datasets, FileId, Item, Upload, WholeFile, open_body
from voxloom.client._outputs import Progress, Stack, Tally, unwrap
from voxloom.client._problems import parse
from voxloom.client._sio import in_thread, parallel
from voxloom.client._sync.transport import Transport, path_of
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import is_id
from voxloom.models import FileUploadResponse

AT_ONCE = 8
"""Files under way at the same time."""


class Files:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, upload: Upload) -> str:
        """The id of the file, which is on the server now."""
        if isinstance(upload, FileId):
            return upload.file_id
        return self._send(upload)

    def _send(self, upload: WholeFile | Datasets | Item) -> str:
        with ExitStack() as opened:
            body = in_thread(opened.enter_context, open_body(upload))
            response = self._transport.request("POST", "/api/v0/files", body=body, content_type="application/x-hdf5")
        return parse(FileUploadResponse, response).file_id

    def send_all(self, uploads: Sequence[Upload], progress: Progress | None = None) -> list[str]:
        tally = Tally(progress, len(uploads))

        def send(upload: Upload) -> str:
            file_id = self.send(upload)
            tally.one_more()
            return file_id

        return parallel(send, uploads, AT_ONCE)

    def save(self, file_id: str, path: Path) -> Path:
        """Downloads to `path`, which appears when it is complete. Raises Damaged (`download_damaged`)."""
        with imagefiles.replacing(path) as draft:
            self._fetch(file_id, draft)
        return path

    def export(self, name: str, major: int | str, path: Path, params: Mapping[str, Any]) -> Path:
        """Saves an algorithm's zip to `path`, which appears when it is complete."""
        route = path_of("api", "v0", "algorithm", name, str(major), "export")
        with imagefiles.replacing(path) as draft:
            self._write(route, draft, params)
        return path

    def load(self, file_id: str) -> imagefiles.Datasets:
        with tempfile.TemporaryDirectory(prefix="voxloom-") as folder:
            path = Path(folder) / "download.h5"
            self._fetch(file_id, path)
            return in_thread(imagefiles.read_datasets, path)

    def files_among(self, outputs: Sequence[str]) -> list[str]:
        """The outputs that are files of the server; an algorithm may return texts, too."""
        return [one for one in outputs if is_id(one) or self._is_file(one)]

    def _is_file(self, name: str) -> bool:
        """A client may have named a file as it liked, and an algorithm have handed it through."""
        if not name:
            return False
        try:
            self._transport.request("GET", path_of("api", "v1", "files", name))
        except (NotFound, InvalidInput):
            return False
        return True

    def _value(self, output: str) -> Any:
        return unwrap(self.load(output)) if is_id(output) or self._is_file(output) else output

    def load_all(self, file_ids: Sequence[str], progress: Progress | None = None) -> Stack:
        """The outputs in order: of each file an array where it holds one and nothing else; texts are as they are."""
        stack = Stack(len(file_ids))
        tally = Tally(progress, len(file_ids))

        def load(index: int) -> None:
            value = self._value(file_ids[index])
            in_thread(stack.put, index, value)
            tally.one_more()

        parallel(load, range(len(file_ids)), AT_ONCE)
        return stack

    def delete(self, file_id: str) -> None:
        self._transport.request("DELETE", path_of("api", "v0", "files", file_id))

    def _fetch(self, file_id: str, path: Path) -> None:
        self._write(path_of("api", "v0", "files", file_id), path)

    def _write(self, route: str, path: Path, params: Mapping[str, Any] | None = None) -> None:
        with path.open("wb") as file, self._transport.stream(route, params=params) as response:
            taking = Taking(file, response.headers)
            for chunk in response.iter_raw(CHUNK):
                in_thread(taking.add, chunk)
            taking.check()
