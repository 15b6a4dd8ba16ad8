"""Run a Runner in this process on arrays or local files, without a server.

    outputs = run(Runner, np.zeros((4, 64, 64), np.uint8), {"sigma": 2.0})
    outputs[0]["image"]

The same class, schemas and HDF5 code as in a real run; what differs is that nothing is isolated: the algorithm's code
runs here, on this interpreter's modules.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from voxloom import imagefiles
from voxloom.errors import InvalidInput
from voxloom.ids import new_id
from voxloom.manifest import read_folder
from voxloom.parameters import check_parameters
from voxloom.runner import hdf5, importing
from voxloom.runner.base import BaseRunner, execute, make
from voxloom.runner.exceptions import AssetNotFound, TaskStoppedException, kind_of
from voxloom.runner.handler import Level, TaskHandler
from voxloom.tiffs import ColourImage


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


class LocalLink:
    """A Link to a folder: files in, files out, assets where they lie."""

    def __init__(self, folder: Path, *, device: str = "cpu", assets: Path | None = None) -> None:
        self.task_id = new_id()
        self.session_token = new_id()
        self.device = device
        self.files: dict[str, Path] = {}
        self.lines: list[tuple[Level, str]] = []
        self.progress: list[float] = []
        self._folder = folder
        self._assets = assets
        self._staged: dict[str, Path] = {}
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

    def stop(self) -> None:
        """The next call into the runner API raises TaskStoppedException."""
        self._stop = True

    def check_stopped(self) -> None:
        if self._stop:
            self._stop = False
            raise TaskStoppedException

    def fetch_paths(self, file_ids: Sequence[str]) -> list[Path]:
        if unknown := [file_id for file_id in file_ids if file_id not in self.files]:
            raise InvalidInput(f"There is no file {unknown[0]}: fetch inputs of this run, or what it has posted.")
        return [self.files[file_id] for file_id in file_ids]

    def stage(self, count: int) -> list[tuple[str, Path]]:
        staged = [(file_id, self._folder / f"{file_id}.h5") for file_id in (new_id() for _ in range(count))]
        self._staged.update(staged)
        return staged

    def post(self, file_ids: Sequence[str]) -> None:
        self.files.update((file_id, self._staged.pop(file_id)) for file_id in file_ids)

    def asset_path(self, path: str) -> Path:
        if self._assets is None:
            raise AssetNotFound(f"There is no asset {path!r}: pass the algorithm's folder as `assets`.")
        if not (found := self._assets / path).is_file():
            raise AssetNotFound(f"There is no asset {path!r} in {self._assets}.")
        return found

    def set_progress(self, progress: float) -> None:
        self.progress.append(progress)

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
) -> Outputs:
    """Runs a Runner class, or the one in an algorithm's folder, and returns what it gave back.

    Each input is one file: a dict of datasets, the path of an .h5 file, or, for the runners that know their data, an
    array or the path of a .tif or .npy file. One array of three or more axes is a stack: one file per item of its
    first axis. `args` are checked and filled in as a server does it, where a folder says how. `assets` is the folder
    that `fetch_asset` reads from, by default the algorithm's.
    Raises what the algorithm raises, and InvalidInput for what a server would refuse."""
    if isinstance(runner, str | Path):
        home = Path(runner)
        with _imported(home) as runner_class:
            return run(runner_class, inputs, _as_a_server(home, args), device=device, assets=assets or home)
    with tempfile.TemporaryDirectory(prefix="voxloom-testing-") as folder:
        link = LocalLink(Path(folder), device=device, assets=Path(assets) if assets else None)
        input_ids = [_add_input(link, runner, item) for item in _items(inputs)]
        made = make(runner, TaskHandler(link))
        ids = execute(made, TaskHandler(link), {"input_dataset_ids": input_ids}, args)
        return Outputs(ids, link)


def _as_a_server(folder: Path, args: dict[str, Any] | None) -> dict[str, Any]:
    """Checked, and with the defaults, where the folder declares parameters."""
    if not (folder / "pyproject.toml").is_file():
        return dict(args or {})
    return check_parameters(read_folder(folder).additional_parameters, args or {})


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
    kind = imagefiles.kind_of(imagefiles.require_file(path))
    if kind in (None, "hdf5"):
        return path
    with imagefiles.open_image(path) as source:
        pixels = imagefiles.read_item(source, None)
        return pixels[np.newaxis] if isinstance(source, ColourImage) else pixels


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
def _imported(folder: Path) -> Iterator[type[BaseRunner]]:
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
        for name in set(sys.modules) - modules:
            if _lies_in(folder.resolve(), sys.modules[name]):
                del sys.modules[name]


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
    return bool(file) and Path(file).is_relative_to(folder)
