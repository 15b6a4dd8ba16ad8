"""Run a Runner in this process on arrays or local files, without a server.

    outputs = run(Runner, np.zeros((4, 64, 64), np.uint8), {"sigma": 2.0})
    outputs[0]["image"]

The same class, schemas and HDF5 code as in a real run; what differs is that nothing is isolated: the algorithm's code
runs here, on this interpreter's modules.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from voxloom import imagefiles, parameters
from voxloom.errors import InvalidInput
from voxloom.ids import new_id
from voxloom.manifest import read_folder
from voxloom.runner import base, hdf5, importing
from voxloom.runner.base import BaseRunner, execute, make
from voxloom.runner.benchmarkhandler import BenchmarkHandler
from voxloom.runner.exceptions import AssetNotFound, FileUnknown, TaskStoppedException, kind_of
from voxloom.runner.handler import Level, TaskHandler, normal_asset_path
from voxloom.runner.sessions import DataCache, RunSession
from voxloom.runner.training import SampleNotFound
from voxloom.runner.traininghandler import CheckpointInvalid, TrainingHandler


class Outputs(list[dict[str, Any]]):
    """The datasets of each output file, in the order that `postprocess` gave."""

    def __init__(self, ids: list[str], link: LocalLink) -> None:
        super().__init__(hdf5.read(link.files[file_id]) for file_id in ids if file_id in link.files)
        self.ids = ids
        """Everything that `postprocess` gave, also what is no file's id."""
        self.log = link.lines
        """(level, text) of every message, DEBUG too."""
        self.progress = link.progress
        """Every value reported, in order."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """What a training has saved: new contents of assets by their paths."""

    checkpoint_id: str
    assets: dict[str, bytes]
    properties: dict[str, Any]


class Trained(list[SavedCheckpoint]):
    """The checkpoints that a training has left, the oldest first."""

    def __init__(self, link: LocalLink) -> None:
        super().__init__(link.checkpoints.values())
        self.log = link.lines
        """(level, text) of every message, DEBUG too."""
        self.progress = link.progress
        self.states = link.states
        """Every state that was set, in order."""


class LocalLink:
    """A Link to a folder: files in, files out, assets where they lie."""

    def __init__(self, folder: Path, *, device: str = "cpu", assets: Path | None = None) -> None:
        self.task_id = new_id()
        self.session_token = new_id()
        self.device = device
        self.files: dict[str, Path] = {}
        self.lines: list[tuple[Level, str]] = []
        self.progress: list[float] = []
        self.states: list[dict[str, Any]] = []
        self.known_samples: dict[str, dict[str, Any]] = {}
        self.checkpoints: dict[str, SavedCheckpoint] = {}
        self.overlay: dict[str, bytes] = {}
        """Assets that a checkpoint has in place of the algorithm's."""
        self._folder = folder
        self._assets = assets
        self._staged: dict[str, Path] = {}
        self._session: RunSession | None = None
        self._stop = False

    def add(self, datasets: dict[str, Any]) -> str:
        """A new input file; returns its id."""
        ((file_id, path),) = self.stage(1)
        hdf5.write(path, {name: hdf5.encode(name, value) for name, value in datasets.items()})
        self.post([file_id])
        return file_id

    def add_path(self, path: Path) -> str:
        """An input file that lies elsewhere."""
        file_id = new_id()
        self.files[file_id] = path
        return file_id

    def add_bytes(self, file_id: str, content: bytes) -> None:
        """An input file under an id of the caller's."""
        self.files[file_id] = self._folder / f"given-{new_id()}.h5"
        self.files[file_id].write_bytes(content)

    def use_assets(self, folder: Path) -> None:
        """From now on assets are read from there."""
        self._assets = folder

    def stop(self) -> None:
        """The next call into the runner API raises TaskStoppedException."""
        self._stop = True

    def check_stopped(self) -> None:
        if self._stop:
            self._stop = False
            raise TaskStoppedException

    def fetch_paths(self, file_ids: Sequence[str]) -> list[Path]:
        if unknown := [file_id for file_id in file_ids if file_id not in self.files]:
            raise FileUnknown(f"There is no file {unknown[0]}: fetch inputs of this run, or what it has posted.")
        return [self.files[file_id] for file_id in file_ids]

    def stage(self, count: int) -> list[tuple[str, Path]]:
        staged = [(file_id, self._folder / f"{file_id}.h5") for file_id in (new_id() for _ in range(count))]
        self._staged.update(staged)
        return staged

    def post(self, file_ids: Sequence[str]) -> None:
        self.files.update((file_id, self._staged.pop(file_id)) for file_id in file_ids)

    def asset_path(self, path: str) -> Path:
        if path in self.overlay:
            place = self._folder / f"asset-{new_id()}"
            place.write_bytes(self.overlay[path])
            return place
        if self._assets is None:
            raise AssetNotFound(f"There is no asset {path!r}: pass the algorithm's folder as `assets`.")
        if not (found := self._assets / path).is_file():
            raise AssetNotFound(f"There is no asset {path!r} in {self._assets}.")
        return found

    def samples(self, sample_ids: Sequence[str]) -> list[dict[str, Any]]:
        if unknown := [one for one in sample_ids if one not in self.known_samples]:
            raise SampleNotFound(f"There is no sample {unknown[0]!r}: use those that `train` got.")
        return [self.known_samples[one] for one in sample_ids]

    def add_sample(self, entries: Sequence[Mapping[str, Sequence[str]]]) -> str:
        """A new sample of files that were added; returns its id."""
        sample_id = new_id()
        files = [{key: list(ids) for key, ids in entry.items()} for entry in entries]
        self.known_samples[sample_id] = {"sample_id": sample_id, "files": files}
        return sample_id

    def save_checkpoint(self, assets: Mapping[str, bytes], properties: Mapping[str, Any]) -> str:
        for path in assets:
            self._check_asset(path)
        checkpoint = SavedCheckpoint(new_id(), dict(assets), dict(properties))
        self.checkpoints[checkpoint.checkpoint_id] = checkpoint
        return checkpoint.checkpoint_id

    def _check_asset(self, path: str) -> None:
        if self._assets is not None and not (self._assets / path).is_file():
            raise CheckpointInvalid(
                f"{path!r} is no asset in {self._assets}: a checkpoint replaces assets by their paths."
            )

    def drop_checkpoint(self, checkpoint_id: str) -> None:
        del self.checkpoints[checkpoint_id]

    @property
    def scratch(self) -> Path:
        return self._folder

    @property
    def session(self) -> RunSession | None:
        """None, unless one was given to it: items that nobody shares would go unnoticed."""
        return self._session

    def use_session(self, cache: DataCache) -> None:
        self._session = RunSession(lambda: cache, self, lambda text: self.log(text, "WARNING"))

    def session_index(self) -> dict[str, str]:
        return {}

    def session_fetch(self, key: str) -> Path | None:
        return None

    def session_store(self, items: Mapping[str, Path], removed: Sequence[str]) -> dict[str, str]:
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.states.append(dict(state))

    def set_progress(self, progress: float) -> None:
        self.progress.append(progress)

    def send_log(self) -> None:
        """All lines are there at once."""

    def log(self, text: str, level: Level) -> None:
        self.lines.append((level, text))


Input = np.ndarray | dict[str, Any] | str | Path


def run(
    runner: type[BaseRunner] | str | Path,
    inputs: Input | Sequence[Input] = (),
    args: dict[str, Any] | None = None,
    *,
    device: str = "cpu",
    assets: str | Path | None = None,
    checkpoint: Mapping[str, bytes] | None = None,
    session: DataCache | None = None,
) -> Outputs:
    """Runs a Runner class, or the one in an algorithm's folder, and returns what it gave back.

    Each input is one file: a dict of datasets, the path of an .h5 file, or, for the runners that know their data, an
    array or the path of a .tif or .npy file. One array of three or more axes is a stack: one file per item of its
    first axis. `args` are checked and filled in as a server does it, where a folder says how. `assets` is the folder
    that `fetch_asset` reads from, by default the algorithm's; `checkpoint` has contents in place of some of them.
    Runs with the same `session`, a `voxloom.runner.sessions.DataCache()`, share its items.
    Raises what the algorithm raises, and InvalidInput for what a server would refuse."""
    if isinstance(runner, str | Path):
        with _with_checkpoint(Path(runner), checkpoint) as home, imported(home) as runner_class:
            args, told = _as_a_server(home, args, "additional_parameters")
            more: dict[str, Any] = {"assets": assets or home, "checkpoint": checkpoint, "session": session}
            outputs = run(runner_class, inputs, args, device=device, **more)
            outputs.log[:0] = told
            return outputs
    with tempfile.TemporaryDirectory(prefix="voxloom-testing-") as folder:
        link = LocalLink(Path(folder), device=device, assets=Path(assets) if assets else None)
        link.overlay = dict(checkpoint or {})
        if session is not None:
            link.use_session(session)
        input_ids = [_add_input(link, runner, item) for item in _items(inputs)]
        made = make(runner, TaskHandler(link))
        ids = execute(made, TaskHandler(link), {"input_dataset_ids": input_ids}, args)
        return Outputs(ids, link)


def train(
    runner: type[BaseRunner] | str | Path,
    samples: Sequence[Sequence[Mapping[str, Sequence[Input]]]],
    args: dict[str, Any] | None = None,
    *,
    device: str = "cpu",
    assets: str | Path | None = None,
    checkpoint: Mapping[str, bytes] | None = None,
) -> Trained:
    """Trains a Runner class, or the one in an algorithm's folder, and returns the checkpoints that it leaves.

    Each sample is a list of entries, each with a list of inputs per key: [[{"image": [{"image": array}]}]]. An array
    alone becomes the dataset that the key is called; else as with `run`. Raises what the algorithm raises."""
    if isinstance(runner, str | Path):
        with _with_checkpoint(Path(runner), checkpoint) as home, imported(home) as runner_class:
            args, told = _as_a_server(home, args, "training_parameters")
            trained = train(runner_class, samples, args, device=device, assets=assets or home, checkpoint=checkpoint)
            trained.log[:0] = told
            return trained
    with tempfile.TemporaryDirectory(prefix="voxloom-testing-") as folder:
        link = LocalLink(Path(folder), device=device, assets=Path(assets) if assets else None)
        link.overlay = dict(checkpoint or {})
        sample_ids = [link.add_sample([_add_entry(link, entry) for entry in sample]) for sample in samples]
        base.train(make(runner, TrainingHandler(link)), TrainingHandler(link), sample_ids, args)
        return Trained(link)


def benchmark(
    runner: type[BaseRunner] | str | Path,
    args: dict[str, Any] | None = None,
    *,
    device: str = "cpu",
    assets: str | Path | None = None,
) -> dict[str, Any]:
    """What the `benchmark` of a Runner class, or of the one in an algorithm's folder, finds."""
    if isinstance(runner, str | Path):
        with imported(Path(runner)) as runner_class:
            return benchmark(runner_class, args, device=device, assets=assets or runner)
    with tempfile.TemporaryDirectory(prefix="voxloom-testing-") as folder:
        link = LocalLink(Path(folder), device=device, assets=Path(assets) if assets else None)
        return base.benchmark(make(runner, TaskHandler(link)), BenchmarkHandler(link), args)


@contextmanager
def _with_checkpoint(folder: Path, checkpoint: Mapping[str, bytes] | None) -> Iterator[Path]:
    """The algorithm's folder; with a checkpoint a copy that has its files, as a run sees them. What is not deployed
    (hidden files, caches) is not copied."""
    if not checkpoint:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="voxloom-testing-") as place:
        copy = Path(
            shutil.copytree(folder, Path(place) / "algorithm", ignore=shutil.ignore_patterns(".*", "__pycache__"))
        )
        for name, content in checkpoint.items():
            path = copy / normal_asset_path(name)
            if path.is_file():  # Of others `fetch_asset` says what is wrong.
                path.write_bytes(content)
        yield copy


def _add_entry(link: LocalLink, entry: Mapping[str, Sequence[Input]]) -> dict[str, list[str]]:
    return {key: [_add_file(link, key, item) for item in items] for key, items in entry.items()}


def _add_file(link: LocalLink, key: str, item: Input) -> str:
    if isinstance(item, str | Path):
        return link.add_path(Path(item))
    return link.add(item if isinstance(item, dict) else {key: item})


def _as_a_server(
    folder: Path, args: dict[str, Any] | None, declared: Literal["additional_parameters", "training_parameters"]
) -> tuple[dict[str, Any], list[tuple[Level, str]]]:
    """Checked, and with the defaults, where the folder declares parameters; and what the log says of the others."""
    sent = dict(args or {})
    if not (folder / "pyproject.toml").is_file():
        return sent, []
    manifest = read_folder(folder)
    known = getattr(manifest, declared)
    told: list[tuple[Level, str]] = [("WARNING", text) for text in parameters.warnings(known, sent)]
    return parameters.check_parameters(known, sent, strict=manifest.strict), told


def _items(inputs: Input | Sequence[Input]) -> Iterable[Input]:
    if isinstance(inputs, str | Path):
        inputs = _opened(Path(inputs))
    if isinstance(inputs, np.ndarray):
        return inputs if inputs.ndim > 2 else [inputs]
    if isinstance(inputs, dict | Path):
        return [inputs]
    if not isinstance(inputs, Iterable):
        raise _no_input(inputs)
    return [_opened(Path(item)) if isinstance(item, str | Path) else item for item in inputs]


def _opened(path: Path) -> np.ndarray | Path:
    """What is in an image file; an HDF5 file stays one."""
    if imagefiles.kind_of_file(path) == "hdf5":
        return path
    with imagefiles.open_image(path) as source:
        pixels = imagefiles.read_item(source, None)
        return pixels[np.newaxis] if imagefiles.is_colour(source) else pixels


def _add_input(link: LocalLink, runner: type[BaseRunner], item: Input) -> str:
    if isinstance(item, Path):
        return link.add_path(item)
    if isinstance(item, np.ndarray):
        if (key := getattr(runner, "input_key", None)) is None:
            raise InvalidInput(f"{runner.__name__} does not tell its datasets' names: pass {{name: array}} instead.")
        return link.add({key: item})
    if not isinstance(item, dict):
        raise _no_input(item)
    return link.add(item)


def _no_input(item: object) -> InvalidInput:
    return InvalidInput(f"An input is an array, a dict or a path, not {kind_of(item)}.")


@contextmanager
def imported(folder: Path) -> Iterator[type[BaseRunner]]:
    """An algorithm's class. Its modules leave again, so that the next algorithm may use their names."""
    if not folder.is_dir():
        raise InvalidInput(f"There is no folder {folder}; name the one that has the Runner.py, or pass the class.")
    modules, environment = set(sys.modules), dict(os.environ)
    try:
        yield importing.load_runner_class(folder.resolve())
    finally:
        importing.uninstall()
        os.environ.clear()
        os.environ.update(environment)
        forget_modules(folder, keep=modules)


def forget_modules(folder: Path, keep: Collection[str] = ()) -> None:
    """An algorithm's modules leave, so that the next one may use their names."""
    for name in set(sys.modules).difference(keep):
        if _lies_in(folder.resolve(), sys.modules[name]):
            del sys.modules[name]


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
    return bool(file) and Path(file).is_relative_to(folder)
