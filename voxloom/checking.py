"""What a deploy would say of an algorithm, without a server: `voxloom.check(folder)`, and `voxloom check`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from voxloom.bundle import pack_folder
from voxloom.errors import InvalidInput
from voxloom.manifest import LARGEST_PYPROJECT, Manifest
from voxloom.runner import libraries
from voxloom.runner.describe import describe
from voxloom.unpack import unpack_zip

CHECK_SECS = 60
"""Without the time that libraries take."""
LOOK_SECS = 0.5
MEMORY = 1 << 40
"""Bytes of address space for the import: this is the author's own machine."""


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"Warning: {text}\n")


def check(source: str | Path, warn: Callable[[str], object] = _to_stderr) -> Manifest:
    """What a deploy would see in a folder or zip: name, versions and everything else, with `warnings`, of which each is
    told to `warn`. Runner.py is imported in another process. Raises InvalidInput with what to mend."""
    with tempfile.TemporaryDirectory(prefix="voxloom-check-") as scratch:
        manifest, lacks, folder = _read(Path(source), Path(scratch))
        for warning in manifest.warnings:
            warn(warning)
        if fault := _import_fault(folder, Path(scratch)):
            raise InvalidInput(f"{fault}\nMind that {lacks}." if lacks else fault)
    return manifest


class _Read(NamedTuple):
    manifest: Manifest
    lacks: str
    folder: Path


def _read(source: Path, scratch: Path) -> _Read:
    """The manifest, which dependencies are not here, and the algorithm's folder as a run sees it. Everything goes the
    way that a deploy takes."""
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
    manifest, lacks = describe(algorithm.pyproject(LARGEST_PYPROJECT + 1), algorithm.paths)
    algorithm.lay_out()
    return _Read(manifest, lacks, algorithm.module_dir)


def _import_fault(folder: Path, scratch: Path) -> str | None:
    """Why the algorithm cannot be loaded, tried out in another process; None: it can."""
    report, notes = scratch / "report.json", scratch / "notes"
    limits = [str(MEMORY), str(int(CHECK_SECS + libraries.LONGEST))]
    command = [sys.executable, "-m", "voxloom.runner.check", str(folder), str(report), *limits, str(notes)]
    # What the algorithm prints is for people: stdout is ours.
    with subprocess.Popen(command, cwd=scratch, stdout=2) as process:  # noqa: S603  # our own module
        times = _wait(process, notes)
    if times.own > CHECK_SECS:
        beside = f", beside the time that libraries took ({told})" if (told := times.told()) else ""
        return f"The import of Runner.py takes longer than {CHECK_SECS} s{beside}."
    if not report.exists():
        return f"Its process ended with exit code {process.returncode} while importing Runner.py."
    verdict: dict[str, str | None] = json.loads(report.read_text())
    if verdict["fault"] is None:
        return None
    trace = verdict.get("trace") or ""
    return f"{verdict['fault']}\n{trace}".strip()


def _wait(process: subprocess.Popen[bytes], notes: Path) -> libraries.Times:
    """Waits for its end, and kills it when it takes too long."""
    while True:
        try:
            process.wait(LOOK_SECS)
            return libraries.Times(None, {})
        except subprocess.TimeoutExpired:
            times = libraries.read(notes)
        if times.own > CHECK_SECS:
            process.kill()
            return times
