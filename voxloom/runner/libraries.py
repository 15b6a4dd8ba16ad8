"""How long the import of libraries takes, told while it goes on: what is slow there is not the algorithm's fault.

The process that imports writes a line for each step into a file of notes; whoever waits for it reads them. Times are of
the monotonic clock, which all processes of a machine share.

    begun 12.5              the algorithm's own time starts here
    enter 12.7 torch        a library is imported, with all that it imports in its turn
    leave 31.9 torch
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from voxloom.regular import read_regular

LONGEST = 300.0
"""Seconds that libraries may take altogether; past them their time counts like the algorithm's."""


class Times(NamedTuple):
    """Seconds since the begin (None: it has not begun), and how many of them each library took."""

    passed: float | None
    libraries: Mapping[str, float]

    @property
    def own(self) -> float:
        """What counts against a limit."""
        return (self.passed or 0.0) - min(sum(self.libraries.values()), LONGEST)

    def told(self) -> str:
        """Which libraries took how long, the slowest first; "" where that is nothing to speak of."""
        slow = sorted(self.libraries.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slow if seconds >= 0.1)


def times(notes: str, now: float) -> Times:
    """What the notes say so far. A line that is not whole, or none of ours, does not count."""
    begun: float | None = None
    spent: dict[str, float] = {}
    entered: tuple[str, float] | None = None
    for line in notes.splitlines():
        what, moment, name = (*line.split(" ", 2), "", "")[:3]
        try:
            at = float(moment)
        except ValueError:
            continue
        match what:
            case "begun":
                begun = at
            case "enter":
                entered = (name, at)
            case "leave" if entered is not None:
                spent[entered[0]] = spent.get(entered[0], 0.0) + at - entered[1]
                entered = None
    if entered is not None:
        spent[entered[0]] = spent.get(entered[0], 0.0) + now - entered[1]
    return Times(None if begun is None else now - begun, spent)


def read(notes: Path) -> Times:
    """Of notes that are being written. Blocks."""
    text = (read_regular(notes, 1 << 20) or b"").decode(errors="replace")
    return times(text, time.monotonic())


def watch(folder: Path, notes: Path) -> None:
    """From now on this process notes its imports of what does not lie in the algorithm's folder."""
    sys.meta_path.insert(0, _Watcher(folder, _Notes(notes)))


class _Notes:
    """Only the outermost import counts, and only the main thread's: others go on beside it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8", errors="replace")
        self._depth = 0
        self._say("begun")

    def _say(self, what: str, name: str = "") -> None:
        self._file.write(f"{what} {time.monotonic()} {name}\n")

    @contextmanager
    def importing(self, name: str) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._depth += 1
        if self._depth == 1:
            self._say("enter", name)
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._say("leave", name)


class _Watcher(MetaPathFinder):
    """Leaves the finding to the others, and takes the time of the loading."""

    def __init__(self, folder: Path, notes: _Notes) -> None:
        self._folder = folder
        self._notes = notes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(fullname, path, target) for finder in others if hasattr(finder, "find_spec"))
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None and self._is_of_a_library(spec):
            spec.loader = _Timed(spec.loader, fullname.partition(".")[0], self._notes)
        return spec

    def _is_of_a_library(self, spec: ModuleSpec) -> bool:
        home = spec.origin or ""
        return hasattr(spec.loader, "exec_module") and not home.startswith(f"{self._folder}/")


class _Timed(Loader):
    """Stands in for a loader until the module's own code begins, which finds everything as it always is."""

    def __init__(self, loader: Loader, library: str, notes: _Notes) -> None:
        self._loader = loader
        self._library = library
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        """Whoever has looked for a module with `importlib.util.find_spec` may ask its loader for more."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        spec.loader = self._loader
        try:
            with self._notes.importing(self._library):
                return self._loader.create_module(spec)
        finally:
            spec.loader = self

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        with self._notes.importing(self._library):
            self._loader.exec_module(module)
