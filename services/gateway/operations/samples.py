"""Samples come and go; the files that they name stay."""

from __future__ import annotations

from collections.abc import Sequence

from messages.samples import SampleCreated, SampleDeleted
from services.gateway.context import Context
from shared.bus.limits import check_first
from shared.caller import Caller
from shared.samples import checked_files, file_ids_in, files_of, folded_tags, load, remove, sample_not_found, save
from voxloom.errors import NotFound
from voxloom.ids import new_id
from voxloom.models import SampleRecord, SampleRequest, format_time, utc_now


async def create(context: Context, caller: Caller, wanted: SampleRequest) -> SampleRecord:
    """The sample is written before its files are looked for, so that whoever deletes one of them finds it."""
    checked_files(wanted.files)
    names = file_ids_in(wanted.files)
    known = await context.files.ids(caller, names)
    _check_there([one for one in names if one not in known])
    sample = SampleRecord(
        sample_id=new_id(),
        files=[{key: [known[one] for one in ids] for key, ids in entry.items()} for entry in wanted.files],
        tags=folded_tags(wanted.tags),
        time_created=format_time(utc_now()),
        project=caller.project,
    )
    facts = {"tags": sample.tags, "file_count": len(files_of(sample))}
    created = SampleCreated(subject=sample.sample_id, project=sample.project, actor=caller.actor, **facts)
    check_first(created)  # before it is there
    await save(context.store, sample)
    try:
        _check_there(await context.files.missing_now(caller, files_of(sample)))
    except BaseException:
        await remove(context.store, sample.sample_id)
        raise
    await context.publish(created)
    return sample


async def find(context: Context, caller: Caller, sample_id: str) -> SampleRecord:
    """Raises NotFound (`sample_not_found`)."""
    sample = await load(context.store, sample_id)
    if not caller.owns(sample.project):
        raise sample_not_found(sample_id)
    return sample


async def all_of(context: Context, caller: Caller) -> Sequence[SampleRecord]:
    """The oldest first."""
    return [one for one in await context.samples.all() if caller.owns(one.project)]


def _check_there(missing: Sequence[str]) -> None:
    if missing:
        raise NotFound(
            f"{len(missing)} of the files are not there: {', '.join(repr(one[:80]) for one in missing[:20])}. "
            "Upload them first.",
            code="sample_input_files_not_found",
            details={"file_ids": list(missing), "missing_file_ids": list(missing)},
        )


async def delete(context: Context, caller: Caller, sample_id: str) -> None:
    """Raises NotFound (`sample_not_found`)."""
    sample = await find(context, caller, sample_id)
    await remove(context.store, sample.sample_id)
    await context.publish(SampleDeleted(subject=sample.sample_id, project=sample.project, actor=caller.actor))
