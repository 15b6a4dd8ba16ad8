"""What authors call on their runner: everything goes to the handler of the run that is under way."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxloom.runner.exceptions import NoTraining
from voxloom.runner.handler import TaskHandler
from voxloom.runner.schemas import DataSchema
from voxloom.runner.training import TrainingDataset
from voxloom.runner.traininghandler import LocalSamples, TrainingHandler


class HandlerCalls(ABC):
    """The part of BaseRunner that is the same in every run."""

    __slots__ = ()

    @property
    @abstractmethod
    def task_handler(self) -> TaskHandler: ...

    def fetch_data(
        self, file_ids: Sequence[str], pydantic_data_schema: type[DataSchema], *keys: str, parallel: bool = False
    ) -> list[dict[str, Any]]:
        """See TaskHandler.fetch_data."""
        return self.task_handler.fetch_data(file_ids, pydantic_data_schema, *keys, parallel=parallel)

    def post_data(
        self, data: Sequence[Any], pydantic_data_schema: type[DataSchema], parallel: bool = False
    ) -> list[str]:
        """See TaskHandler.post_data."""
        return self.task_handler.post_data(data, pydantic_data_schema, parallel)

    def fetch_asset(self, asset_path: str) -> io.BytesIO:
        """See TaskHandler.fetch_asset."""
        return self.task_handler.fetch_asset(asset_path)

    def set_progress(self, progress: Any) -> None:
        """See TaskHandler.set_progress."""
        self.task_handler.set_progress(progress)

    def log_message(self, message: object, logging_level: str = "INFO") -> None:
        """See TaskHandler.log_message."""
        self.task_handler.log_message(message, logging_level)

    def save_item_to_session(self, obj: Any, key: str) -> None:
        """See TaskHandler.save_item_to_session."""
        self.task_handler.save_item_to_session(obj, key)

    def load_item_from_session(self, key: str) -> Any:
        """See TaskHandler.load_item_from_session."""
        return self.task_handler.load_item_from_session(key)

    def remove_item_from_session(self, key: str) -> None:
        """See TaskHandler.remove_item_from_session."""
        self.task_handler.remove_item_from_session(key)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See TaskHandler.set_state."""
        self.task_handler.set_state(state)

    def get_state(self) -> dict[str, Any]:
        """What was set last; empty before that."""
        return self.task_handler.get_state()

    def get_training_dataset(self, training_sample_ids: Sequence[str]) -> TrainingDataset:
        """See TrainingHandler.get_training_dataset."""
        return self._training.get_training_dataset(training_sample_ids)

    def save_checkpoint(self, checkpoint: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> str:
        """See TrainingHandler.save_checkpoint."""
        return self._training.save_checkpoint(checkpoint, properties)

    def delete_checkpoint(self, checkpoint_id: str) -> None:
        """See TrainingHandler.delete_checkpoint."""
        self._training.delete_checkpoint(checkpoint_id)

    def save_training_files_to_temp_store(
        self,
        folder_path: str | Path,
        files: Sequence[Any],
        pydantic_data_schema: type[DataSchema],
        parallel: bool = True,
    ) -> list[str]:
        """See TempStore.save."""
        return self._training.save_training_files_to_temp_store(folder_path, files, pydantic_data_schema, parallel)

    def download_files_to_temp_store(
        self,
        folder_path: str | Path,
        file_ids: Sequence[str],
        pydantic_data_schema: type[DataSchema],
        batch_size: int = 8,
        *keys: str,
    ) -> list[str]:
        """See TrainingHandler.download_files_to_temp_store."""
        return self._training.download_files_to_temp_store(
            folder_path, file_ids, pydantic_data_schema, batch_size, *keys
        )

    def download_dataset_to_temp_store(
        self, dataset: TrainingDataset, pydantic_data_schemas: Mapping[str, type[DataSchema]]
    ) -> LocalSamples:
        """See TrainingHandler.download_dataset_to_temp_store."""
        return self._training.download_dataset_to_temp_store(dataset, pydantic_data_schemas)

    def load_files_from_temp_store(
        self, paths: Sequence[str | Path], parallel: bool = True, *keys: str
    ) -> list[dict[str, Any]]:
        """See TempStore.load."""
        return self._training.load_files_from_temp_store(paths, parallel, *keys)

    def load_dataset_from_temp_store(self, local_samples: LocalSamples) -> list[list[dict[str, list[dict[str, Any]]]]]:
        """See TrainingHandler.load_dataset_from_temp_store."""
        return self._training.load_dataset_from_temp_store(local_samples)

    @property
    def _training(self) -> TrainingHandler:
        handler = self.task_handler
        if not isinstance(handler, TrainingHandler):
            raise NoTraining("This works in a training alone: call it from within train(self, training_data, args).")
        return handler
