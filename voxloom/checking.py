"""What a deploy would say of an algorithm, without a server: `voxloom.check(folder)`, and `voxloom check`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from voxloom.bundle import pack_folder
from voxloom.errors import InvalidInput
from voxloom.manifest import LARGEST_PYPROJECT, Manifest, parse_manifest
from voxloom.unpack import unpack_zip

CHECK_SECS = 60
MEMORY = 1 << 40
"""Bytes of address space for the import: this is the author's own machine."""


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"Warning: {text}\n")


def check(source: str | Path, warn: Callable[[str], object] = _to_stderr) -> Manifest:
    """What a deploy would see in a folder or zip: name, versions and everything else, with `warnings`, of which each is
    told to `warn`. Runner.py is imported in another process. Raises InvalidInput with what to mend."""
    with tempfile.TemporaryDirectory(prefix="voxloom-check-") as scratch:
        manifest, modules = _read(Path(source), Path(scratch))
        for warning in manifest.warnings:
            warn(warning)
        if fault := _import_fault(modules, Path(scratch)):
            raise InvalidInput(fault)
    return manifest


def _read(source: Path, scratch: Path) -> tuple[Manifest, Path]:
    """The manifest, and a folder with the modules. Everything goes the way that a deploy takes."""
    archive = source
    if source.is_dir():
        archive = scratch / "algorithm.zip"
        with archive.open("wb") as file:
            pack_folder(source, file)
    elif not source.is_file() or not zipfile.is_zipfile(source):
        raise InvalidInput(f"There is no algorithm at {source}; name a folder with a Runner.py, or a zip of it.")
    target = scratch / "files"
    target.mkdir()
    algorithm = unpack_zip(archive, target)
    return parse_manifest(algorithm.pyproject(LARGEST_PYPROJECT + 1), algorithm.paths), algorithm.module_dir


def _import_fault(modules: Path, scratch: Path) -> str | None:
    """Why the algorithm cannot be loaded, tried out in another process; None: it can."""
    report = scratch / "report.json"
    command = [sys.executable, "-m", "voxloom.runner.check", str(modules), str(report), str(MEMORY), str(CHECK_SECS)]
    try:
        # What the algorithm prints is for people: stdout is ours.
        done = subprocess.run(command, timeout=CHECK_SECS, check=False, cwd=scratch, stdout=2)  # noqa: S603  # our module
    except subprocess.TimeoutExpired:
        return f"The import of Runner.py takes longer than {CHECK_SECS} s."
    if not report.exists():
        return f"Its process ended with exit code {done.returncode} while importing Runner.py."
    verdict: dict[str, str | None] = json.loads(report.read_text())
    if verdict["fault"] is None:
        return None
    trace = verdict.get("trace") or ""
    return f"{verdict['fault']}\n{trace}".strip()
