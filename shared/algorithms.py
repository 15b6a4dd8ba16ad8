"""Algorithms in the store: where they lie, and how they are changed. The rules are in shared/versions.py.

In `algorithm-store`:

    entries/<project>/<sha256 of the name, 32 digits>/<major>   one algorithm with all its minor versions
    ids/<algorithm id>                                          where its entry lies

in `module-store`, `<sha256>`: the module of a minor version as a zip, named after its files' paths and contents; in
`asset-store`, `<sha256>`: one asset, and `index/<sha256>`: the assets of a minor version, path → sha256, as JSON. Of
files that can be executed, `+x` follows the sha256 there.

An entry is only ever changed by `If-Match`, and never deleted: without minor versions it counts as absent, so that a
deploy and a removal at the same time cannot undo each other. The contents are shared by whoever has equal ones; what
no entry refers to is swept (services/deployer).
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from shared.objects.base import ABSENT, Condition, ObjectStore, list_all
from shared.versions import (
    AlgorithmEntry,
    Deploy,
    Deployed,
    MinorVersion,
    deploy_to,
    find_minor,
    pin,
    record_of,
    removed_from,
)
from voxloom.contents import EXECUTABLE, canonical, digest_of
from voxloom.errors import Conflict, NotFound
from voxloom.ids import new_id
from voxloom.unpack import is_executable

__all__ = [
    "ASSETS",
    "ENTRIES",
    "MODULES",
    "AlgorithmEntry",
    "AssetIndex",
    "Deploy",
    "Deployed",
    "MinorVersion",
    "add_minor",
    "algorithm_not_found",
    "asset_index",
    "entry_key",
    "fetch_asset",
    "fetch_module",
    "find_minor",
    "index_key",
    "list_entries",
    "load_by_id",
    "load_entry",
    "load_index",
    "module_hash",
    "pack_index",
    "pin",
    "record_of",
    "remove",
]

ENTRIES = "algorithm-store"
MODULES = "module-store"
ASSETS = "asset-store"


# --- names of contents ------------------------------------------------------------------------------------


def module_hash(files: Mapping[str, str]) -> str:
    """The name of a module, from the marked sha256 of each of its files by path."""
    return digest_of(files)


def pack_index(files: Mapping[str, str]) -> tuple[str, bytes]:
    """The name of an asset index and its bytes."""
    return digest_of(files), canonical(files)


def index_key(assets: str) -> str:
    return f"index/{assets}"


def entry_key(project: str, name: str, major: str) -> str:
    return f"entries/{project}/{hashlib.sha256(name.encode()).hexdigest()[:32]}/{major}"


def _id_key(algorithm_id: str) -> str:
    return f"ids/{algorithm_id}"


# --- entries in the store ---------------------------------------------------------------------------------


async def load_entry(store: ObjectStore, project: str, name: str, major: str) -> AlgorithmEntry:
    """Raises NotFound (`algorithm_not_found`)."""
    entry, _ = await _load(store, entry_key(project, name, major))
    if entry is None or not entry.minors:
        raise NotFound(
            f"There is no algorithm {name!r} with major version {major!r}; deploy it first.",
            code="algorithm_not_found",
            details={"algorithm_name": name, "algorithm_major_version": major},
        )
    return entry


async def load_by_id(store: ObjectStore, algorithm_id: str) -> AlgorithmEntry:
    """Raises NotFound (`algorithm_not_found`)."""
    entry, _ = await _load_by_id(store, algorithm_id)
    return entry


async def list_entries(store: ObjectStore) -> AsyncIterator[AlgorithmEntry]:
    """Every algorithm of every project."""
    async for item in list_all(store, ENTRIES, "entries/"):
        entry, _ = await _load(store, item.key)
        if entry is not None and entry.minors:
            yield entry


async def add_minor(store: ObjectStore, deploy: Deploy) -> Deployed:
    """Takes a deploy in, by the version rules; its content is in the store already.

    Of many deploys at the same time each gets its own number, and all get one id. A deploy that comes again changes
    nothing. Raises StoreUnavailable.
    """
    key = entry_key(deploy.project, deploy.manifest.name, deploy.manifest.major)
    fresh_id = new_id()
    noted = False
    while True:
        entry, etag = await _load(store, key)
        deployed = deploy_to(entry, deploy, fresh_id)
        if deployed.entry == entry:
            break
        if deployed.entry.algorithm_id == fresh_id and not noted:
            await store.put(ENTRIES, _id_key(fresh_id), key.encode())
            noted = True
        if await _save(store, key, deployed.entry, etag):
            break
    if noted and deployed.entry.algorithm_id != fresh_id:
        await store.delete(ENTRIES, _id_key(fresh_id))
    return deployed


async def remove(
    store: ObjectStore, algorithm_id: str, minor: str | None = None, *, regardless: bool = False
) -> AlgorithmEntry:
    """Removes one minor version (the last one takes the algorithm with it) or, with None, the algorithm whole.

    Returns the entry as it was before. Contents stay until they are swept.

    Raises:
        NotFound: `algorithm_not_found`, `minor_version_not_found`.
        NotAllowed: `algorithm_not_removable`.
    """
    while True:
        entry, etag = await _load_by_id(store, algorithm_id)
        left = removed_from(entry, minor, regardless=regardless)
        if await _save(store, entry_key(entry.project, entry.name, entry.major), left, etag):
            break
    if not left.minors:
        await store.delete(ENTRIES, _id_key(algorithm_id))
    return entry


async def _load(store: ObjectStore, key: str) -> tuple[AlgorithmEntry | None, str | None]:
    """An entry and the etag to change it with."""
    try:
        info = await store.head(ENTRIES, key)
        entry = AlgorithmEntry.model_validate_json(await store.get(ENTRIES, key))
    except NotFound:
        return None, None
    # Should it be written between the two reads, the etag is the older one, and a change with it is refused.
    return entry, info.etag


async def _load_by_id(store: ObjectStore, algorithm_id: str) -> tuple[AlgorithmEntry, str | None]:
    try:
        key = (await store.get(ENTRIES, _id_key(algorithm_id))).decode()
    except NotFound:
        raise algorithm_not_found(algorithm_id) from None
    entry, etag = await _load(store, key)
    if entry is None or not entry.minors or entry.algorithm_id != algorithm_id:
        raise algorithm_not_found(algorithm_id)
    return entry, etag


async def _save(store: ObjectStore, key: str, entry: AlgorithmEntry, etag: str | None) -> bool:
    """Writes the entry if it is still what was read; False if somebody else was faster."""
    condition = ABSENT if etag is None else Condition(etag=etag)
    try:
        await store.put(ENTRIES, key, entry.model_dump_json().encode(), condition=condition)
    except Conflict:
        return False
    return True


def algorithm_not_found(algorithm_id: str) -> NotFound:
    return NotFound(
        f"There is no algorithm with the id {algorithm_id!r}; it may have been removed.",
        code="algorithm_not_found",
        details={"algorithm_id": algorithm_id},
    )


# --- contents ---------------------------------------------------------------------------------------------


async def fetch_module(store: ObjectStore, module: str, target: Path) -> None:
    """Puts the files of a module into the folder `target`, which appears complete or not at all; does nothing if it is
    there. Its parent must exist. Raises NotFound (`object_not_found`)."""
    if await asyncio.to_thread(target.exists):
        return
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=".module-", dir=target.parent))
    try:
        await store.checkout(MODULES, module, work / "zip")
        await asyncio.to_thread(_place_module, work, target)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _place_module(work: Path, target: Path) -> None:
    with zipfile.ZipFile(work / "zip") as archive:  # Packed by the deployer, which has checked every name.
        archive.extractall(work / "files")
        for info in filter(is_executable, archive.infolist()):
            (work / "files" / info.filename).chmod(0o755)
    try:
        (work / "files").rename(target)
    except OSError:
        if not target.is_dir():  # Else somebody was faster, with the same files.
            raise


class AssetIndex(NamedTuple):
    """The assets of a minor version."""

    contents: dict[str, str]
    """Path → content."""
    executable: frozenset[str]
    """The paths of those that can be executed."""


async def load_index(store: ObjectStore, assets: str) -> AssetIndex:
    """Raises NotFound (`object_not_found`)."""
    index: dict[str, str] = orjson.loads(await store.get(ASSETS, index_key(assets)))
    contents = {path: content.removesuffix(EXECUTABLE) for path, content in index.items()}
    return AssetIndex(contents, frozenset(path for path, content in index.items() if content.endswith(EXECUTABLE)))


async def asset_index(store: ObjectStore, assets: str) -> dict[str, str]:
    """The assets of a minor version: path → content. Raises NotFound (`object_not_found`)."""
    return (await load_index(store, assets)).contents


async def fetch_asset(store: ObjectStore, content: str, target: Path) -> None:
    """Places one asset at the path `target`, as a link where possible; it must not be written to.

    Raises NotFound (`object_not_found`).
    """
    await store.checkout(ASSETS, content, target)
