"""From a request to the work it means, with nothing around it but an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from messages.runs import AlgorithmPin
from messages.trainings import Checkpoint
from shared.algorithms import AlgorithmEntry, MinorVersion
from shared.pinning import benchmark_of, strict_work_of, training_of, work_of
from shared.versions import Description
from voxloom.errors import InvalidInput, NotFound, VoxloomError
from voxloom.models import BenchmarkRequest, ExecutionRequest, SampleRecord, TrainingRequest, utc_now


def algorithm() -> AlgorithmEntry:
    about = Description(algorithm_type="Generic", supported_devices=["cpu"], default_device="cpu", wall_time=9.0)
    minors = {"4": MinorVersion(minor="4", module="m", assets="a", deploy_id="d", time=utc_now())}
    return AlgorithmEntry(
        algorithm_id="a", project="default", name="Denoise", major="2", minors=minors, next_minor=5, about=about
    )


NAMED = {"scan": "@lab1/scan"}
"""The id of a file that has a name beside it."""


@dataclass
class Shelf:
    """Three files, a sample of one that is gone, and one algorithm."""

    cpu_fallback: bool = True
    there: Sequence[str] = ("one", "two", "scan")
    asked: list[str] = field(default_factory=list)

    async def files(self, names: Iterable[str]) -> Mapping[str, str]:
        self.asked.append("files")
        return {name: NAMED.get(name, name) for name in names if name in self.there}

    async def algorithm(self, algorithm_id: str) -> AlgorithmEntry:
        self.asked.append("algorithm")
        if algorithm_id != "a":
            raise NotFound("no such algorithm", code="algorithm_not_found")
        return algorithm()

    async def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        raise NotFound("no such checkpoint", code="checkpoint_not_found")

    async def samples(self) -> Sequence[SampleRecord]:
        time = "2026-11-30T10:00:00Z"
        return [
            SampleRecord(sample_id="good", files=[{"image": ["one"]}], tags=[], time_created=time, project="default"),
            SampleRecord(sample_id="gone", files=[{"image": ["three"]}], tags=[], time_created=time, project="default"),
        ]


async def test_a_file_is_pinned_by_its_id_whatever_the_caller_calls_it() -> None:
    work = await work_of(Shelf(), ExecutionRequest(algorithm_id="a", input_dataset_ids=["scan", "one", "scan"]))
    assert work.input_dataset_ids == ["@lab1/scan", "one", "@lab1/scan"]


async def test_code_and_data_are_pinned() -> None:
    work = await work_of(Shelf(), ExecutionRequest(algorithm_id="a", input_dataset_ids=["one", "two"]))

    pinned = AlgorithmPin(algorithm_id="a", name="Denoise", major="2", minor="4", module="m", assets="a")
    assert (work.algorithm, work.wall_time, work.devices) == (pinned, 9.0, ["cpu"])


async def test_files_are_looked_for_before_the_algorithm() -> None:
    shelf = Shelf()
    with pytest.raises(NotFound, match="'three'"):
        await work_of(shelf, ExecutionRequest(algorithm_id="none", input_dataset_ids=["three"]))
    assert shelf.asked == ["files"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ExecutionRequest(algorithm_id="b", input_dataset_ids=[]), "algorithm_not_found"),
        (ExecutionRequest(algorithm_id="a", input_dataset_ids=[], checkpoint_id="c"), "checkpoint_not_found"),
        (
            ExecutionRequest(algorithm_id="a", input_dataset_ids=[], algorithm_minor_version="9"),
            "minor_version_not_found",
        ),
        (
            ExecutionRequest(algorithm_id="a", input_dataset_ids=[], execution_device_override="gpu"),
            "request_validation_error",
        ),
    ],
)
async def test_what_is_not_there_is_refused(request_: ExecutionRequest, code: str) -> None:
    with pytest.raises(VoxloomError) as refused:
        await strict_work_of(Shelf(), request_)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("samples", "code"),
    [(["none"], "input_samples_not_found"), (["gone"], "sample_files_not_found"), ([], "request_validation_error")],
)
async def test_a_training_needs_samples_whose_files_are_there(samples: list[str], code: str) -> None:
    with pytest.raises((NotFound, InvalidInput)) as refused:
        await training_of(Shelf(), TrainingRequest(algorithm_id="a", training_data=samples))
    assert refused.value.code == code


async def test_trainings_and_benchmarks_are_work_of_their_kind() -> None:
    training = await training_of(Shelf(), TrainingRequest(algorithm_id="a", training_data=["good"]))
    benchmark = await benchmark_of(Shelf(), BenchmarkRequest(algorithm_id="a"))

    assert (training.task, training.sample_ids, benchmark.task) == ("training", ["good"], "benchmark")
