"""What is done between two runs of a process, so that the next one finds it as if it were new, or another process.

`begin` is called before the algorithm is loaded and `remember` after that: what the author's module and `load_assets`
have made, threads and processes too, stays on purpose. `clean` is called after every run.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from voxloom.runner import children, pools, processstate, threads
from voxloom.runner.modulefiles import changed, files_in
from voxloom.runner.processstate import Kept
from voxloom.runner.randomness import Randomness

_MOST_NAMES = 5


class Verdict(NamedTuple):
    """`reasons` say why the process must not be used again; where there are none, it may be."""

    reasons: list[str]
    module_changed: bool = False


class Cleaner:
    """Of one process."""

    def __init__(self, kept: tuple[Kept, ...] = processstate.ALL) -> None:
        self._pid = os.getpid()
        self._kept = kept
        self._folder: Path | None = None
        self._remembered = False

    def begin(self, folder: Path) -> None:
        """`folder` has the algorithm's modules."""
        self._folder = folder
        self._files = files_in(folder)
        self._randomness = Randomness()
        self._children: frozenset[int] = frozenset()

    def remember(self) -> None:
        self._threads = threads.now()
        self._children = frozenset(children.living()) if children.has_any() else frozenset()
        self._state = [one.read() for one in self._kept]
        self._modules = dict(sys.modules)
        self._randomness.remember()
        self._remembered = True

    def clean(self, scratch: str) -> Verdict:
        """Ends what the run has left, and puts back what it has changed. Raises nothing."""
        if os.getpid() != self._pid:  # a forked child that has returned from the run: nothing here is its own
            return Verdict([])
        try:
            return self._clean(scratch)
        except BaseException as error:  # noqa: BLE001  # what the author's code has left may break anything
            return Verdict([f"the process could not be cleaned ({type(error).__name__}: {str(error)[:200]})"])

    def _clean(self, scratch: str) -> Verdict:
        self._caught: dict[int, str] = {}
        reasons = self._put_state_back() if self._remembered else []
        found, left = self._end_threads_and_children()
        reasons += left
        if self._remembered:
            if found:  # They may have changed something on their way out.
                reasons += [one for one in self._put_state_back() if one not in reasons]
            self._put_modules_back(scratch)
            self._randomness.put_back()
        files = self._changed_files()
        if files:
            reasons.append(f"files beside the module have changed: {_listed(files)}")
        return Verdict(reasons, bool(files))

    # --- what is put back ---------------------------------------------------------------------------------

    def _put_state_back(self) -> list[str]:
        reasons = []
        for at, (one, before) in enumerate(zip(self._kept, self._state, strict=True)):
            if one.read() != before:
                if not _put_back(one, before):
                    reasons.append(f"the run has changed {one.name}")
                self._state[at] = one.read()
        return reasons

    def _put_modules_back(self, scratch: str) -> None:
        """Modules that a run has imported stay as those that were imported before, but for what it has written itself:
        that is gone with its folder."""
        if sys.modules == self._modules:
            return
        places = (scratch, os.path.realpath(scratch), tempfile.gettempdir())
        for name in [*sys.modules.keys() - self._modules.keys()]:
            if str(getattr(sys.modules[name], "__dict__", {}).get("__file__")).startswith(places):
                del sys.modules[name]
                importlib.invalidate_caches()
        sys.modules.update(self._modules)
        self._modules = dict(sys.modules)

    # --- what is ended ------------------------------------------------------------------------------------

    def _end_threads_and_children(self) -> tuple[bool, list[str]]:
        """Whether there were any, and why they end the use of the process."""
        before = self._threads if self._remembered else None
        if (before is None or not threads.left_since(before)) and not self._has_new_children():
            return False, []
        gc.collect()
        pools.end_loaders(self._children)
        enders = pools.Enders()
        left = threads.end_new(before, enders.ask) if before is not None else []
        reasons = [f"the run has left {_listed(left)}"] if left else []
        return True, reasons + enders.begin_anew() + self._end_children()

    def _has_new_children(self) -> bool:
        """Ended ones are nobody's fault."""
        if not children.has_any():
            return False
        multiprocessing.active_children()  # which reaps its own: it would send signals to their numbers at the end
        children.reap_ended(self._children, self._caught)
        return bool(self._caught) or (children.has_any() and bool(children.direct(self._children)))

    def _end_children(self) -> list[str]:
        ended, unended = children.end_all(self._children, alone=pools.server_pids())
        ended.update(self._caught)
        pools.stop_servers(self._children)
        reasons = [f"the run has left the {_processes(ended)}"] if ended else []
        return reasons + ([f"the {_processes(unended)} cannot be ended"] if unended else [])

    # --- what is looked at --------------------------------------------------------------------------------

    def _changed_files(self) -> list[str]:
        if self._folder is None:
            return []
        return changed(self._files, files_in(self._folder))


def _put_back(one: Kept, before: Any) -> bool:
    if one.put_back is None:
        return False
    with contextlib.suppress(Exception):
        one.put_back(before)
        return one.grows or bool(one.read() == before)
    return False


def _processes(named: Mapping[int, str]) -> str:
    plural = "process" if len(named) == 1 else "processes"
    return f"{plural} {_listed([f'{_shown(name)} ({pid})' for pid, name in named.items()])}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(_shown, names[:_MOST_NAMES])) + more


def _shown(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name)[:200]
