"""Debugging as algorithms written for Compox do it, on the machinery of `voxloom.testing`."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxloom import imagefiles, testing
from voxloom.errors import InvalidInput
from voxloom.ids import new_id
from voxloom.runner import importing
from voxloom.runner.base import execute, make
from voxloom.runner.context import current_handler
from voxloom.runner.handler import TaskHandler
from voxloom.runner.traininghandler import TrainingHandler

PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_DEVICES = {"gpu": "cuda"}


def debug(
    algo_dir: str | Path = ".", data: str | Path = ".", params: dict[str, Any] | None = None, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Runs the algorithm in a folder on local data, prints its log and outputs, and returns the outputs."""
    with LocalDebugSession(device=device) as session:
        outputs = session.run(algo_dir, session.load_data(data), params)
    for level, text in outputs.log:
        sys.stdout.write(f"{level} {text}\n")
    for number, output in enumerate(outputs):
        told = ", ".join(f"{name} {_told(value)}" for name, value in output.items())
        sys.stdout.write(f"output {number}: {told}\n")
    return list(outputs)


def _told(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)


class LocalDebugSession:
    """Data from local files, and runs on it, without a server. Its files go with its `with` block, or with itself."""

    def __init__(self, task_id: str = "local-debug", device: str = "cpu", tmp_bucket: str = "data-store") -> None:
        self._folder = _folder_for(self)
        self.link = testing.LocalLink(self._folder, device=_DEVICES.get(device, device))
        self.link.task_id = task_id
        self.database_connection = LocalObjects(self.link, tmp_bucket)

    def __enter__(self) -> LocalDebugSession:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def load_data(self, path: str | Path) -> list[str]:
        """The ids of new files: one image per slice of a .npy, .tif or .h5 (its first dataset of two or three axes), or
        per picture of a folder, in the order of their names."""
        place = Path(path)
        if place.is_dir():
            return self.load_from_folder(place)
        return self.load_from_file(place)

    def load_from_folder(self, folder: str | Path, exts: Sequence[str] = PICTURES) -> list[str]:
        found = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in exts)
        if not found:
            raise InvalidInput(f"There is no picture in {folder}; name a file, or a folder with {', '.join(exts)}.")
        return [one for file in found for one in self.load_from_file(file)]

    def load_from_array(self, array: Any) -> list[str]:
        image = np.asarray(array)
        if image.ndim not in (2, 3):
            raise InvalidInput(f"An image has two axes, or three for a stack; this one has {image.ndim}.")
        return [self.link.add({"image": one}) for one in (image if image.ndim == 3 else [image])]

    def load_from_file(self, filepath: str | Path) -> list[str]:
        return self.load_from_array(_picture(Path(filepath)))

    load_from_npy = load_from_h5 = load_from_tiff = load_from_pil_image = load_from_file

    def run(
        self,
        algo_dir: str | Path,
        inputs: Mapping[str, Any] | Sequence[str] = (),
        args: dict[str, Any] | None = None,
    ) -> testing.Outputs:
        """What the algorithm in that folder makes of loaded files: their ids, or `{"input_dataset_ids": ids}`."""
        ids = inputs["input_dataset_ids"] if isinstance(inputs, Mapping) else inputs
        home = Path(algo_dir)
        self.link.use_assets(home)
        with testing.imported(home) as runner_class:
            made = make(runner_class, TaskHandler(self.link))
            outputs = execute(made, TaskHandler(self.link), {"input_dataset_ids": list(ids)}, args)
        return testing.Outputs(outputs, self.link)


class LocalObjects:
    """The files of a session as objects of one collection, as tests written for Compox plant and read them."""

    def __init__(self, link: testing.LocalLink, collection: str = "data-store") -> None:
        self._link = link
        self._collection = collection

    @property
    def files(self) -> dict[str, Path]:
        """Where they lie, by id."""
        return self._link.files

    def put_objects(self, collection_name: str, object_names: Sequence[str], object: Sequence[Any]) -> None:  # noqa: A002
        """Bytes of HDF5 files, or file-like objects of them, under the ids that runs fetch them by."""
        self._check(collection_name)
        for name, content in zip(object_names, object, strict=True):
            self._link.add_bytes(name, content.read() if hasattr(content, "read") else bytes(content))

    def get_objects(self, collection_name: str, object_names: Sequence[str]) -> list[bytes]:
        self._check(collection_name)
        return [path.read_bytes() for path in self._link.fetch_paths(object_names)]

    def list_objects(self, collection_name: str) -> list[str]:
        self._check(collection_name)
        return list(self._link.files)

    def _check(self, collection_name: str) -> None:
        if collection_name != self._collection:
            raise InvalidInput(f"There is no collection {collection_name!r} here, only {self._collection!r}.")


class _Local(TaskHandler):
    """A handler on local files; `fetch_algorithm` gives runners that use it."""

    _home: Path | None = None

    def __init__(self, link: testing.LocalLink) -> None:
        self._local = link
        super().__init__(link)

    def fetch_algorithm(
        self, path_to_algorithm: str | Path, device: str = "cpu", checkpoint_id: str | None = None
    ) -> Any:
        """A runner with its assets loaded, whose run this handler is. Raises ImportError, and KeyError for a checkpoint
        that this handler has not saved."""
        self.close()
        self._home = home = Path(path_to_algorithm)
        self._local.device = _DEVICES.get(device, device)
        self._local.use_assets(home)
        self._local.overlay = self._local.checkpoints[checkpoint_id].assets if checkpoint_id else {}
        try:
            runner_class = importing.load_runner_class(home.resolve())
        except importing.ModuleUnusable as error:
            raise ImportError(str(error)) from error
        self.set_as_current_handler()
        return make(runner_class, self)

    def close(self) -> None:
        """Lets go of the algorithm, so that another may use the names of its modules."""
        if self._home is not None:
            importing.uninstall()
            testing.forget_modules(self._home)
            current_handler.set(None)
            self._home = None

    def fetch_asset(self, path_to_asset: str) -> io.BytesIO:
        """From a file of the algorithm, by its path below its folder; by an absolute path, or before an algorithm is
        fetched, from any local file. Raises FileNotFoundError."""
        place = Path(path_to_asset)
        if place.is_absolute() or self._home is None:
            return io.BytesIO(place.read_bytes())
        try:
            return super().fetch_asset(path_to_asset)
        except KeyError as error:
            raise FileNotFoundError(str(error)) from None


class DebuggingTaskHandler(_Local):
    """A run's handler on local files."""

    def __init__(self, task_id: str = "debug") -> None:
        link = testing.LocalLink(_folder_for(self))
        link.task_id = task_id
        super().__init__(link)
        self.database_connection = LocalObjects(link)


class DebuggingTrainingHandler(_Local, TrainingHandler):
    """A training's handler on local files: those of `database_connection`, which is another handler's, if given."""

    def __init__(
        self, database_connection: LocalObjects | None = None, training_id: str = "", temp_store: Any = None
    ) -> None:
        link = testing.LocalLink(_folder_for(self))
        link.task_id = training_id or new_id()
        if database_connection is not None:
            link.files = database_connection.files
        super().__init__(link)
        if temp_store is not None:
            self.temp_store = temp_store
        self.database_connection = database_connection or LocalObjects(link)


def _folder_for(owner: object) -> Path:
    """A new folder, which goes when its owner does."""
    folder = tempfile.mkdtemp(prefix="voxloom-debug-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _picture(path: Path) -> np.ndarray:
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return _with_pillow(path)
    if imagefiles.kind_of_file(path) == "hdf5":
        with imagefiles.open_hdf5(path) as file:
            shapes = imagefiles.image_datasets(path, file)
        name = next((name for name, shape in shapes.items() if len(shape) in (2, 3)), None)
        if name is None:
            raise InvalidInput(f"{path} has no dataset of two or three axes.")
        return np.asarray(imagefiles.read_image(path, name))
    return np.asarray(imagefiles.read_image(path))


def _with_pillow(path: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise InvalidInput(f"To read {path.name}, install Pillow (`pip install pillow`), or save it as .tif.") from None
    try:
        with Image.open(imagefiles.require_file(path)) as image:
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow makes of a damaged file
        raise InvalidInput(f"{path} cannot be read ({error}); check that the file is whole.") from error
