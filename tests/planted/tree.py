"""A copy of a checkout to plant bugs in, and a Python that has its code before any other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.planted.bug import Bug


class Tree:
    """`folder` is the copy, `python` runs its code, and `temporary` is what tests may fill.

    Runner processes get neither PYTHONPATH nor a working directory of use, and find `voxloom` only where it is
    installed. So the copy is installed: in a virtual environment of its own, which has the packages of this one, too.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "tree"
        self.temporary = home / "t"  # short: addresses of sockets are below it
        self._environment = home / "venv"

    @property
    def python(self) -> Path:
        return self._environment / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that is to run the copy's code."""
        own = {"PYTHONPATH": self.folder, "VIRTUAL_ENV": self._environment, "TMPDIR": self.temporary}
        return {**os.environ, **{name: str(path) for name, path in own.items()}}

    def make(self, checkout: Path) -> None:
        for file in _files_of(checkout):
            target = self.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / file, target, follow_symlinks=False)
        venv.create(self._environment, symlinks=True)
        (site_packages,) = self._environment.glob("lib/python*/site-packages")
        (site_packages / "planted.pth").write_text(f"{self.folder}\n{_packages_of_ours()}")
        self.temporary.mkdir()

    def clear(self) -> None:
        """Removes what tests have left."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()

    def find(self, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
        """The paths that fit, in the order of the patterns; and the patterns that nothing fits."""
        found = {pattern: sorted(self.folder.glob(pattern)) for pattern in patterns}
        paths = [str(path.relative_to(self.folder)) for some in found.values() for path in some]
        return list(dict.fromkeys(paths)), [pattern for pattern, some in found.items() if not some]

    @contextmanager
    def planted(self, bug: Bug) -> Iterator[None]:
        """Raises ValueError where the bug does not fit."""
        path = self.folder / bug.file
        if not path.exists():
            raise ValueError(f"there is no {bug.file}")
        source, times = path.read_text(), path.stat()
        path.write_text(bug.planted_in(source))
        try:
            yield
        finally:
            path.write_text(source)
            # Compiled code goes by time and size: that of the bug is out of date now.
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@contextmanager
def copied(checkout: Path) -> Iterator[Tree]:
    """It is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="planted-"))
    try:
        tree = Tree(home)
        tree.make(checkout)
        yield tree
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _files_of(checkout: Path) -> list[str]:
    """What is tracked, and what is new and not ignored; what was removed is left out."""
    command = ["git", "-C", str(checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    return [name for name in names if name and (checkout / name).is_file()]


def _packages_of_ours() -> str:
    """Lines of a .pth file: this Python's packages, with their own .pth files, behind the copy."""
    places = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    return "".join(f"import site; site.addsitedir({place!r})\n" for place in places)
