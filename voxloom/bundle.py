"""The files of an algorithm: which ones count, and how they travel as a zip.

Every path is relative to the algorithm's root and written with forward slashes. All `.py` files are the module; all
other files are assets, `pyproject.toml` too. Dot-files, `__pycache__`, `.pyc` and what macOS adds are left out; only
where there is a `Runner.pyc` and no `Runner.py` are the `.pyc` files the module.
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NoReturn

from voxloom.errors import InvalidInput

RUNNER = "Runner.py"
COMPILED_RUNNER = "Runner.pyc"
PYPROJECT = "pyproject.toml"

MOST_FILES = 20_000
LONGEST_PATH = 900
"""Bytes of UTF-8."""
LONGEST_NAME = 255
"""Bytes of one part of a path: what file systems take."""
DEEPEST_PATH = 32
"""Parts of a path: every one but the last is a folder that has to be made and removed wherever the algorithm
goes."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_COMPRESSED_UP_TO = 1 << 20
"""Larger files are mostly weights, which do not get smaller; they are stored as they are."""
_GROWS = 1.05
"""What zipfile fears that compressing adds; from there on it writes sizes of eight bytes."""
_COPY = 1 << 20
_UNIX = 3
"""Of what system the modes in a zip are."""
_JUNK = {"__pycache__", "__MACOSX"}


def _refuse(message: str) -> NoReturn:
    raise InvalidInput(message, code="invalid_algorithm_files", http_status=400) from None


def is_junk(path: str) -> bool:
    """Whether a path is no part of an algorithm, whatever else is in its folder."""
    return any(part.startswith(".") or part in _JUNK for part in path.split("/"))


def is_compiled_only(paths: Iterable[str]) -> bool:
    """Whether the module is given as `.pyc` files, without its sources."""
    known = set(paths)
    return COMPILED_RUNNER in known and RUNNER not in known


def counts(path: str, *, compiled: bool) -> bool:
    """Whether a path is part of the algorithm; `compiled`: as `is_compiled_only` says of all its paths."""
    return not is_junk(path) and (compiled or not path.endswith(".pyc"))


def is_module(path: str, *, compiled: bool) -> bool:
    """Whether a path that counts belongs to the module; the others are assets."""
    return path.endswith((".py", ".pyc") if compiled else ".py")


def check_path(path: str) -> None:
    """Raises InvalidInput (`invalid_algorithm_files`) unless `path` can be the path of an algorithm's file."""
    fault = path_fault(path)
    if fault:
        _refuse(f"The file name {path[:80]!r} {fault}; rename the file.")


def path_fault(path: str) -> str | None:
    """What keeps `path` from being the path of an algorithm's file; None if it can be one."""
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in path):
        return "has control characters or is no Unicode"
    if "\\" in path:
        return "has a backslash"
    parts = path.split("/")
    if not all(parts) or ".." in parts or "." in parts or parts[0].endswith(":"):
        return "does not lie in the algorithm's folder"
    encoded = path.encode(errors="replace")
    if len(encoded) > LONGEST_PATH or any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts):
        return "is too long"
    if len(parts) > DEEPEST_PATH:
        return f"lies in more than {DEEPEST_PATH - 1} folders"
    return None


def list_folder(folder: Path) -> dict[str, Path]:
    """The files of an algorithm's folder by their paths, sorted.

    Links are followed as long as they stay in the folder. Raises InvalidInput (`invalid_algorithm_files`) for a
    link that leaves it, for anything that is no file, and for names that cannot travel.
    """
    root = folder.resolve()
    found = dict(_walk(root, root, "", (root,)))
    compiled = is_compiled_only(found)
    kept = {path: found[path] for path in sorted(found) if counts(path, compiled=compiled)}
    if len(kept) > MOST_FILES:
        _refuse(f"The algorithm has {len(kept)} files; {MOST_FILES} at most can be deployed.")
    for path in kept:
        check_path(path)
    return kept


def _walk(root: Path, folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as listing:
        entries = list(listing)
    for entry in entries:
        path = prefix + entry.name
        if is_junk(path):
            continue
        place = _place(root, entry, path)
        if not place.is_dir():
            yield path, place
        elif place in above:
            _refuse(f"The link {path!r} leads back to a folder it lies in; remove it.")
        else:
            yield from _walk(root, place, f"{path}/", (*above, place))


def _place(root: Path, entry: os.DirEntry[str], path: str) -> Path:
    place = Path(entry.path)
    if entry.is_symlink():
        place = _resolve(place, path)
        if not place.is_relative_to(root):
            _refuse(f"The link {path!r} leads out of the algorithm's folder; put the file itself there.")
    if not (place.is_dir() or place.is_file()):
        _refuse(f"{path!r} is neither a file nor a folder; remove it.")
    return place


def _resolve(link: Path, path: str) -> Path:
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError):
        _refuse(f"The link {path!r} leads nowhere; remove it.")


def pack_folder(folder: Path, target: IO[bytes]) -> None:
    """Writes an algorithm's folder to `target` as a zip: the same files always give the same bytes.

    `target` need not be seekable. Blocks while it reads the files; memory does not grow with their size.

    Raises:
        InvalidInput: a file that cannot be deployed (see `list_folder`).
        OSError: a file could not be read.
    """
    pack_files(list_folder(folder), target)


def pack_files(files: dict[str, Path], target: IO[bytes]) -> None:
    """Writes the files under the given paths to `target` as a zip, in the order of the paths."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(files):
            _pack_file(archive, path, files[path])


def zip_entry(path: str, size: int, *, executable: bool = False) -> zipfile.ZipInfo:
    """What a zip says of a file of `size` bytes; the same for the same file, whenever and wherever it is packed."""
    entry = zipfile.ZipInfo(path, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED if size <= _COMPRESSED_UP_TO else zipfile.ZIP_STORED
    entry.create_system = _UNIX
    entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    entry.file_size = size
    if size * _GROWS > zipfile.ZIP64_LIMIT:
        entry.extract_version = zipfile.ZIP64_VERSION  # Python before 3.11.4 forgets it in a zip that is streamed
    return entry


def _pack_file(archive: zipfile.ZipFile, path: str, source: Path) -> None:
    with source.open("rb") as reader:
        told = os.fstat(reader.fileno())
        entry = zip_entry(path, told.st_size, executable=bool(told.st_mode & stat.S_IXUSR))
        with archive.open(entry, "w") as writer:
            while piece := reader.read(_COPY):
                writer.write(piece)
