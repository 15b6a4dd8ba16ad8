"""Modules and assets in the store: put there once each, and removed when nobody has referred to them for a day.

`unreferenced` in `algorithm-store` says since when nothing refers to what is left over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from shared.algorithms import ASSETS, ENTRIES, MODULES, asset_index, index_key, list_entries, module_hash, pack_index
from shared.checkpoints import list_checkpoints
from shared.objects.base import FileUpload, ObjectStore, list_all
from shared.objects.hashing import digest_at
from shared.versions import Content
from voxloom.bundle import PYPROJECT, pack_files
from voxloom.digests import named
from voxloom.errors import NotFound
from voxloom.models import Moment
from voxloom.unpack import Algorithm, Unpacked

KEPT_FOR = timedelta(hours=24)
"""How long content stays without a reference: a deploy under way, or a run of a removed version, may need it."""

_AT_ONCE = 64
_LEDGER = "unreferenced"
_SINCE: TypeAdapter[dict[str, Moment]] = TypeAdapter(dict[str, Moment])


class Contents:
    """Both jobs in one place, since what one is about to remove the other must not take for present."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = asyncio.Lock()

    async def put(self, algorithm: Algorithm, plain: str, work: Path) -> Content:
        """Stores what is not in the store yet. The files of the assets are moved away; `work` is for the module, and
        `plain` the sha256 of its pyproject without name and version."""
        hashes = {path: file.content for path, file in algorithm.assets.items()}
        assets, index = pack_index(hashes)
        module = module_hash({path: file.content for path, file in algorithm.module.items()})
        packed = work / "module.zip"
        places = {path: file.place for path, file in algorithm.module.items()}
        await asyncio.to_thread(_pack, places, packed)
        digest = await asyncio.to_thread(digest_at, packed)
        places_of_assets = _by_content(algorithm.assets.values())
        async with self._lock:
            doubtful = await self._load_ledger()
            await self._put_files(MODULES, {module: packed}, {module: digest}, doubtful)
            await self._put_files(ASSETS, places_of_assets, {name: named(name) for name in places_of_assets}, doubtful)
            await self._store.put(ASSETS, index_key(assets), index)
        return Content(
            module=module,
            assets=assets,
            module_bytes=_bytes(algorithm.module),
            asset_bytes=_bytes(algorithm.assets),
            asset_count=len(algorithm.assets),
            unnamed=pack_index({**hashes, PYPROJECT: plain})[0],
        )

    async def _put_files(
        self, collection: str, places: Mapping[str, Path], digests: Mapping[str, str], doubtful: Iterable[str]
    ) -> None:
        """Stores the files under their keys. What is there is left alone, but for what may be swept at any time: put
        again, it is young."""
        keys = list(places)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            there = await asyncio.gather(*(self._is_there(collection, key) for key in some))
            missing = [
                FileUpload(key, places[key], digest=digests[key])
                for key, present in zip(some, there, strict=True)
                if not present or _name(collection, key) in doubtful
            ]
            await self._store.put_files(collection, missing)

    async def _is_there(self, collection: str, key: str) -> bool:
        try:
            await self._store.head(collection, key)
        except NotFound:
            return False
        return True

    async def sweep(self, now: datetime) -> int:
        """Removes content that nothing has referred to for KEPT_FOR. Returns how many objects.

        What is found without a reference for the first time is only noted. Of several processes that sweep and deploy
        at the same time, one may remove what another puts again within the same few milliseconds.
        """
        async with self._lock:
            present = [name async for name in self._list()]
            referred = await self._references()
            known = await self._load_ledger()
            since = {name: known.get(name, now) for name in present if name not in referred}
            due = [name for name, first in since.items() if now - first >= KEPT_FOR]
            removed = {name for name in due if await self._remove_old(name, now)}
            await self._save_ledger({name: first for name, first in since.items() if name not in removed})
        return len(removed)

    async def _list(self) -> AsyncIterator[str]:
        for collection in (MODULES, ASSETS):
            async for item in list_all(self._store, collection):
                yield _name(collection, item.key)

    async def _references(self) -> set[str]:
        versions = [version async for entry in list_entries(self._store) for version in entry.minors.values()]
        names = {_name(MODULES, version.module) for version in versions}
        for assets in {version.assets for version in versions}:
            names.add(_name(ASSETS, index_key(assets)))
            names.update(_name(ASSETS, content) for content in (await asset_index(self._store, assets)).values())
        async for checkpoint in list_checkpoints(self._store):
            names.update(_name(ASSETS, content) for content in checkpoint.assets.values())
        return names

    async def _remove_old(self, name: str, now: datetime) -> bool:
        collection, _, key = name.partition("/")
        try:
            info = await self._store.head(collection, key)
        except NotFound:
            return True
        if now - info.modified < KEPT_FOR:
            return False
        await self._store.delete(collection, key)
        return True

    async def _load_ledger(self) -> dict[str, datetime]:
        try:
            return dict(_SINCE.validate_json(await self._store.get(ENTRIES, _LEDGER)))
        except NotFound:
            return {}

    async def _save_ledger(self, since: Mapping[str, datetime]) -> None:
        await self._store.put(ENTRIES, _LEDGER, _SINCE.dump_json(dict(since)))


def _name(collection: str, key: str) -> str:
    return f"{collection}/{key}"


def _by_content(files: Iterable[Unpacked]) -> dict[str, Path]:
    return {file.sha256: file.place for file in files}


def _bytes(files: Mapping[str, Unpacked]) -> int:
    return sum(file.size for file in files.values())


def _pack(places: dict[str, Path], target: Path) -> None:
    with target.open("wb") as file:
        pack_files(places, file)
