"""A disk with little room, of a test's own: a file system in a mount namespace, which root may make and users may, too.

Who is outside of the namespace sees it through `/proc`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_HOLD = 'mount -t tmpfs -o "size=$2" none "$1" && echo held && exec cat'


@dataclass(frozen=True)
class SmallDisk:
    place: Path
    """Where processes that are begun by `begin` find it."""
    holder: int

    @property
    def seen(self) -> Path:
        """The same folder for us."""
        return Path(f"/proc/{self.holder}/root{self.place}")

    @property
    def free(self) -> int:
        found = os.statvfs(self.seen)
        return found.f_bavail * found.f_frsize

    def begin(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """`voxloom` with these arguments, on the disk."""
        enter = ["nsenter", "--target", str(self.holder), "--mount"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        with log.open("ab") as file:
            return subprocess.Popen(
                [*enter, "--", sys.executable, "-m", "voxloom", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd="/",
            )

    def fill(self) -> Path:
        """Takes all the room there is."""
        ballast = self.seen / "ballast"
        with ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                while _has_written(file.fileno(), size):
                    pass
        return ballast


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[SmallDisk]:
    """Skips where neither root nor a user may mount anything."""
    place.mkdir(parents=True, exist_ok=True)
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    try:
        holder = subprocess.Popen(
            [*alone, "sh", "-c", _HOLD, "sh", str(place), f"{mib}m"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        pytest.skip("there is no `unshare` here to make a small disk with")
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"held\n":
            pytest.skip(f"no small disk can be made here: {holder.communicate()[1].decode().strip()}")
        yield SmallDisk(place, holder.pid)
    finally:
        holder.communicate()


def _has_written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, b"x" * size) == size
    except OSError:
        return False
