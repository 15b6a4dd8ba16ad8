"""Trainings and benchmarks in real runner processes."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from tests.contract.test_runner_process import Bench, Desk, error_of
from tests.contract.test_runner_process import bench as bench
from voxloom.runner import frames

SOURCE = """
from voxloom import Runner as Base


class Runner(Base):
    def preprocess(self, input_data, args):
        return None

    def inference(self, data, args):
        return None

    def postprocess(self, data, args):
        return []

    def train(self, training_data, args):
{body}

    def benchmark(self, args):
{body}
"""


async def done(bench: Bench, body: str, task: str = "training", **more: Any) -> tuple[frames.Ended, Desk]:
    indented = textwrap.indent(textwrap.dedent(body), " " * 8)
    desk = Desk(bench.folder)
    desk.known_samples = {"s": [{"image": ["f"]}]}
    module = bench.module(Runner=SOURCE.replace("{body}", indented))
    return await bench.run(module, desk=desk, task=task, sample_ids=["s"], **more)


async def test_a_training_saves_what_it_learns_and_its_process_is_used_up(bench: Bench) -> None:
    body = """
    dataset = self.get_training_dataset(training_data)
    self.set_state({"keys": dataset.get_sample_keys(), "tags": dataset[0].sample_manifest.tags})
    kept = self.save_checkpoint({"weights.txt": b"1"}, {"loss": 0.5})
    self.delete_checkpoint(self.save_checkpoint({"weights.txt": b"2"}))
    self.log_message(kept)
    """
    ended, desk = await done(bench, body)
    assert (ended.outcome, ended.reusable) == ("completed", False), desk.log
    assert desk.checkpoints == [({"weights.txt": b"1"}, {"loss": 0.5}), ({"weights.txt": b"2"}, {})]
    assert (desk.dropped, desk.states, desk.lines) == (
        ["checkpoint-2"],
        [{"keys": ["image"], "tags": ["t"]}],
        ["INFO checkpoint-1"],
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", "training_without_checkpoint"),
        ("self.save_checkpoint({'other': b''})", "checkpoint_asset_path_invalid"),
        ("self.get_training_dataset(['unknown'])", "sample_not_found"),
        ("self.get_training_dataset([])", "sample_not_found"),
        ("self.set_state({'a': open})", "not_json"),
        ("self.task_handler.temp_store.mkdir('../x')", "temp_store_path_invalid"),
    ],
)
async def test_a_training_fails_with_a_reason(bench: Bench, body: str, code: str) -> None:
    ended, desk = await done(bench, body)
    assert (ended.outcome, error_of(ended).code) == ("failed", code), desk.log


async def test_refusals_can_be_caught_as_what_they_are(bench: Bench) -> None:
    body = """
    from voxloom.runner.training import SampleNotFound
    try: self.get_training_dataset(["unknown"])
    except SampleNotFound: self.log_message("no sample")
    try: self.save_checkpoint({"other": b""})
    except ValueError as error: self.log_message(error.code)
    self.save_checkpoint({"weights.txt": b""})
    """
    _, desk = await done(bench, body)
    assert desk.lines == ["INFO no sample", "INFO checkpoint_asset_path_invalid"]


async def test_a_benchmark_gives_its_data(bench: Bench) -> None:
    body = "import numpy as np; return {'seconds': np.float32(0.5), 'args': args}"
    ended, desk = await done(bench, body, "benchmark", args={"size": 2})
    assert (ended.outcome, ended.data, ended.reusable) == ("completed", {"seconds": 0.5, "args": {"size": 2}}, True), (
        desk.log
    )


async def test_data_that_json_cannot_hold_fails_the_benchmark(bench: Bench) -> None:
    ended, _ = await done(bench, "return {'seconds': object()}", "benchmark")
    assert error_of(ended).code == "not_json"


@pytest.mark.parametrize(
    ("task", "code"), [("training", "algorithm_not_trainable"), ("benchmark", "algorithm_without_benchmark")]
)
async def test_what_an_algorithm_does_not_define_it_cannot_do(bench: Bench, task: str, code: str) -> None:
    ended, desk = await bench.run(bench.module("pass"), task=task, sample_ids=["s"])
    assert error_of(ended).code == code
    assert len(desk.lines) == 1
