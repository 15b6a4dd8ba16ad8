"""Data files in the store: where they lie, who may see them.

In `data-store`:

    files/<id>                        the bytes; metadata `project`, and `run`, `attempt` where a run has made them
    entries/<id>                      the commit of an uploaded file: it was inspected and can be used
    uploads/…                         what somebody has put through a URL, and nobody has looked at yet
    deleting/<id>                     somebody is about to delete the file: no sample may refer to it any more
    staged/<run>/<attempt>/<number>   the ids that one attempt has posted in one go, so that they can be swept

An uploaded file is visible once its entry is there. A run's file is visible once the run has COMPLETED with the very
attempt that posted it; nothing is renamed or copied for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from messages.base import DEFAULT_PROJECT
from shared.file_names import Names
from shared.objects.base import ABSENT, AT_ONCE, EXPIRING, FileUpload, ObjectInfo, ObjectStore, list_all
from shared.objects.checks import LONGEST_KEY, checked_key
from voxloom.errors import Conflict, InvalidInput, NotFound
from voxloom.models import DatasetInfo, Moment, Status, Value

COLLECTION = "data-store"

_LOCATED_AT_ONCE = 500
"""Others' work comes in between."""


def bytes_key(file_id: str) -> str:
    return f"files/{file_id}"


def entry_key(file_id: str) -> str:
    return f"entries/{file_id}"


def deleting_key(file_id: str) -> str:
    return f"deleting/{file_id}"


def staged_prefix(run: str, attempt: int | None = None) -> str:
    return f"staged/{run}/" if attempt is None else f"staged/{run}/{attempt:06d}/"


class FileEntry(Value):
    """What ingest knows of an uploaded file that it has committed."""

    file_id: str
    project: str
    size: int
    etag: str
    time: Moment
    datasets: list[DatasetInfo]


@dataclass(frozen=True)
class Settled:
    """How a run ended: what decides whether its files can be seen."""

    status: Status
    attempt: int


SettledOf = Callable[[str], Awaitable[Settled | None]]
"""How a run stands; None where there is no record of it any more."""


@dataclass(frozen=True)
class Located:
    """A file whose bytes are in the store, whether or not it may be seen yet."""

    file_id: str
    info: ObjectInfo
    project: str
    committed: bool
    """It was uploaded, and found to be good."""
    run: str | None
    attempt: int


async def locate(store: ObjectStore, file_id: str) -> Located:
    """Finds a file. Raises NotFound (`file_not_found`) if there are no bytes under that id."""
    found = await locate_many(store, [file_id])
    if file_id not in found:
        raise file_not_found(file_id)
    return found[file_id]


async def locate_many(store: ObjectStore, file_ids: Iterable[str]) -> dict[str, Located]:
    """Those of the files that have bytes in the store, in the order of their ids."""
    wanted = list(dict.fromkeys(file_ids))
    found: dict[str, Located] = {}
    for start in range(0, len(wanted), _LOCATED_AT_ONCE):
        possible = [file_id for file_id in wanted[start : start + _LOCATED_AT_ONCE] if _can_be(file_id)]
        keys = [key for file_id in possible for key in (bytes_key(file_id), entry_key(file_id))]
        infos = await store.head_many(COLLECTION, keys)
        found |= {file_id: _located(file_id, infos) for file_id in possible if bytes_key(file_id) in infos}
    return found


def check_name(names: Names, name: str) -> None:
    """Raises InvalidInput for a name that no file can have."""
    first = names.new(name)[0]
    if not names.plain(name).strip() or not _can_be(first):
        room = LONGEST_KEY - len(deleting_key(first).encode("utf-8", "replace")) + len(name.encode("utf-8", "replace"))
        raise InvalidInput(
            f"A file's name is text of 1 to {room} bytes without NUL; choose another one.",
            code="request_validation_error",
            details={"errors": [{"loc": ["name"], "msg": "must be a name that a file can have"}]},
        )


async def free_id(store: ObjectStore, names: Names, name: str) -> str:
    """The id of a new file that is called so. Raises InvalidInput (`file_exists`) where others have them all."""
    possible = names.new(name)
    taken = await locate_many(store, possible)
    for file_id in possible:
        if _can_be(file_id) and (file_id not in taken or taken[file_id].project == names.project):
            return file_id
    raise InvalidInput("That name is taken; choose another one.", code="file_exists")


def _can_be(file_id: str) -> bool:
    """Whether the id could be part of all its keys: of the longest."""
    try:
        checked_key(deleting_key(file_id))
    except InvalidInput:
        return False
    return True


def _located(file_id: str, infos: Mapping[str, ObjectInfo]) -> Located:
    info = infos[bytes_key(file_id)]
    return Located(
        file_id=file_id,
        info=info,
        project=info.metadata.get("project") or DEFAULT_PROJECT,
        committed=entry_key(file_id) in infos,
        run=info.metadata.get("run"),
        attempt=int(info.metadata.get("attempt", "0")),
    )


def is_visible(file: Located, settled: Settled | None) -> bool:
    """Whether others than its maker may see the file. `settled` is the end of `file.run`: None where no record is left
    (what must not be seen is swept long before its record expires). A run that has not ended is Settled with its
    present status."""
    if file.committed:
        return True
    if file.run is None:
        return False
    if settled is None:
        return True
    return settled.status is Status.COMPLETED and settled.attempt == file.attempt


async def find_visible(store: ObjectStore, file_ids: Iterable[str], settled_of: SettledOf) -> dict[str, Located]:
    """Those of the files that others than their maker may see, in the order of their ids."""
    located = await locate_many(store, file_ids)
    runs = list(dict.fromkeys(file.run for file in located.values() if file.run and not file.committed))
    settled: dict[str | None, Settled | None] = {}
    for start in range(0, len(runs), AT_ONCE):
        some = runs[start : start + AT_ONCE]
        settled |= zip(some, await asyncio.gather(*map(settled_of, some)), strict=True)
    return {file_id: file for file_id, file in located.items() if is_visible(file, settled.get(file.run))}


def file_not_found(file_id: str) -> NotFound:
    return NotFound(
        f"There is no file {file_id!r}; it may have expired, or was never uploaded.",
        code="file_not_found",
        details={"file_id": file_id},
    )


async def commit(store: ObjectStore, entry: FileEntry) -> None:
    """Makes an uploaded file visible; doing it again changes nothing."""
    try:
        await store.put(
            COLLECTION,
            entry_key(entry.file_id),
            entry.model_dump_json().encode(),
            condition=ABSENT,
            tags=EXPIRING,
        )
    except Conflict:
        return


async def find_entry(store: ObjectStore, file_id: str) -> FileEntry | None:
    """What is known of an uploaded file, if it was committed."""
    try:
        return FileEntry.model_validate_json(await store.get(COLLECTION, entry_key(file_id)))
    except NotFound:
        return None


async def remove(store: ObjectStore, *file_ids: str) -> None:
    """Takes files away: first from sight, then their bytes."""
    await store.delete(COLLECTION, *(entry_key(file_id) for file_id in file_ids))
    await store.delete(COLLECTION, *(bytes_key(file_id) for file_id in file_ids))


async def being_deleted(store: ObjectStore, file_ids: Iterable[str]) -> list[str]:
    """Those of the files that somebody is about to delete."""
    keys = {deleting_key(file_id): file_id for file_id in file_ids if _can_be(file_id)}
    return [keys[key] for key in await store.head_many(COLLECTION, list(keys))]


async def post(
    store: ObjectStore,
    *,
    project: str,
    run: str,
    attempt: int,
    number: int,
    files: Sequence[tuple[str, Path]],
) -> None:
    """Keeps files that an attempt has written, unseen until the run completes. Their ids are noted first, so that they
    are found and swept if it never does. The local files are moved away."""
    ids = orjson.dumps([file_id for file_id, _ in files])
    await store.put(COLLECTION, f"{staged_prefix(run, attempt)}{number}", ids)
    metadata = {"project": project, "run": run, "attempt": str(attempt)}
    uploads = [FileUpload(bytes_key(file_id), path, metadata, EXPIRING) for file_id, path in files]
    await store.put_files(COLLECTION, uploads)


async def sweep(store: ObjectStore, run: str, *, keep_attempt: int | None) -> int:
    """Removes what a settled run's attempts have posted, but for `keep_attempt`, and all notes of it.

    Returns the number of files removed.
    """
    keep = None if keep_attempt is None else staged_prefix(run, keep_attempt)
    notes = [item.key async for item in list_all(store, COLLECTION, staged_prefix(run))]
    removed = 0
    for note in notes:
        if keep is None or not note.startswith(keep):
            ids = orjson.loads(await store.get(COLLECTION, note))
            await store.delete(COLLECTION, *(bytes_key(file_id) for file_id in ids))
            removed += len(ids)
        await store.delete(COLLECTION, note)
    return removed
