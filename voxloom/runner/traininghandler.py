"""What authors see as `self.task_handler` in a training: a run's handler, with samples, temp store and checkpoints."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from voxloom.errors import InvalidInput
from voxloom.runner.exceptions import CheckpointError, TrainingError, WrongType, kind_of
from voxloom.runner.handler import Link, TaskHandler, normal_asset_path
from voxloom.runner.plain import plain_dict
from voxloom.runner.schemas import DataSchema
from voxloom.runner.tempstore import TempStore
from voxloom.runner.training import SampleManifest, SampleNotFound, TrainingDataset, TrainingSample

LocalSamples = list[list[dict[str, list[str]]]]
"""Per sample, per entry: under each key the paths of its files in the temp store."""


class SchemaMissing(TrainingError):
    code = "training_data_schema_missing"


class CheckpointInvalid(CheckpointError):
    code = "checkpoint_asset_path_invalid"


class TrainingWithoutCheckpoint(TrainingError):
    code = "training_without_checkpoint"


class TrainingHandler(TaskHandler):
    """One training, as its author sees it."""

    def __init__(self, link: Link, *others: Any, **more: Any) -> None:
        super().__init__(link, *others, **more)
        self._checkpoint_ids: list[str] = []

    # --- samples ---

    def get_training_dataset(self, training_sample_ids: Sequence[str]) -> TrainingDataset:
        """Raises SampleNotFound, a ValueError, for none and for one that is not there, KeysDiffer where keys differ."""
        self.check_stopped()
        sample_ids = training_sample_ids
        if isinstance(sample_ids, str) or not all(isinstance(one, str) for one in sample_ids):
            raise InvalidInput("get_training_dataset takes a list of sample ids, as `train` gets them.")
        if not sample_ids:
            raise SampleNotFound("There are no samples to train on: pass the ids that `train` got.")
        return TrainingDataset(
            TrainingSample(
                SampleManifest(told["sample_id"], told["files"], told.get("tags", ()), told.get("time_created", ""))
            )
            for told in self._link.samples(list(sample_ids))
        )

    # --- the temp store ---

    @cached_property
    def temp_store(self) -> TempStore:
        """A folder of this training's own; it goes with the run."""
        root = self._link.scratch / "temp-store"
        root.mkdir(parents=True, exist_ok=True)
        return TempStore(root)

    def save_training_files_to_temp_store(
        self,
        folder_path: str | Path,
        files: Sequence[Any],
        pydantic_data_schema: type[DataSchema],
        parallel: bool = True,
    ) -> list[str]:
        """See TempStore.save."""
        self.check_stopped()
        return self.temp_store.save(folder_path, files, pydantic_data_schema)

    def download_files_to_temp_store(
        self,
        folder_path: str | Path,
        file_ids: Sequence[str],
        pydantic_data_schema: type[DataSchema],
        batch_size: int = 8,
        *keys: str,
    ) -> list[str]:
        """Fetches files and keeps what the schema (and `keys`, if given) wants of them; the paths, in order. Only
        `batch_size` files are in memory at once."""
        schema = pydantic_data_schema
        paths: list[str] = []
        for start in range(0, len(file_ids), max(1, batch_size)):
            some = list(file_ids[start : start + max(1, batch_size)])
            paths += self.temp_store.save(folder_path, self.fetch_data(some, schema, *keys), schema)
        return paths

    def download_dataset_to_temp_store(
        self, dataset: TrainingDataset, pydantic_data_schemas: Mapping[str, type[DataSchema]]
    ) -> LocalSamples:
        """All files of all samples, under `<sample id>/file_000000/<key>/`; `pydantic_data_schemas` has
        one for every key. Raises
        SchemaMissing."""
        schemas = pydantic_data_schemas
        if missing := [key for key in dataset.get_sample_keys() if key not in schemas]:
            raise SchemaMissing(f"There is no schema for {', '.join(missing)}: pass one for every key of the samples.")
        return [
            [
                {key: self._download(sample.sample_id, number, key, ids, schemas[key]) for key, ids in entry.items()}
                for number, entry in enumerate(sample)
            ]
            for sample in dataset
        ]

    def _download(self, sample_id: str, number: int, key: str, ids: list[str], schema: type[DataSchema]) -> list[str]:
        return self.download_files_to_temp_store(f"{sample_id}/file_{number:06d}/{key}", ids, schema)

    def load_files_from_temp_store(
        self, paths: Sequence[str | Path], parallel: bool = True, *keys: str
    ) -> list[dict[str, Any]]:
        """See TempStore.load."""
        self.check_stopped()
        return self.temp_store.load(paths, parallel, *keys)

    def load_dataset_from_temp_store(self, local_samples: LocalSamples) -> list[list[dict[str, list[dict[str, Any]]]]]:
        """The same nesting, with what is in the files in place of their paths."""
        return [
            [{key: self.load_files_from_temp_store(paths) for key, paths in entry.items()} for entry in sample]
            for sample in local_samples
        ]

    # --- the end ---

    def mark_as_completed(self, output_dataset_ids: Any = None) -> None:
        """A training comes to its checkpoints, so there is nothing to hand over. One that saves none fails all the
        same."""
        self._mark("COMPLETED")

    # --- checkpoints ---

    @property
    def output_checkpoint_ids(self) -> list[str]:
        """What this training has saved and not taken back, the oldest first."""
        return list(self._checkpoint_ids)

    def save_checkpoint(self, assets: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> str:
        """Keeps new contents of some of the algorithm's assets, by their paths; the id of the checkpoint. What is not
        named stays as the training found it.

        Raises CheckpointInvalid for a path that is no asset of the algorithm, and NotPlain where `properties` cannot be
        JSON."""
        self.check_stopped()
        told = plain_dict(properties or {}, "properties")
        kept = {_asset_path(path): _bytes_of(path, content) for path, content in _checked(assets).items()}
        checkpoint_id = self._link.save_checkpoint(kept, told)
        self._checkpoint_ids.append(checkpoint_id)
        return checkpoint_id

    def delete_checkpoint(self, checkpoint_id: str) -> None:
        """Takes back one that this training has saved: to keep only the best, say."""
        self.check_stopped()
        if checkpoint_id not in self._checkpoint_ids:
            raise InvalidInput(
                f"This training has saved no checkpoint {checkpoint_id!r}, or has taken it back already."
            )
        self._link.drop_checkpoint(checkpoint_id)
        self._checkpoint_ids.remove(checkpoint_id)


def _checked(checkpoint: Any) -> Mapping[str, Any]:
    if not isinstance(checkpoint, Mapping):
        raise WrongType(f"A checkpoint is a dict of contents by asset path, not {kind_of(checkpoint)}.")
    if not checkpoint:
        raise CheckpointInvalid("A checkpoint without any asset says nothing: give the contents of one at least.")
    return checkpoint


def _asset_path(path: Any) -> str:
    try:
        return normal_asset_path(path)
    except KeyError as error:
        raise CheckpointInvalid(str(error)) from None


def _bytes_of(path: str, content: Any) -> bytes:
    if isinstance(content, io.BytesIO):
        return content.getvalue()
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    raise WrongType(f"The content of {path!r} is {kind_of(content)}: give bytes, or the BytesIO they were written to.")
