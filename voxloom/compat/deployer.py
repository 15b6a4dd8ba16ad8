"""What a deploy would see of an algorithm's folder, under the name that Compox gives to it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from voxloom.bundle import PYPROJECT
from voxloom.compat.uuids import generate_uuid
from voxloom.manifest import read_folder
from voxloom.runner.frameworks import gone


class _Absent(type):
    """What Compox's class has, and this one has not, says what to use also where no object has been made."""

    def __getattr__(cls, name: str) -> Any:
        raise gone(cls.__name__, name)


class AlgorithmDeployer(metaclass=_Absent):
    """Reads and checks the folder; deploying it is for `voxloom deploy` and the client.

    Raises FileNotFoundError without a pyproject.toml, KeyError without name or version, else InvalidInput (ValueError).
    """

    def __init__(self, algorithm_directory: str | Path) -> None:
        folder = Path(algorithm_directory)
        _require_identity(folder)
        self.manifest = read_folder(folder)
        self.algorithm_name = self.manifest.name
        self.algorithm_major_version = self.manifest.major
        self.algorithm_minor_version = self.manifest.minor

    generate_uuid = staticmethod(generate_uuid)

    def __getattr__(self, name: str) -> Any:
        raise gone(type(self).__name__, name)


def _require_identity(folder: Path) -> None:
    if not (folder / PYPROJECT).is_file():
        raise FileNotFoundError(f"There is no {PYPROJECT} in {folder}: add one with [project], its name and version.")
    try:
        project = tomllib.loads((folder / PYPROJECT).read_text()).get("project", {})
    except ValueError:
        return  # read_folder says it better
    for key in ("name", "version"):
        if key not in project:
            raise KeyError(f"{PYPROJECT} has no [project] {key}: add it.")
