"""Reads what an algorithm says of itself: `python -m voxloom.runner.describe TOLD REPORT MEMORY SECONDS`.

TOLD is a JSON file, `{"pyproject": PATH or null, "files": [...]}`: where the pyproject.toml lies, and the paths of the
algorithm's files. REPORT becomes one, too: `{"refused": {"message": ..., "code": ...}}`, or `{"manifest": {...},
"plain": SHA256, "lacks": "a sentence"}`, where `plain` is of the pyproject without name and version, and `lacks` says
which dependencies this Python does not have. Nothing of the author's code runs here, and what takes more than MEMORY
bytes of address space, or SECONDS of processor time, ends without a report.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from voxloom import dependencies
from voxloom.errors import InvalidInput
from voxloom.identity import without_identity
from voxloom.manifest import LARGEST_PYPROJECT, Manifest, parse_manifest
from voxloom.runner.check import limit_process


def describe(pyproject: bytes | None, files: set[str]) -> tuple[Manifest, str]:
    """The manifest, and a sentence where this Python lacks what the algorithm depends on: the last of its warnings,
    then. Raises InvalidInput."""
    manifest = parse_manifest(pyproject, files)
    lacks = dependencies.warning(dependencies.lacking(manifest.dependencies))
    return manifest.model_copy(update={"warnings": [*manifest.warnings, *([lacks] if lacks else [])]}), lacks


def _report(told: dict[str, Any]) -> dict[str, Any]:
    pyproject = _read(told["pyproject"])
    try:
        manifest, lacks = describe(pyproject, set(told["files"]))
    except InvalidInput as error:
        return {"refused": {"message": error.message, "code": error.code}}
    plain = hashlib.sha256(without_identity(pyproject or b"")).hexdigest()
    return {"manifest": manifest.model_dump(mode="json"), "plain": plain, "lacks": lacks}


def _read(place: str | None) -> bytes | None:
    if place is None:
        return None
    with open(place, "rb") as file:
        return file.read(LARGEST_PYPROJECT + 1)


def main(arguments: list[str]) -> None:
    told, report, memory, seconds = arguments
    limit_process(int(memory), int(seconds))
    said = _report(json.loads(Path(told).read_bytes()))
    Path(report).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
