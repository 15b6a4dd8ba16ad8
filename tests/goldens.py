"""Messages that were on the wire once: tests/golden."""

from __future__ import annotations

from pathlib import Path


def type_of(path: Path) -> str:
    """`voxloom.record.kept.v1`, also of `voxloom.record.kept.v1.spared.json`: what came later has a file of its own."""
    return ".".join(path.stem.split(".")[:4])
