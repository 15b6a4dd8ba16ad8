"""Whether a database that nobody has open is what it was: looked at before SQLite touches anything.

`judge` decides, on what was found; `inspect` finds it. What must not be used raises Damaged with a sentence; what can
be used all the same is said in `notes`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from shared.sealed import sealfile, wal
from shared.sealed.sealfile import Base, Mark, Seal, State
from shared.sealed.wal import Wal
from voxloom.errors import Misconfigured

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PAGES_AT_ONCE = 256
_WAY_ON = "put the right file back from a backup, or run `voxloom doctor --repair`, which saves what can be saved"


class Damaged(Misconfigured):
    """A file is not what it was when it was last used."""

    code = "data_folder_damaged"


@dataclass(frozen=True, slots=True)
class Found:
    """`seal` is None where there is no file of it; `size` is the database's, None where it is missing."""

    size: int | None
    seal: Seal | None
    wal: Wal
    same_boot: bool = True
    """Whether the machine has run on since the seal was made: then its mark is exact."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sums`: the pages were checked by their checksums. `log_aside`: the log is of no use, the database has it all."""

    sums: bool = False
    log_aside: bool = False
    is_new: bool = False
    note: str | None = None


def seal_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.seal")


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def boot_id() -> str:
    """Differs from one start of the machine to the next; empty where that cannot be known."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def damaged(file: str, what: str) -> Damaged:
    return Damaged(f"{file} {what}: {_WAY_ON}.")


def inspect(database: Path) -> Verdict:
    """Raises Damaged, or OSError. Where the verdict is not to go by `sums`, SQLite has to look into all of it."""
    seal = _seal(seal_of(database))
    boot = boot_id()
    found = Found(
        size=database.stat().st_size if database.exists() else None,
        seal=seal,
        wal=wal.read(log_of(database)),
        same_boot=bool(boot) and seal is not None and seal.base is not None and seal.base.boot == boot,
    )
    verdict = judge(found, str(database))
    if not verdict.sums:
        return verdict
    assert seal is not None
    assert seal.base is not None
    _check_pages(database, seal, frozenset() if verdict.log_aside else found.wal.pages)
    return verdict


def judge(found: Found, name: str) -> Verdict:
    """What the seal and the log say of each other. Raises Damaged."""
    seal, log = found.seal, found.wal
    if found.size is None:
        return _without_database(found, name)
    if log.size > wal.HEADER.size and log.salts is None:
        if seal is None or seal.base is None or not _is_moved(seal.base, seal.mark):
            raise damaged(f"{name}-wal", "cannot be read")
        return Verdict(sums=_has_sums(seal), log_aside=True, note=_aside(name))
    if seal is None:
        return _by_log_alone(log, name, f"{name} had no checksums (no {name}.seal): it was checked as a whole")
    if seal.base is None or seal.mark is None:
        return _by_log_alone(log, name, f"{name}.seal was damaged and is made anew; {name} was checked as a whole")
    return _judge_log(found, seal, seal.base, seal.mark, name)


def _without_database(found: Found, name: str) -> Verdict:
    if found.wal.is_empty and (found.seal is None or _is_unused(found.seal)):
        return Verdict(is_new=True)
    raise damaged(name, "is missing")


def _is_unused(seal: Seal) -> bool:
    """Whether the first start that there was has come no further than to make the seal, or a part of it."""
    if seal.base is None:
        return not seal.has_blocks and seal.mark in (None, Mark())
    return seal.base.state is State.OPENING and not seal.base.pages


def _by_log_alone(log: Wal, name: str, note: str) -> Verdict:
    if log.beyond > 1:
        raise _cut(name, log)
    return Verdict(note=note)


def _judge_log(found: Found, seal: Seal, base: Base, mark: Mark, name: str) -> Verdict:
    log = found.wal
    if base.state is State.CLOSED:
        if not log.is_empty:
            raise damaged(f"{name}-wal", f"does not go with {name}.seal, which says that there was none")
        return _with_sums(seal, name)
    if log.salts is not None and (log.salts == mark.salts or wal.follows(log.salts, mark.salts)):
        complete = log.salts != mark.salts or log.frames >= mark.frames
        if complete and (found.same_boot or log.beyond < 2):
            return _with_sums(seal, name) if base.state is State.OPEN else _unsure(name)
    if base.state is State.OPENING:
        return _by_opening(log, mark, name)
    if not _is_moved(base, mark):
        raise _cut(name, log) if log.size else damaged(f"{name}-wal", f"is missing, or {name}.seal is an older one")
    return Verdict(sums=_has_sums(seal), log_aside=bool(log.size), note=_aside(name) if log.size else None)


def _by_opening(log: Wal, mark: Mark, name: str) -> Verdict:
    """A start that had come no further: it may have moved and removed the log that it found, or begun one."""
    if log.salts == mark.salts:
        raise _cut(name, log)
    return _unsure(name)


def _unsure(name: str) -> Verdict:
    return Verdict(note=f"the last start broke off early; {name} was checked as a whole")


def _with_sums(seal: Seal, name: str) -> Verdict:
    if _has_sums(seal):
        return Verdict(sums=True)
    return Verdict(note=f"{name}.seal was damaged and is made anew; {name} was checked as a whole")


def _has_sums(seal: Seal) -> bool:
    return seal.base is not None and len(seal.sums) == seal.base.pages > 0


def _is_moved(base: Base, mark: Mark | None) -> bool:
    """Whether all of the log that the mark knows of is in the database."""
    if base.state is State.CLOSED:
        return True
    return (
        mark is not None
        and base.state is State.OPEN
        and base.moved.salts == mark.salts
        and (base.moved.frames >= mark.frames)
    )


def _cut(name: str, log: Wal) -> Damaged:
    return damaged(
        f"{name}-wal", f"is damaged, or older than the last commit (it can be read up to frame {log.frames})"
    )


def _aside(name: str) -> str:
    return f"{name}-wal was damaged or another's; all of it was in {name} already, so nothing is lost"


def _seal(path: Path) -> Seal | None:
    try:
        return sealfile.parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _check_pages(database: Path, seal: Seal, elsewhere: Container[int]) -> None:
    """Every page whose newest version is not `elsewhere`, in the log. Raises Damaged."""
    assert seal.base is not None
    bad = 0
    for page, found in page_sums(database, seal.base.page_size):
        if page not in elsewhere and seal.sums.get(page) != found:
            raise damaged(str(database), f"does not agree with its checksums in {seal_of(database)} (page {page})")
        bad = page
    lost = [page for page in range(bad + 1, seal.base.pages + 1) if page not in elsewhere]
    if lost:
        raise damaged(str(database), f"is cut short (page {lost[0]} is missing)")


def page_sums(database: Path, page_size: int) -> list[tuple[int, int]]:
    """The numbers and checksums of all pages; the last may be cut. Only while SQLite does not have the file open:
    closing it here would give up SQLite's locks."""
    descriptor = os.open(database, os.O_RDONLY)
    try:
        return sums_of(descriptor, page_size)
    finally:
        os.close(descriptor)


def sums_of(descriptor: int, page_size: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    while data := os.pread(descriptor, _PAGES_AT_ONCE * page_size, at):
        view = memoryview(data)
        first = at // page_size + 1
        pieces = range(0, len(data), page_size)
        found += [(first + number, zlib.crc32(view[start : start + page_size])) for number, start in enumerate(pieces)]
        at += len(data)
    return found
