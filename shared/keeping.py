"""What people keep: files and runs that do not expire until they are let go.

In `data-store`:

    kept/<file id>       whether the file is kept
    kept-runs/<run>      whether the run is kept, its row in lists, and the ids of the files that it has made

and beside the records of runs, `kept/<run>`: the record of a kept run, as it was when somebody kept it.

The note counts, and the tags follow it: who keeps writes the note first, who lets go changes it first. Whoever has set
tags looks at the notes again, and once more if they are others by then; so of two at the same time the last one's word
holds. If a process dies in between, the upkeep of ingest does the rest. What is let go has a note that expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from shared import files
from shared.holding import HELD, held_by_runs, let_expire, lists_of
from shared.objects.base import AT_ONCE, EXPIRING, ObjectStore, list_all
from shared.objects.checks import checked_key, is_expiring
from shared.samples import KnownSamples
from voxloom.errors import Conflict, InvalidInput, NotFound, Unavailable
from voxloom.models import ExecutionSummary, Moment, Value

FILES, RUNS = "kept/", "kept-runs/"
_TRIES = 10
DECIDED_SECS = 1.0
"""How long who keeps a file waits at a time for whoever is about to delete it, at last."""


class Keep(Value):
    """A note. What an older version cannot read is taken to be kept."""

    kept: bool
    project: str
    time: Moment
    by: str = ""


class KeptRun(Keep):
    files: list[str] = []
    logs: list[str] = []
    logs_in: str = "execution-store"
    """The collection of these keys."""
    row: ExecutionSummary | None = None


async def is_run_kept(store: ObjectStore, run: str) -> bool:
    return await is_kept(store, RUNS + run)


async def has_note(store: ObjectStore, run: str) -> bool:
    """Whether somebody keeps a run, or has let it go lately."""
    return await _read(store, RUNS + run) is not None


async def is_kept(store: ObjectStore, key: str) -> bool:
    """`key`: of a note."""
    note = await _read(store, key)
    return note is not None and note.kept


async def kept_among(store: ObjectStore, file_ids: Iterable[str]) -> set[str]:
    """Those of the files that are kept, by themselves or with their run."""
    wanted = set(file_ids)
    if not wanted:
        return set()
    kept = await _kept_among(store, FILES, filter(_can_be, wanted))
    return kept | await _of_runs(store, wanted - kept)


async def runs_kept_among(store: ObjectStore, runs: Iterable[str]) -> set[str]:
    """Those of the runs that are kept, as the notes say now."""
    return await _kept_among(store, RUNS, runs)


async def _kept_among(store: ObjectStore, prefix: str, names: Iterable[str]) -> set[str]:
    """Most have no note: only those that there are are read."""
    there = list(await store.head_many(files.COLLECTION, [prefix + one for one in names]))
    kept: set[str] = set()
    for start in range(0, len(there), AT_ONCE):
        some = there[start : start + AT_ONCE]
        said = await asyncio.gather(*(is_kept(store, key) for key in some))
        kept |= {key.removeprefix(prefix) for key, is_so in zip(some, said, strict=True) if is_so}
    return kept


async def _of_runs(store: ObjectStore, file_ids: set[str]) -> set[str]:
    """What a run has made says so in its metadata."""
    located = await files.locate_many(store, file_ids)
    kept = await runs_kept_among(store, {file.run for file in located.values() if file.run})
    return {file_id for file_id, file in located.items() if file.run in kept}


async def keep_file(store: ObjectStore, samples: KnownSamples, file_id: str, note: Keep) -> None:
    """Raises NotFound (`file_not_found`) where there is no such file (any more), Conflict (`file_being_deleted`): then
    it is not kept, or no more than it was before."""
    before = await is_kept(store, FILES + file_id)
    await _write(store, FILES + file_id, note)
    try:
        await files.locate(store, file_id)
        await settle_files(store, samples, [file_id])
        await _decided(store, file_id)
        await files.locate(store, file_id)  # It may have expired before its tag was taken.
    except NotFound:
        await store.delete(files.COLLECTION, FILES + file_id)
        raise
    except Conflict:
        if not before:  # else somebody was told that it is kept
            await store.delete(files.COLLECTION, FILES + file_id)
            await settle_files(store, samples, [file_id])
        raise


async def _decided(store: ObjectStore, file_id: str) -> None:
    """Waits until nobody is about to delete the file: whoever was has come upon the note, or has removed it. Raises
    Conflict where that takes too long."""
    pause = 0.01
    while await files.being_deleted(store, [file_id]):
        if pause > DECIDED_SECS:
            raise Conflict("The file is being deleted just now, so it cannot be kept.", code="file_being_deleted")
        await asyncio.sleep(pause)
        pause *= 2


async def is_needed(store: ObjectStore, file_id: str) -> bool:
    """Whether somebody keeps it, or a run that has not ended has it. Samples are looked at elsewhere."""
    return bool(await kept_among(store, [file_id]) or await held_by_runs(store, [file_id]))


async def release_file(store: ObjectStore, samples: KnownSamples, file_id: str, note: Keep) -> None:
    await _write(store, FILES + file_id, note)
    await settle_files(store, samples, [file_id])


async def write_run(store: ObjectStore, samples: KnownSamples, run: str, note: KeptRun) -> None:
    await _write(store, RUNS + run, note)
    await settle_run(store, samples, run)


async def settle_run(store: ObjectStore, samples: KnownSamples, run: str) -> None:
    """Sets the tags of the log and the files of a run as its note says."""
    note = await _read(store, RUNS + run)
    if not isinstance(note, KeptRun):
        return
    for _ in range(_TRIES):
        tags: Mapping[str, str] = {} if note.kept else EXPIRING
        await _tag_all(store, note.logs_in, [*note.logs, record_key(run)], tags)
        await settle_files(store, samples, note.files)
        if (now := await _read(store, RUNS + run)) == note or not isinstance(now, KeptRun):
            return
        note = now
    raise _busy()


async def settle_files(store: ObjectStore, samples: KnownSamples, file_ids: Collection[str]) -> None:
    """Sets the tags of files as all that may hold them says. Those that are gone are passed over."""
    if not file_ids:
        return
    for _ in range(_TRIES):
        held = await holding(store, samples, file_ids)
        for file_id in file_ids:
            await _tag_all(store, files.COLLECTION, _keys_of(file_id), {} if file_id in held else EXPIRING)
        if await holding(store, samples, file_ids) == held:
            return
    raise _busy()


async def holding(
    store: ObjectStore, samples: KnownSamples, file_ids: Collection[str], *, but: Collection[str] = ()
) -> set[str]:
    """Those of the files that must not expire: somebody keeps them, or a sample or a run that has not ended has them.
    `but`: the lists of these runs are left out."""
    held = await kept_among(store, file_ids) | await held_by_runs(store, file_ids, but=but)
    left = set(file_ids) - held
    return held | (await samples.used_among(left) if left else set())


async def let_go(store: ObjectStore, samples: KnownSamples, *holders: str) -> None:
    """What runs and samples have held expires from now on, but for what others hold, or begin to hold just now. Many go
    together, since the lists of all others are read for them."""
    ids = {one async for some in lists_of(store, holders) for one in some}
    free = ids - await holding(store, samples, ids, but=frozenset(holders))
    await let_expire(store, free)
    await store.delete(files.COLLECTION, *(HELD + one for one in holders))
    await settle_files(store, samples, await holding(store, samples, free))


async def notes(store: ObjectStore, prefix: str) -> AsyncIterator[tuple[str, Keep]]:
    """All that there are under FILES or RUNS, by the id of the file or run."""
    async for item in list_all(store, files.COLLECTION, prefix):
        note = await _read(store, item.key)
        if note is not None:
            yield item.key.removeprefix(prefix), note


async def kept_runs(store: ObjectStore, project: str) -> set[str]:
    """The ids of those that are kept."""
    return {run async for run, note in notes(store, RUNS) if note.kept and note.project in (project, "")}


async def restore(store: ObjectStore, samples: KnownSamples) -> None:
    """Does what processes that died have left undone, and undoes what older versions have done: sets tags where they
    are not as the notes say."""
    said = {file_id: note.kept async for file_id, note in notes(store, FILES)}
    async for run, note in notes(store, RUNS):
        if isinstance(note, KeptRun):
            said |= {file_id: note.kept or said.get(file_id, False) for file_id in note.files}
            if await _is_otherwise(store, run, note):
                await settle_run(store, samples, run)
    wrong = [one for one, kept in said.items() if await _has_tag(store, *_place_of(one)) == kept]
    for start in range(0, len(wrong), AT_ONCE):
        await settle_files(store, samples, wrong[start : start + AT_ONCE])


async def end_run(store: ObjectStore, run: str) -> None:
    """Lets go of what a run keeps, as its record is deleted; the tags of its files follow with the upkeep of ingest."""
    if (note := await _read(store, RUNS + run)) is not None and note.kept:
        await _write(store, RUNS + run, KeptRun.model_validate({**note.model_dump(), "kept": False}))


async def _is_otherwise(store: ObjectStore, run: str, note: KeptRun) -> bool:
    return any([await _has_tag(store, note.logs_in, key) == note.kept for key in (*note.logs, record_key(run))])


def record_key(run: str) -> str:
    """Beside the records of runs: that of a kept one, which does not expire."""
    return f"kept/{run}"


def _place_of(file_id: str) -> tuple[str, str]:
    return files.COLLECTION, files.bytes_key(file_id)


async def _has_tag(store: ObjectStore, collection: str, key: str) -> bool | None:
    """None: there is no such object (any more)."""
    try:
        return is_expiring(await store.tags(collection, key))
    except (NotFound, InvalidInput):
        return None


async def forget_file(store: ObjectStore, *file_ids: str) -> None:
    """After the files were deleted."""
    await store.delete(files.COLLECTION, *(FILES + one for one in file_ids if _can_be(one)))


async def _write(store: ObjectStore, key: str, note: Keep) -> None:
    tags: Mapping[str, str] = {} if note.kept else EXPIRING
    await store.put(files.COLLECTION, key, note.model_dump_json().encode(), tags=tags)


async def _read(store: ObjectStore, key: str) -> Keep | None:
    kind = KeptRun if key.startswith(RUNS) else Keep
    try:
        data = await store.get(files.COLLECTION, key)
    except NotFound:
        return None
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        return kind(kept=True, project="", time=datetime.fromtimestamp(0, UTC))


def _keys_of(file_id: str) -> list[str]:
    return [files.bytes_key(file_id), files.entry_key(file_id)]


async def _tag_all(store: ObjectStore, collection: str, keys: Collection[str], tags: Mapping[str, str]) -> None:
    await asyncio.gather(*(_tag(store, collection, key, tags) for key in keys))


async def _tag(store: ObjectStore, collection: str, key: str, tags: Mapping[str, str]) -> None:
    with suppress(NotFound, InvalidInput):  # It is gone, or was no file's id in the first place.
        if await store.tags(collection, key) != dict(tags):
            await store.set_tags(collection, key, tags)


def _can_be(file_id: str) -> bool:
    try:
        checked_key(FILES + file_id)
    except InvalidInput:
        return False
    return True


def _busy() -> Unavailable:
    return Unavailable("Others keep and let go of the same thing all the time; try again.")
