"""A training's own folder for its data: written once, read again in every epoch, gone with the run.

Files there are HDF5 without a suffix, as `save` and `load` have it. Paths lead nowhere else.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from voxloom.runner import hdf5
from voxloom.runner.exceptions import TrainingError
from voxloom.runner.schemas import DataSchema, for_file


class PathOutside(TrainingError):
    code = "temp_store_path_invalid"


PREFIX = "voxloom-temp-store-"


def _new_folder(base_dir: str | Path | None, prefix: str) -> Path:
    if any(sign in prefix for sign in "/\\\0"):
        raise PathOutside(f"The prefix {prefix!r} leads out of the base folder: leave out slashes.")
    if base_dir is not None:
        Path(base_dir).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base_dir))


class TempStore:
    """Made without a folder it has one of its own, which `cleanup` removes; so does the end of a `with` block."""

    def __init__(
        self, root: str | Path | None = None, *, base_dir: str | Path | None = None, prefix: str = PREFIX
    ) -> None:
        """Without `root`, the new folder lies in `base_dir`, which is made where it is not there (None: where temporary
        files are), and its name begins with `prefix`. Raises PathOutside for a prefix that is no part of a name."""
        self.root = Path(root) if root is not None else _new_folder(base_dir, prefix)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    def mkdir(self, path: str | Path = "") -> Path:
        """A folder below the root, with those on the way to it. Raises PathOutside."""
        folder = self._inside(path)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(
        self,
        path: str | Path,
        files: Sequence[Any],
        pydantic_data_schema: type[DataSchema],
        parallel: bool = False,
    ) -> list[str]:
        """Writes each item into a file of its own; the paths in the same order. All are checked before the first is
        written. Raises pydantic's ValidationError, InvalidDataset and PathOutside."""
        checked = [for_file(pydantic_data_schema, item) for item in files]
        encoded = [{name: hdf5.encode(name, value) for name, value in item.items()} for item in checked]
        folder = self.mkdir(path)
        paths = [folder / uuid.uuid4().hex for _ in encoded]
        for place, datasets in zip(paths, encoded, strict=True):
            hdf5.write(place, datasets)
        return [str(path) for path in paths]

    def load(self, paths: Sequence[str | Path], parallel: bool = False, *keys: str) -> list[dict[str, Any]]:
        """What is in each file; of `keys`, those that are not there are None."""
        absent: dict[str, Any] = dict.fromkeys(keys)
        return [absent | hdf5.read(self._inside(path), keys or None) for path in paths]

    def cleanup(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def _inside(self, path: str | Path) -> Path:
        path = str(path)
        pure = PurePosixPath(path.replace("\\", "/"))
        root = self.root.resolve()
        found = (root / pure).resolve()
        if "\0" in path or not found.is_relative_to(root):
            raise PathOutside(f"The path {path!r} leads out of the temp store: name it below its root.")
        return found
