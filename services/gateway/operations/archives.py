"""An algorithm as a zip that deploys again, put together while it is sent: needs no room for its assets."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import quote

from shared import checkpoints
from shared.algorithms import ASSETS, MODULES, AlgorithmEntry, MinorVersion, find_minor, load_index
from shared.caller import Caller
from shared.objects.base import CHUNK, ObjectStore
from voxloom.bundle import PYPROJECT, zip_entry
from voxloom.errors import NotAllowed, NotFound, VoxloomError
from voxloom.identity import with_identity, with_overrides
from voxloom.unpack import is_executable


@dataclass(frozen=True)
class Plan:
    """What goes into the zip."""

    entry: AlgorithmEntry
    version: MinorVersion
    pyproject: bytes
    assets: dict[str, str]
    """Of every other asset, its content by its path."""
    sizes: dict[str, int]
    """Of every content."""
    executable: frozenset[str] = frozenset()
    """The paths of those assets that can be executed."""


class Wanted(NamedTuple):
    entry: AlgorithmEntry
    minor: str | None
    """None: the latest."""
    checkpoint_id: str | None


async def plan(store: ObjectStore, caller: Caller, wanted: Wanted) -> Plan:
    """Looks at everything before a byte is sent.

    Raises:
        NotAllowed: `algorithm_not_exportable`.
        NotFound: `minor_version_not_found`, `checkpoint_not_found`.
    """
    entry, minor, checkpoint_id = wanted
    if not entry.about.exportable:
        raise _not_exportable(entry)
    version = find_minor(entry, minor)
    index = await load_index(store, version.assets)
    raw = await store.get(ASSETS, index.contents[PYPROJECT])
    pyproject = await asyncio.to_thread(_pyproject, raw, entry, version)
    assets = {**index.contents, **await _learnt(store, caller, entry, checkpoint_id)}
    del assets[PYPROJECT]  # What an algorithm says of itself is not learnt.
    sizes = {key: info.size for key, info in (await store.head_many(ASSETS, assets.values())).items()}
    if missing := set(assets.values()) - sizes.keys():
        raise VoxloomError(f"{len(missing)} assets of {entry.name} {entry.major}.{version.minor} are not in the store")
    return Plan(entry, version, pyproject, assets, sizes, index.executable)


def _pyproject(raw: bytes, entry: AlgorithmEntry, version: MinorVersion) -> bytes:
    named = with_identity(raw, entry.name, entry.major, version.minor)
    return with_overrides(named, removable=entry.about.removable, exportable=entry.about.exportable)


async def _learnt(
    store: ObjectStore, caller: Caller, entry: AlgorithmEntry, checkpoint_id: str | None
) -> dict[str, str]:
    if checkpoint_id is None:
        return {}
    checkpoint = await checkpoints.load(store, checkpoint_id)
    if not caller.owns(checkpoint.project):
        raise checkpoints.checkpoint_not_found(checkpoint_id)
    if checkpoint.algorithm_id != entry.algorithm_id:
        raise NotFound(
            f"The checkpoint {checkpoint_id} belongs to another algorithm than {entry.name} {entry.major}.",
            code="checkpoint_not_found",
            details={"checkpoint_id": checkpoint_id},
        )
    return checkpoint.assets


def _not_exportable(entry: AlgorithmEntry) -> NotAllowed:
    return NotAllowed(
        f"The algorithm {entry.name!r} {entry.major} is not exportable; deploy it with exportable = true if it may be.",
        code="algorithm_not_exportable",
        details={
            "algorithm_id": entry.algorithm_id,
            "algorithm_name": entry.name,
            "algorithm_major_version": entry.major,
        },
    )


@asynccontextmanager
async def opened(store: ObjectStore, plan: Plan) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of the zip. Whatever may be missing is found out before there are any."""
    work = store.scratch / f"export-{secrets.token_hex(8)}"
    try:
        await asyncio.to_thread(work.mkdir)
        await store.checkout(MODULES, plan.version.module, work / "module.zip")
        yield _zip(store, plan, work / "module.zip")
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def disposition(entry: AlgorithmEntry) -> str:
    name = f"{entry.name}_v{entry.major}"
    plain = name.encode("ascii", "replace").decode().replace("?", "_") if not name.isascii() else name
    told = f'attachment; filename="{plain.replace(chr(34), "_")}"'
    return told if name.isascii() else f"{told}; filename*=UTF-8''{quote(name)}"


class _Sink:
    """Keeps what a zip is written to until it is taken."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._kept.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        return

    def take(self) -> bytes:
        taken = b"".join(self._kept)
        self._kept.clear()
        return taken


async def _zip(store: ObjectStore, plan: Plan, module: Path) -> AsyncIterator[bytes]:
    sink = _Sink()
    archive = zipfile.ZipFile(cast(IO[bytes], sink), "w")  # It is written to, and flushed; no more than that.
    yield await asyncio.to_thread(_begin, archive, sink, plan, module)
    for path, content in sorted(plan.assets.items()):
        entry = zip_entry(path, plan.sizes[content], executable=path in plan.executable)
        with archive.open(entry, "w") as writer:
            async for piece in store.stream(ASSETS, content):
                yield await asyncio.to_thread(_add, writer, sink, piece)
    await asyncio.to_thread(archive.close)
    yield sink.take()


def _begin(archive: zipfile.ZipFile, sink: _Sink, plan: Plan, module: Path) -> bytes:
    """The pyproject and the module, which is bounded."""
    own = zip_entry(PYPROJECT, len(plan.pyproject), executable=PYPROJECT in plan.executable)
    archive.writestr(own, plan.pyproject)
    with zipfile.ZipFile(module) as packed:
        for info in packed.infolist():
            entry = zip_entry(info.filename, info.file_size, executable=is_executable(info))
            with packed.open(info) as reader, archive.open(entry, "w") as writer:
                shutil.copyfileobj(reader, writer, CHUNK)
    return sink.take()


def _add(writer: IO[bytes], sink: _Sink, piece: bytes) -> bytes:
    writer.write(piece)
    return sink.take()
