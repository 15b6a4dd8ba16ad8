"""The inspecting processes from the outside: asked about a file each, and killed when they do not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from shared.hdf5 import inspector
from shared.hdf5.limited_processes import Helper, Helpers
from voxloom.errors import InvalidInput
from voxloom.models import DatasetInfo


class Inspectors:
    """Up to `most` processes, each with one file at a time; those that are not needed stay warm."""

    def __init__(self, *, most: int, memory: int, timeout: float, limit: int) -> None:
        self._timeout = timeout
        self._limit = limit
        self._helpers = Helpers(inspector, most=most, memory=memory, timeout=timeout)

    async def warm_up(self) -> None:
        """Starts one process; it gets ready by itself. Raises Unavailable."""
        await self._helpers.warm_up()

    async def inspect(self, path: Path) -> list[DatasetInfo]:
        """The datasets of an HDF5 file.

        Raises:
            InvalidInput: `invalid_hdf5_file`: it is none, or none that may be opened; the message says why.
            Unavailable: no process could be started.
        """
        async with self._helpers.lend() as helper:
            reply = await self._ask(helper, path)
            helper.leaving = bool(reply.get("leaving"))
        if "datasets" not in reply:
            raise refused(str(reply.get("refused")))
        return [DatasetInfo.model_validate(dataset) for dataset in reply["datasets"]]

    async def close(self) -> None:
        await self._helpers.close()

    async def _ask(self, helper: Helper, path: Path) -> dict[str, Any]:
        await helper.send(orjson.dumps({"path": str(path), "limit": self._limit}), b"\n")
        try:
            async with asyncio.timeout(self._timeout):
                line = await helper.replies.readline()
        except TimeoutError:
            raise refused(f"opening it took longer than {self._timeout:g} s") from None
        if not line.endswith(b"\n"):
            raise refused("it crashes the HDF5 library or needs too much memory to open")
        answer: dict[str, Any] = orjson.loads(line)
        return answer


def refused(reason: str) -> InvalidInput:
    return InvalidInput(f"The file was refused: {reason}.", code="invalid_hdf5_file")
