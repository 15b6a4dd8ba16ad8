"""Which folder a server of this machine keeps its data in, and whether one does so now."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOCKS = Path("/proc/locks")
_KEPT = ("objects", "bus")
"""The folders in it that a server has locked while it uses them."""


def find(told: Path | None, of_server: Callable[[], Path] | None) -> Path:
    """`told`: what somebody has named. `of_server`: how the server finds it, where there is a server here."""
    if told is not None:
        return told.expanduser().resolve()
    return usual() if of_server is None else of_server()


def usual() -> Path:
    """As the server itself would find it: from VOXLOOM_DATA, voxloom.toml, or else where users' data are."""
    told = os.environ.get("VOXLOOM_DATA") or _told_in_file(Path("voxloom.toml"))
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return (Path(told).expanduser() if told else Path(base) / "voxloom").resolve()


def _told_in_file(settings: Path) -> str | None:
    import tomllib

    if not settings.is_file():
        return None
    try:
        told = tomllib.loads(settings.read_text()).get("data")
    except ValueError:
        return None
    return told if isinstance(told, str) else None


def is_used(folder: Path, locks: Path = LOCKS) -> bool | None:
    """Whether a server has it open; None where that cannot be told. It takes no lock: a server may be starting."""
    try:
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    held = {line.split()[5].rpartition(":")[2] for line in lines if "FLOCK" in line and "->" not in line}
    inodes = set()
    for name in _KEPT:
        with suppress(OSError):
            inodes.add(str((folder / name / "lock").stat().st_ino))
    return not held.isdisjoint(inodes)


def use_of(folder: Path) -> str:
    """For people; empty where it cannot be told."""
    match is_used(folder):
        case True:
            return ", a server uses it"
        case False:
            return ", no server uses it (--data names the folder of one that was started with --data)"
        case None:
            return ""
