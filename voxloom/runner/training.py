"""What a training learns from, as its author sees it: samples, each a list of entries, each a list of file ids per key.

ds = self.get_training_dataset(training_data)
ds[0]["image"][0]      # of the first sample: the entries' file ids under "image", of the first entry
ds[:, "image"]         # of every sample, the file ids under "image"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from voxloom.errors import NotFound
from voxloom.runner.exceptions import TrainingError, WrongType, kind_of
from voxloom.runner.frameworks import gone

Entry = dict[str, list[str]]
"""Under each key the ids of its files."""


class KeysDiffer(TrainingError):
    code = "training_keys_differ"


class SampleNotFound(NotFound, ValueError):
    code = "sample_not_found"


class SampleManifest:
    """What is stored of a sample. Tags are stripped, lower case, each once."""

    def __init__(
        self, sample_id: str, files: Sequence[Entry], tags: Iterable[str] = (), time_created: str = ""
    ) -> None:
        self.sample_id = sample_id
        self.files: list[Entry] = [{key: list(ids) for key, ids in entry.items()} for entry in files]
        self.tags = _folded(tags)
        self.time_created = time_created
        if any(set(entry) != set(self.files[0]) for entry in self.files):
            raise KeysDiffer(f"The entries of sample {sample_id} have different keys: give all of them the same.")


class TrainingSample:
    """One sample: `sample[i]` is its i-th entry, `sample[i, "key"]` the file ids there under that key."""

    def __init__(self, sample_manifest: SampleManifest) -> None:
        self.sample_manifest = sample_manifest

    @property
    def sample_id(self) -> str:
        return self.sample_manifest.sample_id

    def __len__(self) -> int:
        return len(self.sample_manifest.files)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.sample_manifest.files)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    @overload
    def __getitem__(self, index: tuple[int | slice, str | slice]) -> list[str]: ...
    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, tuple):
            return self.sample_manifest.files[_plain(index)]
        which, key = _pair(index)
        files = self.sample_manifest.files
        return _ids_of(files[which] if isinstance(which, slice) else [files[which]], self._keys(key))

    def _keys(self, key: str | slice) -> list[str]:
        if isinstance(key, slice):
            return self.get_key_list()
        if key not in self.get_key_list():
            raise KeyError(f"The sample has no key {key!r}; it has {', '.join(self.get_key_list())}.")
        return [key]

    def get_file_list(self) -> list[str]:
        """All file ids, entry by entry."""
        return self[:, :]

    def get_key_list(self) -> list[str]:
        return list(self.sample_manifest.files[0]) if self.sample_manifest.files else []

    def check_tags(
        self, query_positive_tags: Iterable[str] | None = None, query_negative_tags: Iterable[str] | None = None
    ) -> bool:
        """Whether it has all of the ones and none of the others."""
        mine = set(self.sample_manifest.tags)
        return set(_folded(query_positive_tags or ())) <= mine and not set(_folded(query_negative_tags or ())) & mine

    def add_tags(self, new_tags: Iterable[str]) -> None:
        """Here alone: what is stored stays as it is."""
        self.sample_manifest.tags = _folded([*self.sample_manifest.tags, *new_tags])

    def __getattr__(self, name: str) -> Any:
        raise gone(type(self).__name__, name)


class TrainingDataset:
    """Samples that have the same keys."""

    def __init__(self, samples: Iterable[TrainingSample] = ()) -> None:
        self.samples: list[TrainingSample] = []
        for sample in samples:
            self.add_sample(sample)

    def add_sample(self, sample: TrainingSample) -> None:
        """Raises KeysDiffer, a ValueError."""
        if self.samples and set(sample.get_key_list()) != set(self.get_sample_keys()):
            raise KeysDiffer(
                f"Sample {sample.sample_id} has the keys {sample.get_key_list()}, the others have "
                f"{self.get_sample_keys()}: train on samples with the same keys."
            )
        self.samples.append(sample)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[TrainingSample]:
        return iter(self.samples)

    def __add__(self, other: TrainingDataset) -> TrainingDataset:
        return TrainingDataset([*self.samples, *other.samples])

    def __getitem__(self, index: Any) -> Any:
        """`ds[i]` and `ds[i:j]` are samples; with a key or `:` as second index, file ids: flat for one sample, one list
        per sample for several."""
        if not isinstance(index, tuple):
            return self.samples[_plain(index)]
        which, key = _pair(index)
        if isinstance(which, slice):
            return [sample[:, key] for sample in self.samples[which]]
        return self.samples[which][:, key]

    def get_all_samples(self) -> list[TrainingSample]:
        return list(self.samples)

    def get_sample_by_id(self, sample_id: str) -> TrainingSample | None:
        return next((sample for sample in self.samples if sample.sample_id == sample_id), None)

    def get_sample_keys(self) -> list[str]:
        return self.samples[0].get_key_list() if self.samples else []

    def get_all_file_lists(self) -> list[list[str]]:
        """One flat list of file ids per sample."""
        return [sample.get_file_list() for sample in self.samples]


def _ids_of(entries: Sequence[Entry], keys: Sequence[str]) -> list[str]:
    return [file_id for entry in entries for key in keys for file_id in entry[key]]


def _plain(index: Any) -> Any:
    if isinstance(index, slice):
        return index
    try:
        return index.__index__()
    except AttributeError:
        raise WrongType(f"An index is a number, a slice or a pair with a key, not {kind_of(index)}.") from None


def _pair(index: tuple[Any, ...]) -> tuple[int | slice, str | slice]:
    if len(index) != 2 or not isinstance(index[1], str | slice):
        raise WrongType('Two indices are a number or slice, and a key or ":", as in ds[0, "image"].')
    return _plain(index[0]), index[1]


def _folded(tags: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(folded for tag in tags if (folded := str(tag).strip().lower())))
