"""Samples in the store: which files belong together as what a training learns from.

In `sample-store`, `samples/<id>` is a sample, written once. It refers to files, and a file that a sample refers to
is not deleted: who makes a sample writes it before it looks for the files, and who deletes a file takes it out of sight
before it looks for samples; so of the two at the same time, one finds the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.object_cache import KeptObjects
from shared.objects.base import ObjectStore
from shared.single_flight import Together
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import is_id
from voxloom.models import SampleRecord

COLLECTION = "sample-store"
LONGEST_TAG = 200


async def save(store: ObjectStore, sample: SampleRecord) -> None:
    await store.put(COLLECTION, _key(sample.sample_id), sample.model_dump_json().encode())


async def load(store: ObjectStore, sample_id: str) -> SampleRecord:
    """Raises NotFound (`sample_not_found`)."""
    if not is_id(sample_id):
        raise sample_not_found(sample_id)
    try:
        return SampleRecord.model_validate_json(await store.get(COLLECTION, _key(sample_id)))
    except NotFound:
        raise sample_not_found(sample_id) from None


async def remove(store: ObjectStore, sample_id: str) -> None:
    await store.delete(COLLECTION, _key(sample_id))


class KnownSamples:
    """All samples of every project, in memory, also by the files that they refer to."""

    def __init__(self, store: ObjectStore) -> None:
        self._objects = KeptObjects(store, COLLECTION, "samples/", SampleRecord)
        self._known: Mapping[str, SampleRecord] = {}
        self._by_file: dict[str, set[str]] = {}
        self._look = Together("samples.look", self._look_once)

    async def all(self) -> Sequence[SampleRecord]:
        """Those there are now, the oldest first."""
        await self._look()
        return sorted(self._known.values(), key=_age)

    async def using(self, file_id: str) -> list[str]:
        """The samples that refer to a file, the oldest first."""
        await self._look()
        found = (self._known[one] for one in self._by_file.get(file_id, ()))
        return [sample.sample_id for sample in sorted(found, key=_age)]

    async def used_among(self, file_ids: Iterable[str]) -> set[str]:
        """Those of the files that samples refer to."""
        await self._look()
        return {one for one in file_ids if one in self._by_file}

    async def _look_once(self) -> None:
        """The store is listed for all who ask at the same time."""
        known = await self._objects.all()
        for name in self._known.keys() - known.keys():
            self._drop(name, self._known[name])
        for name in known.keys() - self._known.keys():
            for file_id in files_of(known[name]):
                self._by_file.setdefault(file_id, set()).add(name)
        self._known = known

    def _drop(self, name: str, sample: SampleRecord) -> None:
        for file_id in files_of(sample):
            self._by_file[file_id].discard(name)
            if not self._by_file[file_id]:
                del self._by_file[file_id]


def _age(sample: SampleRecord) -> tuple[str, str]:
    return sample.time_created, sample.sample_id


def files_of(sample: SampleRecord) -> list[str]:
    """All ids of files, each once, in their order."""
    return file_ids_in(sample.files)


def file_ids_in(files: Iterable[Mapping[str, Sequence[str]]]) -> list[str]:
    return list(dict.fromkeys(one for entry in files for ids in entry.values() for one in ids))


def checked_files(files: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Raises InvalidInput unless there are entries, and all have the same keys, with files under one at least."""
    if not files or not all(entry for entry in files):
        raise InvalidInput(
            "A sample has to name files: send `files` as a list of entries like "
            '{"image": [file id, …], "mask": [file id, …]}.',
            code="request_validation_error",
            details={"errors": [{"loc": ["files"], "msg": "must have entries with keys"}]},
        )
    keys = set(files[0])
    for index, entry in enumerate(files):
        if set(entry) != keys:
            raise InvalidInput(
                f"All entries of a sample have the same keys, but entry {index} has {sorted(entry)} where the first "
                f"has {sorted(keys)}.",
                code="request_validation_error",
                details={"errors": [{"loc": ["files", index], "msg": "must have the keys of the first entry"}]},
            )
    if not any(ids for entry in files for ids in entry.values()):
        raise InvalidInput(
            "A sample has to name at least one file.",
            code="request_validation_error",
            details={"errors": [{"loc": ["files"], "msg": "must name files"}]},
        )


def folded_tags(tags: Iterable[str]) -> list[str]:
    """Without spaces around them, in lower case, each once, in their order."""
    return list(dict.fromkeys(folded for tag in tags if (folded := tag.strip().lower())))


def sample_not_found(sample_id: str) -> NotFound:
    return NotFound(
        f"There is no sample {sample_id[:200]!r}; `GET /api/v0/sample/all` shows those there are.",
        code="sample_not_found",
        details={"sample_id": sample_id},
    )


def _key(sample_id: str) -> str:
    return f"samples/{sample_id}"
