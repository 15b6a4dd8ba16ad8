"""A zip with an algorithm, taken apart with suspicion.

Nothing in the zip is believed before it is checked: names, kinds, sizes as declared and sizes as they really are. No
file is created under a name from the zip but modules, whose names Python needs.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from voxloom.bundle import (
    COMPILED_RUNNER,
    MOST_FILES,
    PYPROJECT,
    RUNNER,
    counts,
    is_compiled_only,
    is_junk,
    is_module,
    path_fault,
)
from voxloom.contents import marked
from voxloom.errors import InvalidInput, VoxloomError

LARGEST = 16 << 30
"""Bytes of all files together."""
LARGEST_MODULE = 256 << 20
LARGEST_DIRECTORY = 8 << 20
"""Bytes of the zip's own list of files, which is read at once."""
MOST_GROWTH = 200
"""How many times larger than the zip its files may be …"""
FREE_GROWTH = 64 << 20
"""… beyond so many bytes."""

_COPY = 1 << 20
_ENCRYPTED = 0x1
_UTF8 = 0x800
_R = TypeVar("_R")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_OF_THE_ZIP = frozenset({errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ})
"""What the system says where the zip points to before its own begin, or has names that the disk does not take."""


@dataclass(frozen=True)
class Unpacked:
    """One file of the zip, now at `place`."""

    place: Path
    size: int
    sha256: str
    executable: bool = False

    @property
    def content(self) -> str:
        """Its sha256, marked."""
        return marked(self.sha256, executable=self.executable)


@dataclass(frozen=True)
class Algorithm:
    """The files of an algorithm by their paths: modules lie under `module_dir` as Python wants them."""

    module_dir: Path
    module: Mapping[str, Unpacked]
    assets: Mapping[str, Unpacked]

    @property
    def paths(self) -> set[str]:
        return {*self.module, *self.assets}

    def lay_out(self) -> None:
        """Puts the assets beside the modules, too: `module_dir` is the algorithm's folder then, as it was packed."""
        for path, file in self.assets.items():
            place = self.module_dir.joinpath(*path.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(file.place, place)

    def pyproject(self, limit: int) -> bytes | None:
        """The first `limit` bytes of its pyproject.toml; None if there is none."""
        if PYPROJECT not in self.assets:
            return None
        with self.assets[PYPROJECT].place.open("rb") as file:
            return file.read(limit)


@dataclass(frozen=True)
class Seen:
    """One file of a zip that was looked into."""

    size: int
    sha256: str
    executable: bool = False

    @property
    def content(self) -> str:
        """Its sha256, marked."""
        return marked(self.sha256, executable=self.executable)


@dataclass(frozen=True)
class Look:
    """What is in a zip, of which nothing was written anywhere; of its pyproject the beginning."""

    module: Mapping[str, Seen]
    assets: Mapping[str, Seen]
    pyproject: bytes | None


class _Suspicious(io.FileIO):
    """A file of which nobody reads so much at once that it would not fit into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = LARGEST_DIRECTORY + 1 if size is None or size < 0 else size
        data = super().read(min(wanted, LARGEST_DIRECTORY + 1)) or b""
        if len(data) > LARGEST_DIRECTORY:
            _refuse(f"its list of files is longer than {LARGEST_DIRECTORY} bytes, or broken")
        return data


def unpack_zip(source: Path, target: Path, *, limit: int = LARGEST) -> Algorithm:
    """Takes the zip at `source` apart into the empty folder `target`; a single top-level folder is taken off.

    Blocks. What it has written when it raises is for the caller to remove.

    Raises:
        InvalidInput: `invalid_deployment_zip`: the message says what is wrong with the zip.
        OSError: the disk is full, say.
    """
    return _opened(source, lambda archive: _unpack(archive, target, min(limit, _budget(source))))


def look_into_zip(source: Path, *, limit: int = LARGEST, pyproject_limit: int) -> Look:
    """What `unpack_zip` would make of the zip, without room for it: every file is read and checked. Blocks.

    Raises:
        InvalidInput: `invalid_deployment_zip`, as `unpack_zip`.
    """
    return _opened(source, lambda archive: _look(archive, min(limit, _budget(source)), pyproject_limit))


def _opened(source: Path, work: Callable[[zipfile.ZipFile], _R]) -> _R:
    try:
        with _Suspicious(source) as file, zipfile.ZipFile(file) as archive:
            return work(archive)
    except VoxloomError:
        raise
    except OSError as error:
        if error.errno not in _OF_THE_ZIP:
            raise  # The disk is full or broken.
        _refuse(f"it points to where nothing is, or has names that cannot be used ({error.strerror})", error)
    except Exception as error:  # noqa: BLE001  # zipfile raises what its parts happen to raise, and says so nowhere
        _refuse(f"it is damaged ({str(error) or type(error).__name__})", error)


def _refuse(reason: str, cause: Exception | None = None) -> NoReturn:
    raise InvalidInput(f"The zip cannot be used: {reason}.", code="invalid_deployment_zip", http_status=400) from cause


def _budget(source: Path) -> int:
    return FREE_GROWTH + MOST_GROWTH * source.stat().st_size


def _sorted_out(archive: zipfile.ZipFile, budget: int) -> tuple[dict[str, zipfile.ZipInfo], set[str]]:
    """The files that count, checked against the budget, and which of them are modules."""
    entries = _entries(archive)
    compiled = is_compiled_only(entries)
    entries = {path: entry for path, entry in entries.items() if counts(path, compiled=compiled)}
    modules = {path for path in entries if is_module(path, compiled=compiled)}
    _check_budget(entries, modules, budget)
    return entries, modules


def _look(archive: zipfile.ZipFile, budget: int, pyproject_limit: int) -> Look:
    entries, modules = _sorted_out(archive, budget)
    seen = {path: _copy(archive, entries[path], lambda _: None) for path in sorted(entries)}
    pyproject = None
    if PYPROJECT in entries:
        with archive.open(entries[PYPROJECT]) as reader:
            pyproject = reader.read(pyproject_limit)
    return Look(
        {path: one for path, one in seen.items() if path in modules},
        {path: one for path, one in seen.items() if path not in modules},
        pyproject,
    )


def _unpack(archive: zipfile.ZipFile, target: Path, budget: int) -> Algorithm:
    entries, modules = _sorted_out(archive, budget)
    module_dir, asset_dir = target / "module", target / "assets"
    module_dir.mkdir()
    asset_dir.mkdir()
    module: dict[str, Unpacked] = {}
    assets: dict[str, Unpacked] = {}
    for number, path in enumerate(sorted(entries)):
        if path in modules:
            module[path] = _extract(archive, entries[path], module_dir.joinpath(*path.split("/")))
        else:
            assets[path] = _extract(archive, entries[path], asset_dir / str(number))
    return Algorithm(module_dir, module, assets)


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of the zip by their paths, junk left out, every one checked but for its size."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        _refuse(f"it has {len(infos)} files; {MOST_FILES} at most can be deployed")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        path = _path(info)
        if info.is_dir() or path.endswith("/") or is_junk(path):
            continue
        _check_kind(info, path)
        if path in entries:
            _refuse(f"it has {path!r} twice")
        entries[path] = info
    _check_tree(entries)
    return _without_top_folder(entries)


def _path(info: zipfile.ZipInfo) -> str:
    """Where the entry lies. Some programs on Windows write backslashes."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        _refuse(f"the name {name[:80]!r} is not marked as UTF-8; pack it with a newer program, or rename the file")
    path = name.replace("\\", "/")
    fault = path_fault(path.removesuffix("/"))
    if fault:
        _refuse(f"the file name {path[:80]!r} {fault}")
    return path


def is_executable(info: zipfile.ZipInfo) -> bool:
    """Whether its owner may execute the file; what was packed on Windows says nothing of that."""
    return bool(info.external_attr >> 16 & stat.S_IXUSR)


def _check_kind(info: zipfile.ZipInfo, path: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not stat.S_ISREG(kind):
        _refuse(f"{path!r} is a link or a device; put the file itself there")
    if info.flag_bits & _ENCRYPTED:
        _refuse(f"{path!r} is encrypted; pack it without a password")
    if info.compress_type not in _METHODS:
        _refuse(f"{path!r} is packed by an unusual method; use plain zip (deflate)")


def _check_tree(paths: Mapping[str, object]) -> None:
    folders = {folder for path in paths for folder in _folders(path)}
    if len(folders) > MOST_FILES:
        _refuse(f"it has {len(folders)} folders; {MOST_FILES} at most can be deployed")
    if both := folders & paths.keys():
        _refuse(f"{min(both)!r} is a file and a folder")


def _folders(path: str) -> Iterator[str]:
    """Every folder that a file lies in."""
    while slash := path.rfind("/") + 1:
        path = path[: slash - 1]
        yield path


def _without_top_folder(entries: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    tops = {path.split("/")[0] for path in entries}
    at_root = {PYPROJECT, RUNNER, COMPILED_RUNNER} & entries.keys()
    if len(tops) != 1 or at_root or any("/" not in path for path in entries):
        return entries
    return {path.split("/", 1)[1]: info for path, info in entries.items()}


def _check_budget(entries: Mapping[str, zipfile.ZipInfo], modules: set[str], budget: int) -> None:
    size = sum(info.file_size for info in entries.values())
    if size > budget:
        _refuse(f"its files would have {size} bytes, and {budget} is the most for a zip of its size")
    if sum(entries[path].file_size for path in modules) > LARGEST_MODULE:
        _refuse(f"its Python files have more than {LARGEST_MODULE} bytes; large data belongs into other files")


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path) -> Unpacked:
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if is_executable(info) else 0o644
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as writer:
        seen = _copy(archive, info, writer.write)
    return Unpacked(place, seen.size, seen.sha256, seen.executable)


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, write: Callable[[bytes], object]) -> Seen:
    """Passes one file on; it cannot become larger than declared, which the budget was checked with."""
    digest = hashlib.sha256()
    size = 0
    with archive.open(info) as reader:
        while piece := reader.read(_COPY):
            size += len(piece)
            digest.update(piece)
            write(piece)
    if size != info.file_size:
        _refuse(f"{info.orig_filename!r} does not have the size that it declares")
    return Seen(size, digest.hexdigest(), is_executable(info))
