"""An algorithm's folder as what Python imports from: first, alone, nothing in it rewritten.

Behind it come the names of other frameworks that algorithms were written for (frameworks.py).

The folder is first on `sys.path`, so `import utils`, `from pkg.sub import f` work as they do at the author's desk.
Runner.py is loaded as the module `Runner` and, at the same time, as the package `Runner` over the whole folder, so
that it may also say `from .utils import f` and `from . import pkg`. A module is never loaded twice under two names:
its one name is `utils`, or `Runner.utils` if it itself reaches for its neighbours with a relative import, and the
other name is an alias of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import marshal
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType

from voxloom.runner import frameworks

RUNNER = "Runner"
FOLDER_VARIABLE = "RUNNER_MODULE_DIR"
"""Tells child processes of an algorithm where its modules are."""

_RELATIVE_IMPORT = re.compile(rb"^[ \t]*from[ \t]*(\.+)", re.MULTILINE)
_FIRST_MAGIC = {3400: "3.8", 3420: "3.9", 3430: "3.10", 3450: "3.11", 3500: "3.12", 3550: "3.13", 3600: "3.14"}
_LAST_KNOWN_MAGIC = 3649
_CODE = (".py", ".pyc", ".so")
_PYC_HEADER = 16
"""Bytes before the code of a compiled module."""


class ModuleUnusable(Exception):
    """The folder cannot be used as an algorithm; the message says why and what to do."""


def install(folder: Path) -> None:
    """Makes `folder` the place where this process, and the Python processes it starts, import from first."""
    uninstall()
    ours = [str(folder), *frameworks.paths()]
    sys.path[:0] = ours
    sys.meta_path.insert(0, _Finder(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([*ours, *_python_path_without(ours)])
    os.environ[FOLDER_VARIABLE] = str(folder)
    importlib.invalidate_caches()


def uninstall() -> None:
    """Takes the folder off the import path again, also of children to come. Modules that are loaded stay loaded."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Finder)]:
        sys.meta_path.remove(finder)
        ours = [str(finder.folder), *frameworks.paths()]
        for place in ours:
            if place in sys.path:
                sys.path.remove(place)
        os.environ["PYTHONPATH"] = os.pathsep.join(_python_path_without(ours))
        os.environ.pop(FOLDER_VARIABLE, None)


def _python_path_without(places: Sequence[str]) -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part not in places]


def install_in_child() -> None:
    """In a child process of an algorithm: the same import forms work there, so that what it pickles can be found."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        install(Path(folder))


def load_runner_class(folder: Path) -> type:
    """Imports the algorithm and returns its class `Runner`.

    Raises:
        ModuleUnusable: there is no Runner.py, or no class Runner in it, or it is compiled for another Python.
        BaseException: whatever the algorithm's own code raises while it is imported.
    """
    check_runner_file(folder)
    install(folder)
    return find_runner_class(importlib.import_module(RUNNER))


def check_runner_file(folder: Path) -> None:
    """Raises ModuleUnusable if there is neither a Runner.py nor a Runner.pyc for this Python."""
    if (folder / "Runner.py").is_file():
        return
    compiled = folder / "Runner.pyc"
    if not compiled.is_file():
        raise ModuleUnusable("The algorithm has no Runner.py at its root: add one with a class `Runner`.")
    magic = compiled.read_bytes()[:4]
    if magic != importlib.util.MAGIC_NUMBER:
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ModuleUnusable(
            f"Runner.pyc was compiled for {python_of(magic)}, and this server runs Python {ours}: "
            f"compile it with Python {ours}, or deploy Runner.py."
        )


def python_of(magic: bytes) -> str:
    """The Python that a .pyc with this magic number was made for, as far as it can be told."""
    number = int.from_bytes(magic[:2], "little")
    known = [name for first, name in _FIRST_MAGIC.items() if first <= number <= _LAST_KNOWN_MAGIC]
    return f"Python {known[-1]}" if known else "another Python"


def find_runner_class(module: ModuleType) -> type:
    runner = getattr(module, RUNNER, None)
    if runner is None:
        raise ModuleUnusable("Runner.py has no class named `Runner`: define one that derives from a voxloom runner.")
    if not isinstance(runner, type):
        raise ModuleUnusable(f"`Runner` in Runner.py has to be a class, and is of type {type(runner).__name__}.")
    return runner


class _Finder(MetaPathFinder):
    """Finds what lies in the algorithm's folder, and there only, also where an installed package has its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._roots = {_module_name(entry): entry for entry in sorted(folder.iterdir()) if _module_name(entry)}
        self._code: dict[str, bool] = {}
        self._relative: dict[str, bool] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == RUNNER:
            return self._runner_spec()
        plain = fullname.removeprefix(f"{RUNNER}.")
        root = plain.partition(".")[0]
        if root not in self._roots or not self._has_code(root):
            return None
        home = f"{RUNNER}.{plain}" if self._belongs_to_runner(root) else plain
        if home != fullname:
            return ModuleSpec(fullname, _AliasLoader(home))
        return PathFinder.find_spec(fullname, [str(self.folder)] if plain == root else path)

    def _runner_spec(self) -> ModuleSpec | None:
        source = self.folder / "Runner.py"
        file = source if source.is_file() else self.folder / "Runner.pyc"
        return importlib.util.spec_from_file_location(RUNNER, file, submodule_search_locations=[str(self.folder)])

    def _has_code(self, root: str) -> bool:
        """Not of a folder of data, which must not hide an installed package of its name."""
        if root not in self._code:
            self._code[root] = has_code(self._roots[root])
        return self._code[root]

    def _belongs_to_runner(self, root: str) -> bool:
        if root not in self._relative:
            self._relative[root] = reaches_root(self._roots[root])
        return self._relative[root]


class _AliasLoader(Loader):
    """Gives the module that is already loaded under its own name."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._home)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _module_name(entry: Path) -> str:
    """The name under which a file or folder can be imported; "" if it cannot."""
    name = entry.name.partition(".")[0]
    importable = entry.suffix in _CODE if entry.is_file() else "." not in entry.name
    return name if importable and name.isidentifier() else ""


def has_code(entry: Path) -> bool:
    """Whether there is anything to import in a file or folder at the algorithm's root."""
    return entry.is_file() or any(name.endswith(_CODE) for _, _, names in os.walk(entry) for name in names)


def reaches_root(entry: Path) -> bool:
    """Whether a module or package at the algorithm's root imports its neighbours there by a relative import."""
    return any(level > depth for source, depth in _modules(entry) for level in _relative_levels(source))


def _modules(entry: Path) -> Iterator[tuple[Path, int]]:
    """The modules below `entry`, with the number of packages around each; compiled ones where there is no source."""
    found = [entry] if entry.is_file() else sorted(entry.rglob("*.py*"))
    for module in found:
        if module.suffix == ".py" or (module.suffix == ".pyc" and _is_sourceless(module)):
            yield module, 0 if module == entry else len(module.relative_to(entry).parts)


def _is_sourceless(compiled: Path) -> bool:
    return compiled.parent.name != "__pycache__" and not compiled.with_suffix(".py").exists()


def _relative_levels(module: Path) -> Iterator[int]:
    """The number of dots of each relative import; none where the module cannot be read, which its import will say."""
    content = module.read_bytes()
    if module.suffix == ".py":
        return (len(match.group(1)) for match in _RELATIVE_IMPORT.finditer(content))
    if not content.startswith(importlib.util.MAGIC_NUMBER):
        return iter(())
    try:
        return _levels_in(marshal.loads(content[_PYC_HEADER:]))  # noqa: S302  # it is about to be executed
    except (EOFError, TypeError, ValueError):
        return iter(())


def _levels_in(code: CodeType) -> Iterator[int]:
    """An import is three instructions: its level, the names, the module."""
    import dis

    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE")]
    for level, _, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname == "IMPORT_NAME" and isinstance(level.argval, int):
            yield level.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _levels_in(constant)
