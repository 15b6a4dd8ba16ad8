"""The algorithms that are deployed, in memory; read again when one has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.algorithms import AlgorithmEntry, algorithm_not_found, list_entries, record_of
from shared.objects.base import ObjectStore
from voxloom.errors import NotFound
from voxloom.models import AlgorithmRecord


class KnownAlgorithms:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._entries: dict[str, AlgorithmEntry] = {}
        self._records: dict[str, AlgorithmRecord] = {}
        self._changes = 1
        self._read_at_change = 0
        self._reading = asyncio.Lock()

    def changed(self) -> None:
        """An algorithm was deployed or removed."""
        self._changes += 1

    async def get(self, algorithm_id: str) -> AlgorithmEntry:
        """Raises NotFound (`algorithm_not_found`)."""
        entry = (await self._all()).get(algorithm_id)
        if entry is None:
            raise algorithm_not_found(algorithm_id)
        return entry

    async def named(self, name: str, major: str) -> AlgorithmEntry:
        """By its exact name, else without regard to case. Raises NotFound (`algorithm_not_found`)."""
        of_major = [entry for entry in (await self._all()).values() if entry.major == major]
        folded = name.casefold()
        found = next((entry for entry in of_major if entry.name == name), None)
        found = found or next((entry for entry in of_major if entry.name.casefold() == folded), None)
        if found is None:
            raise NotFound(
                f"There is no algorithm {name[:200]!r} with major version {major[:20]!r}; "
                "`GET /api/v0/algorithm/all` shows what is deployed.",
                code="algorithm_not_found",
                details={"algorithm_name": name, "algorithm_major_version": major},
            )
        return found

    async def records(self) -> Sequence[AlgorithmRecord]:
        """All of them, by name and major version."""
        await self._all()
        return list(self._records.values())

    async def _all(self) -> dict[str, AlgorithmEntry]:
        if self._read_at_change != self._changes:
            async with self._reading:
                if self._read_at_change != self._changes:
                    await self._read()
        return self._entries

    async def _read(self) -> None:
        changes = self._changes
        entries = [entry async for entry in list_entries(self._store)]
        entries.sort(key=lambda entry: (entry.name.casefold(), entry.name, int(entry.major)))
        self._entries = {entry.algorithm_id: entry for entry in entries}
        self._records = {entry.algorithm_id: record_of(entry) for entry in entries}
        self._read_at_change = changes
