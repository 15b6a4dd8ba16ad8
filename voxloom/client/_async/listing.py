"""Which files there are, and what is in them, without downloading any."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

import numpy as np

from voxloom.client._async.pages import pages
from voxloom.client._async.transport import AsyncTransport, path_of
from voxloom.client._problems import parse
from voxloom.filemodels import FileInfo, FileKind, FileRecord, FileSummary
from voxloom.keepmodels import KeepRecord


def _keep_of(kind: str, identity: str) -> str:
    return path_of("api", "v1", kind, identity, "keep")


class AsyncLooking:
    """What the client offers of that."""

    _transport: AsyncTransport

    async def files(
        self,
        *,
        kind: FileKind | None = None,
        name: str | None = None,
        sample: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        expiring_within: float | None = None,
        sort: Literal["newest", "oldest", "largest", "smallest"] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[FileSummary]:
        """Files, newest first, fetched page by page as they are asked for; `limit` of them at most.

        Args:
            kind: `upload` or `output`: who has made them.
            name: what their ids contain.
            sample: the id of a sample that they are of.
            since: made then or later; `until`: before.
            expiring_within: only those that can expire within so many days, the first to go first.
        """
        query = {
            "kind": kind,
            "name": name,
            "sample_id": sample,
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
            "expiring_within": expiring_within,
            "sort": sort,
        }
        async for one in pages(self._transport, "/api/v1/files", FileSummary, query, limit):
            yield one

    async def file(self, file_id: str) -> FileRecord:
        """One file: its size, who made it, what refers to it, when it may go."""
        return parse(FileRecord, await self._transport.request("GET", path_of("api", "v1", "files", file_id)))

    async def keep(self, file_id: str) -> KeepRecord:
        """From now on the file does not expire. Raises NotFound (`file_not_found`)."""
        return parse(KeepRecord, await self._transport.request("PUT", _keep_of("files", file_id)))

    async def release(self, file_id: str) -> KeepRecord:
        """The file expires again, unless its run is kept, or a sample uses it."""
        return parse(KeepRecord, await self._transport.request("DELETE", _keep_of("files", file_id)))

    async def keep_execution(self, execution_id: str) -> KeepRecord:
        """From now on its record, its log and its outputs do not expire. Raises Conflict (`execution_not_ended`)."""
        return parse(KeepRecord, await self._transport.request("PUT", _keep_of("executions", execution_id)))

    async def release_execution(self, execution_id: str) -> KeepRecord:
        """Its record, its log and its outputs expire again."""
        return parse(KeepRecord, await self._transport.request("DELETE", _keep_of("executions", execution_id)))

    async def keep_training(self, training_id: str) -> KeepRecord:
        """From now on its record and its log do not expire. Raises Conflict (`training_not_ended`)."""
        return parse(KeepRecord, await self._transport.request("PUT", _keep_of("trainings", training_id)))

    async def release_training(self, training_id: str) -> KeepRecord:
        """Its record and its log expire again."""
        return parse(KeepRecord, await self._transport.request("DELETE", _keep_of("trainings", training_id)))

    async def file_info(self, file_id: str) -> FileInfo:
        """What is in a file: its datasets, how they are stored, statistics of small ones."""
        return parse(FileInfo, await self._transport.request("GET", path_of("api", "v1", "files", file_id, "info")))

    async def slice(
        self, file_id: str, dataset: str | None = None, axis: int | None = None, index: int | None = None
    ) -> np.ndarray:
        """The values of one slice, with the dtype of the file; only the chunks that it crosses are read.

        Args:
            dataset: its name in the file; not needed where there is one alone.
            axis: where to cut; the first axis by default.
            index: from 0 on; without it, H × W and 3 × H × W values come whole.
        """
        path = path_of("api", "v1", "files", file_id, "slice")
        query = {"dataset": dataset, "axis": axis, "index": index, "format": "npy"}
        response = await self._transport.request("GET", path, params=query)
        values: np.ndarray = np.load(io.BytesIO(response.content), allow_pickle=False)
        return values
