# Generated from voxloom/client/_async/training.py by `python -m voxloom.client._generate`; edit that file.

"""What the client can do about training: samples, trainings, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from voxloom.client._inputs import Given, plan_for_key
from voxloom.client._outputs import Progress
from voxloom.client._problems import parse, parse_list, warn
from voxloom.client._sio import in_thread
from voxloom.client._sync.files import Files
from voxloom.client._sync.pages import pages
from voxloom.client._sync.runs import Training
from voxloom.client._sync.transport import Transport, path_of
from voxloom.client._values import as_json
from voxloom.errors import NotFound
from voxloom.ids import new_id
from voxloom.models import (
    AlgorithmRecord,
    CheckpointRecord,
    ResponseMessage,
    SampleRecord,
    SampleResponse,
    Status,
    TrainingResponse,
    TrainingSummary,
)

M = TypeVar("M", SampleRecord, CheckpointRecord)


class Learning:
    """The part of the client that is about training."""

    _transport: Transport
    _files: Files

    if TYPE_CHECKING:

        def find(self, algorithm: str) -> AlgorithmRecord: ...

    def sample(
        self,
        entries: Sequence[Mapping[str, Given | Sequence[Given]]],
        tags: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> str:
        """Makes a sample: a list of entries with the same keys, under each one or several file ids, paths, arrays or
        dicts of arrays. A stack (N, H, W) becomes N files. An array is sent as the dataset that its key is called.
        Returns the sample's id."""
        files = [{key: self._send(key, given, progress) for key, given in entry.items()} for entry in entries]
        body = as_json({"files": files, "tags": list(tags)}, "The sample")
        return parse(SampleResponse, self._transport.request("POST", "/api/v1/samples", json=body)).sample_id

    def _send(self, key: str, given: Given | Sequence[Given], progress: Progress | None) -> list[str]:
        with ExitStack() as opened:
            plan = in_thread(opened.enter_context, plan_for_key(given, key))
            return self._files.send_all(plan.uploads, progress)

    def samples(self, *, tags: Sequence[str] = ()) -> list[SampleRecord]:
        """All that have these tags."""
        params = {"positive_tags": list(tags)}
        return self._whole(SampleRecord, "/api/v0/sample/all", params, "samples_not_found")

    def delete_sample(self, sample_id: str) -> None:
        """Its files stay."""
        self._transport.request("DELETE", path_of("api", "v1", "samples", sample_id))

    def train(
        self,
        algorithm: str | AlgorithmRecord,
        samples: str | Sequence[str],
        parameters: Mapping[str, Any] | None = None,
        *,
        checkpoint: str | None = None,
        minor: int | str | None = None,
        tags: Sequence[str] = (),
    ) -> Training:
        """Starts a training on samples, by their ids, and returns at once when the server has taken it.

        `checkpoint`: the id of one to begin with. `tags` go to the training and its checkpoints.
        """
        record = algorithm if isinstance(algorithm, AlgorithmRecord) else self.find(algorithm)
        request = {
            "algorithm_id": record.algorithm_id,
            "algorithm_minor_version": None if minor is None else str(minor),
            "training_data": [samples] if isinstance(samples, str) else list(samples),
            "additional_parameters": dict(parameters or {}),
            "checkpoint_id": checkpoint,
            "tags": list(tags),
        }
        body = as_json(request, "The parameters")
        response = self._transport.request("POST", "/api/v1/trainings", json=body, key=new_id())
        answer = parse(TrainingResponse, response)
        warn(answer.warnings, above=2)
        return Training(self._transport, answer.training_id)

    def training(self, training_id: str) -> Training:
        """A training that was started earlier, by whomever."""
        return Training(self._transport, training_id)

    def trainings(
        self,
        *,
        status: Status | str | None = None,
        algorithm: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        submitted_by: str | None = None,
    ) -> Iterator[TrainingSummary]:
        """Trainings, newest first, fetched page by page as they are asked for; `limit` of them at most. `sort` and
        `submitted_by` are as of `executions`."""
        params = {"status": None if status is None else str(status), "algorithm": algorithm, "sort": sort}
        params["submitted_by"] = submitted_by
        yield from pages(self._transport, "/api/v1/trainings", TrainingSummary, params, limit)

    def delete_training(self, training_id: str) -> None:
        """Deletes the record of a training that is over; its checkpoints stay. Raises Conflict (`training_not_ended`)
        before that."""
        self._transport.request("DELETE", path_of("api", "v1", "trainings", training_id))

    def checkpoints(self, *, tags: Sequence[str] = ()) -> list[CheckpointRecord]:
        """All that have these tags."""
        params = {"positive_tags": list(tags)}
        return self._whole(CheckpointRecord, "/api/v0/checkpoint/all", params, "checkpoints_not_found")

    def checkpoint(self, checkpoint_id: str) -> CheckpointRecord:
        response = self._transport.request("GET", path_of("api", "v1", "checkpoints", checkpoint_id))
        return parse(CheckpointRecord, response)

    def delete_checkpoint(self, checkpoint_id: str) -> str:
        response = self._transport.request("DELETE", path_of("api", "v1", "checkpoints", checkpoint_id))
        return parse(ResponseMessage, response).detail or ""

    def _whole(self, model: type[M], path: str, params: Mapping[str, Any], none: str) -> list[M]:
        try:
            return parse_list(model, self._transport.request("GET", path, params=params))
        except NotFound as error:
            if error.code == none:
                return []
            raise
