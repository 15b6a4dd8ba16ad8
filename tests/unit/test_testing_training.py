"""Trainings and benchmarks without a server: `voxloom.testing.train`, `benchmark`, and `run` with a checkpoint."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.test_docs import write_algorithm
from voxloom import testing
from voxloom.runner import BaseRunner, ImageSchema
from voxloom.runner.exceptions import NoBenchmark, NoTraining, NotTrainable, TaskStoppedException
from voxloom.runner.training import SampleNotFound
from voxloom.runner.traininghandler import CheckpointInvalid, SchemaMissing, TrainingHandler, TrainingWithoutCheckpoint

IMAGES = [np.full((2, 2), value, np.float32) for value in (1.0, 3.0)]
SAMPLES = [[{"image": [image]}] for image in IMAGES]


class Plain(BaseRunner):
    """Steps that a training does not need."""

    def preprocess(self, input_data: Any, args: Any, /) -> Any:
        return None

    inference = preprocess

    def postprocess(self, data: Any, args: Any, /) -> list[str]:
        return [self.fetch_asset("files/mean.txt").getvalue().decode()]


def runner_with(body: Any) -> type[BaseRunner]:
    """A Runner whose `train` does this with itself, the sample ids and the args."""
    return type("Made", (Plain,), {"train": lambda self, ids, args: body(self, ids, args)})


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mean.txt").write_text("0")
    return tmp_path


def learn(self: Any, ids: list[str], args: Any) -> None:
    dataset = self.get_training_dataset(ids)
    images = [self.fetch_data(dataset[i, "image"], ImageSchema)[0]["image"] for i in range(len(dataset))]
    self.set_progress(0.5)
    self.set_state({"mean": np.mean(images)})
    self.save_checkpoint({"files/mean.txt": str(np.mean(images)).encode()}, {"count": np.int64(len(images))})


def test_a_training_gives_its_checkpoints_and_what_it_said(assets: Path) -> None:
    trained = testing.train(runner_with(learn), SAMPLES, assets=assets)
    assert [(one.assets, one.properties) for one in trained] == [({"files/mean.txt": b"2.0"}, {"count": 2})]
    assert (trained.progress, trained.states) == ([0.5], [{"mean": 2.0}])


def test_a_run_with_a_checkpoint_sees_its_assets(assets: Path) -> None:
    (checkpoint,) = testing.train(runner_with(learn), SAMPLES, assets=assets)
    assert testing.run(Plain, (), assets=assets, checkpoint=checkpoint.assets).ids == ["2.0"]


def test_a_dataset_goes_through_the_temp_store_in_folders_that_tell_what_is_in_them(assets: Path) -> None:
    seen: list[Any] = []

    def through(self: Any, ids: list[str], args: Any) -> None:
        local = self.download_dataset_to_temp_store(self.get_training_dataset(ids), {"image": ImageSchema})
        seen.append([Path(local[0][0]["image"][0]).relative_to(self.task_handler.temp_store.root).parts[:3], ids[0]])
        seen.append([entry["image"][0]["image"].mean() for (entry,) in self.load_dataset_from_temp_store(local)])
        self.save_checkpoint({"files/mean.txt": b""})

    testing.train(runner_with(through), SAMPLES, assets=assets)
    (parts, first), means = seen
    assert (parts, means) == ((first, "file_000000", "image"), [1.0, 3.0])


@pytest.mark.parametrize("content", [b"7", bytearray(b"7"), memoryview(b"7"), io.BytesIO(b"7")])
def test_contents_of_a_checkpoint_are_bytes_of_any_kind(assets: Path, content: Any) -> None:
    def save(self: Any, ids: list[str], args: Any) -> None:
        self.save_checkpoint({"./files\\mean.txt": content})

    (checkpoint,) = testing.train(runner_with(save), SAMPLES, assets=assets)
    assert checkpoint.assets == {"files/mean.txt": b"7"}


def test_a_checkpoint_can_be_taken_back(assets: Path) -> None:
    def keep_best(self: Any, ids: list[str], args: Any) -> None:
        worse = self.save_checkpoint({"files/mean.txt": b"1"})
        self.save_checkpoint({"files/mean.txt": b"2"})
        self.delete_checkpoint(worse)
        assert len(self.task_handler.output_checkpoint_ids) == 1

    assert [one.assets["files/mean.txt"] for one in testing.train(runner_with(keep_best), SAMPLES, assets=assets)] == [
        b"2"
    ]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (lambda self, ids, args: None, TrainingWithoutCheckpoint),
        (lambda self, ids, args: self.save_checkpoint({"files/other.txt": b""}), CheckpointInvalid),
        (lambda self, ids, args: self.save_checkpoint({"../mean.txt": b""}), CheckpointInvalid),
        (lambda self, ids, args: self.save_checkpoint({}), CheckpointInvalid),
        (lambda self, ids, args: self.save_checkpoint({"files/mean.txt": "text"}), TypeError),
        (lambda self, ids, args: self.save_checkpoint(b""), TypeError),
        (lambda self, ids, args: self.delete_checkpoint("x"), ValueError),
        (lambda self, ids, args: self.get_training_dataset([]), SampleNotFound),
        (lambda self, ids, args: self.get_training_dataset(["x"]), SampleNotFound),
        (lambda self, ids, args: self.get_training_dataset(ids[0]), ValueError),
        (
            lambda self, ids, args: self.download_dataset_to_temp_store(self.get_training_dataset(ids), {}),
            SchemaMissing,
        ),
        (lambda self, ids, args: self.set_state({"a": object()}), ValueError),
        (lambda self, ids, args: self.set_state({"a": "x" * (1 << 20)}), ValueError),
    ],
)
def test_what_cannot_be_is_an_error_that_says_so(assets: Path, body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        testing.train(runner_with(body), SAMPLES, assets=assets)


def test_a_runner_without_train_is_not_trainable() -> None:
    with pytest.raises(NotTrainable, match="defines no train"):
        testing.train(Plain, SAMPLES)
    assert issubclass(NotTrainable, NotImplementedError)


def test_only_a_training_saves_checkpoints(assets: Path) -> None:
    class Saving(Plain):
        def postprocess(self, data: Any, args: Any, /) -> list[str]:
            self.save_checkpoint({"files/mean.txt": b""})
            return []

    with pytest.raises(NoTraining):
        testing.run(Saving, (), assets=assets)


def test_state_can_be_set_in_any_run() -> None:
    class Telling(Plain):
        def postprocess(self, data: Any, args: Any, /) -> list[str]:
            before = self.get_state()
            self.set_state({"step": 1})
            return [str(before), str(self.get_state())]

    assert testing.run(Telling, ()).ids == ["{}", "{'step': 1}"]


def test_after_a_stop_a_last_checkpoint_is_still_saved(assets: Path) -> None:
    caught: list[str] = []

    def stopped(self: Any, ids: list[str], args: Any) -> None:
        self.task_handler._link.stop()
        try:
            self.set_progress(0.1)
        except TaskStoppedException:
            caught.append(self.save_checkpoint({"files/mean.txt": b"last"}))
            raise

    with pytest.raises(TaskStoppedException):
        testing.train(runner_with(stopped), SAMPLES, assets=assets)
    assert len(caught) == 1


def test_a_benchmark_gives_what_json_has() -> None:
    class Measured(Plain):
        def benchmark(self, args: Any, /) -> Any:
            return {"seconds": np.float32(0.5), "args": args}

    assert testing.benchmark(Measured, {"size": 2}) == {"seconds": 0.5, "args": {"size": 2}}
    with pytest.raises(NoBenchmark):
        testing.benchmark(Plain)


def test_an_empty_benchmark_is_an_empty_dict() -> None:
    assert testing.benchmark(type("Quiet", (Plain,), {"benchmark": lambda self, args: None})) == {}


def test_overridden_ways_to_run_still_count(assets: Path) -> None:
    class Own(Plain):
        def run_training(self, training_data: Any, args: Any = None) -> None:
            assert isinstance(self.task_handler, TrainingHandler)
            self.save_checkpoint({"files/mean.txt": b"own"})

    assert testing.train(Own, SAMPLES, assets=assets)[0].assets == {"files/mean.txt": b"own"}


READS_BESIDE_ITSELF = """
from pathlib import Path

from voxloom.runner import BaseRunner


class Runner(BaseRunner):
    def preprocess(self, input_data, args):
        return None

    inference = preprocess

    def postprocess(self, data, args):
        return [(Path(__file__).parent / "files" / "mean.txt").read_text()]
"""


def test_a_checkpoint_is_in_the_folder_that_the_algorithm_sees_and_not_in_the_authors(assets: Path) -> None:
    (assets / "Runner.py").write_text(READS_BESIDE_ITSELF)
    ids = [testing.run(assets, checkpoint=one).ids for one in ({"files/mean.txt": b"7"}, None)]
    assert (ids, (assets / "files" / "mean.txt").read_text()) == ([["7"], ["0"]], "0")


def test_the_runner_of_the_training_guide_learns(tmp_path: Path) -> None:
    # Given the guide's algorithm, and images whose masks are where they are brighter than 0.7
    folder = write_algorithm(tmp_path / "algorithm", "docs/training.md", 0)
    (folder / "files").mkdir()
    (folder / "files" / "threshold.txt").write_text("0.1")
    images = np.random.default_rng(0).random((2, 16, 16), np.float32)
    masks = (images > 0.7).astype(np.uint8)
    # When it is trained on them
    sample = [{"image": list(images), "mask": list(masks)}]
    (checkpoint,) = testing.train(folder, [sample], {"steps": 200})
    # Then it finds what it did not find before
    trained = testing.run(folder, images, checkpoint=checkpoint.assets)
    untrained = testing.run(folder, images)
    right = [np.mean(np.stack([one["mask"] for one in outputs]) == masks) for outputs in (untrained, trained)]
    assert right[0] < 0.5 < 0.98 < right[1]
