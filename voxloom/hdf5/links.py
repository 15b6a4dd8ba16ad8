"""Names in a file: hard and soft links are followed, and none that lead to other files.

The library follows whatever link it meets, also to other files of this machine; so no name is given to it as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from h5py import h5d, h5g, h5l, h5o

from voxloom.hdf5.refusals import Refused, quoted

MOST_JUMPS = 16
"""Soft links on the way to one object, as the library has it."""
MOST = 100_000
"""Links of a file."""
ELSEWHERE = "is a link to another file; copy what it leads to into this one"


def find(file: Any, name: str | bytes) -> Any:
    """The object (its low-level id) of that name from the root, or None. `file`: the low-level id of an open file.

    Raises Refused for links that lead to other files, or in a circle."""
    here, jumps = h5o.open(file, b"/"), 0
    parts = deque(_parts(name))
    while parts:
        part = parts.popleft()
        if not isinstance(here, h5g.GroupID) or b"\0" in part or not here.links.exists(part):
            return None
        kind = here.links.get_info(part).type
        if kind == h5l.TYPE_HARD:
            here = h5o.open(here, part)
            continue
        if kind != h5l.TYPE_SOFT:
            raise Refused(f"{quoted(_shown(name))} {ELSEWHERE}")
        if (jumps := jumps + 1) > MOST_JUMPS:
            raise Refused(f"{quoted(_shown(name))} is a link that leads in a circle, or over too many others")
        target = here.links.get_val(part)
        here = h5o.open(file, b"/") if target.startswith(b"/") else here
        parts.extendleft(reversed(_parts(target)))
    return here


def find_dataset(file: Any, name: str | bytes) -> Any:
    """As `find`; None for what is no dataset, too."""
    found = find(file, name)
    return found if isinstance(found, h5d.DatasetID) else None


def datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Every name of a dataset, with its low-level id: hard links first. Links that lead out of the file or nowhere are
    left out. Raises Refused where there are too many."""
    links = all_links(file)
    for kind in (h5l.TYPE_HARD, h5l.TYPE_SOFT):
        for name in (name for name, its in links if its == kind):
            if (found := _dataset_or_none(file, name)) is not None:
                yield _shown(name), found


def all_links(file: Any) -> list[tuple[bytes, int]]:
    """Name and kind of all links; those of a group that has several names, once. Raises Refused."""
    links: list[tuple[bytes, int]] = []

    def note(name: bytes, info: Any) -> bool | None:  # Nothing may be raised while the library calls back.
        links.append((name, info.type))
        return True if len(links) > MOST else None

    root = h5o.open(file, b"/")  # `links` does not keep it open.
    root.links.visit(note, info=True)
    if len(links) > MOST:
        raise Refused(f"it has more than {MOST} objects; split it into several files")
    return links


def _dataset_or_none(file: Any, name: bytes) -> Any:
    try:
        return find_dataset(file, name)
    except Refused:
        return None


def address(found: Any) -> int:
    """The same for all names of an object."""
    return int(h5o.get_info(found).addr)


def _parts(name: str | bytes) -> list[bytes]:
    return [part for part in _raw(name).split(b"/") if part and part != b"."]


def _raw(name: str | bytes) -> bytes:
    if isinstance(name, bytes):
        return name
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character: no file has that, and nobody falls over it
        return name.encode("utf-8", "surrogatepass")


def _shown(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
