"""A run in this process: a function of the runner stands for what an author would write into a step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxloom import compat
from voxloom.runner.base import BaseRunner, execute, make, train
from voxloom.runner.handler import TaskHandler
from voxloom.runner.sessions import DataCache
from voxloom.runner.traininghandler import TrainingHandler
from voxloom.testing import LocalLink

Step = Callable[[Any], Any]


class Steps(BaseRunner):
    """The three steps at their plainest."""

    def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
        return input_data["input_dataset_ids"]

    def inference(self, data: Any, args: Any, /) -> Any:
        return data

    def postprocess(self, data: Any, args: Any) -> Any:
        return data


@pytest.fixture
def link(tmp_path: Path) -> LocalLink:
    """One whose session and assets are there."""
    (tmp_path / "assets" / "files").mkdir(parents=True)
    (tmp_path / "assets" / "files" / "weights.bin").write_bytes(b"\x00\x01")
    (tmp_path / "assets" / "pyproject.toml").write_text("[project]\n")
    made = LocalLink(tmp_path, assets=tmp_path / "assets", device="cuda")
    made.use_session(DataCache())
    return made


@pytest.fixture
def lonely(tmp_path: Path) -> LocalLink:
    """One without a session."""
    return LocalLink(tmp_path)


@pytest.fixture
def names() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(compat.PATH))
    yield
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "compox"]:
        del sys.modules[name]


def within(link: LocalLink, step: Step, base: type[Any] = Steps, args: dict[str, Any] | None = None) -> Any:
    """What `step(runner)` gives as the inference of a run, whose outputs are none."""
    given: list[Any] = []

    class Probe(base):  # type: ignore[misc]  # mypy takes no variable for a base class
        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            return None

        def inference(self, data: Any, args: Any) -> Any:
            given.append(step(self))

        def postprocess(self, data: Any, args: Any) -> Any:
            return []

    execute(make(Probe, TaskHandler(link)), TaskHandler(link), {"input_dataset_ids": []}, args)
    return given[0]


def learning(link: LocalLink, step: Step) -> Any:
    """What `step(runner)` gives as the `train` of a training, which saves a checkpoint at its end."""
    given: list[Any] = []

    class Probe(Steps):
        def train(self, training_data: list[str], args: Any) -> None:
            given.append(step(self))
            self.save_checkpoint({"files/weights.bin": b"last"})

    train(make(Probe, TrainingHandler(link)), TrainingHandler(link), list(link.known_samples))
    return given[0]


def add_sample(link: LocalLink, *values: int) -> str:
    """A sample with one entry, whose key `image` has an image of each of these values."""
    files = [link.add({"image": np.full((2, 2), value, np.uint8)}) for value in values]
    return link.add_sample([{"image": files}])
