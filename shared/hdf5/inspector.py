"""Looks into an HDF5 file that nobody trusts; runs as a process of its own, with limits, and imports nothing of ours.

Whatever the file does to the library (crash it, spin it, fill its memory) it does to this process. Only structure is
read, never data. Refused are: data or links that lie in other files, filters that readers may not have, and declared
sizes out of proportion to the file.

Its first line is `{"ready": true}`. It reads requests from standard input, `{"path": ..., "limit": bytes}`, and answers
each with one line of JSON: `{"datasets": [{"name", "shape", "dtype"}, ...]}` or `{"refused": "why"}`. After an answer
with `"leaving": true` it exits: the library has met a broken file, and nobody knows in which state that has left it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5l, h5o, h5p, h5s, h5t, h5z

MOST_LINKS = 100_000
MOST_FILTERS = 8
LARGEST_CHUNK = 1 << 30
"""Bytes that reading a single value may need."""
FREE_GROWTH = 4 << 30
MOST_GROWTH = 1100
"""All data may have FREE_GROWTH bytes, and so many times the file's size: more than deflate ever compresses to."""
GOOD_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""Those of the HDF5 library itself, and lzf, which every h5py has."""

ADVICE = "open it with h5py and write its datasets into a new file"


class Refused(Exception):
    """The file cannot be used; the message completes "The file was refused: …"."""


def inspect(path: str, limit: int) -> list[dict[str, Any]]:
    """The datasets of the file at `path`, in the order of their names.

    `limit`: bytes that its datasets may have together, uncompressed. Raises Refused, and whatever h5py raises for a
    broken file.
    """
    size = os.stat(path).st_size
    if size == 0:
        raise Refused("it is empty; upload it again")
    if not h5f.is_hdf5(os.fsencode(path)):
        raise Refused("it is not HDF5; convert it first")
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access)
    try:
        return Inspection(file, size, limit).run()
    finally:
        file.close()


class Inspection:
    """One walk over all links of an open file; every object is looked at once."""

    def __init__(self, file: Any, size: int, limit: int) -> None:
        self._file = file
        self._size = size
        self._limit = limit
        self._declared = 0
        self._known: dict[int, dict[str, Any] | None] = {}
        """What is at an address: a dataset, or (None) something else."""

    def run(self) -> list[dict[str, Any]]:
        datasets = [dataset for name, kind in self._links() if (dataset := self._dataset(name, kind)) is not None]
        return sorted(datasets, key=lambda dataset: str(dataset["name"]))

    def _links(self) -> list[tuple[bytes, int]]:
        """Name and kind of all links. Nothing may be raised while the library calls back."""
        links: list[tuple[bytes, int]] = []

        def note(name: bytes, info: Any) -> bool | None:
            links.append((name, info.type))
            return True if len(links) > MOST_LINKS else None

        root = h5o.open(self._file, b"/")  # `links` does not keep it open.
        root.links.visit(note, info=True)
        if len(links) > MOST_LINKS:
            raise Refused(f"it has more than {MOST_LINKS} objects; split it into several files")
        return links

    def _dataset(self, name: bytes, kind: int) -> dict[str, Any] | None:
        if kind == h5l.TYPE_SOFT:  # It can only lead to what has a hard link too, in this file.
            return None
        text = name.decode(errors="replace")
        if kind != h5l.TYPE_HARD:
            raise Refused(f"{text[:80]!r} is a link to another file; {ADVICE}")
        about = h5o.get_info(self._file, name)
        if about.addr not in self._known:
            is_dataset = about.type == h5o.TYPE_DATASET
            self._known[about.addr] = self._look_at(text, h5d.open(self._file, name)) if is_dataset else None
        known = self._known[about.addr]
        return None if known is None else {**known, "name": text}

    def _look_at(self, name: str, dataset: Any) -> dict[str, Any]:
        plan = dataset.get_create_plist()
        check_storage(name, dataset, plan, self._size)
        check_filters(name, plan)
        space, kind = dataset.get_space(), dataset.get_type()
        shape = shape_of(space)
        width = kind.get_size()
        check_chunk(name, plan, width)
        self._add(name, points_of(space, shape) * width)
        return {"name": name, "shape": shape, "dtype": dtype_of(kind)}

    def _add(self, name: str, declared: int) -> None:
        self._declared += declared
        most = min(self._limit, FREE_GROWTH + MOST_GROWTH * self._size)
        if self._declared > most:
            raise Refused(
                f"with {name[:80]!r} its datasets declare {self._declared} bytes, and {most} is the most for a file "
                f"of {self._size} bytes; write only data that is there"
            )


def check_storage(name: str, dataset: Any, plan: Any, size: int) -> None:
    layout = plan.get_layout()
    if layout == h5d.VIRTUAL:
        raise Refused(f"{name[:80]!r} is a virtual dataset, with its data elsewhere; {ADVICE}")
    if plan.get_external_count() > 0:
        raise Refused(f"{name[:80]!r} has its data in another file; {ADVICE}")
    if layout == h5d.CONTIGUOUS:
        offset = dataset.get_offset()
        if offset is not None and offset + dataset.get_storage_size() > size:
            raise Refused(f"the data of {name[:80]!r} is not all there; upload it again")


def check_filters(name: str, plan: Any) -> None:
    count = plan.get_nfilters()
    if count > MOST_FILTERS:
        raise Refused(f"{name[:80]!r} has {count} filters, one after the other; {ADVICE}")
    for index in range(count):
        code, _, _, label = plan.get_filter(index)
        if code not in GOOD_FILTERS or not h5z.filter_avail(code):
            known_as = label.decode(errors="replace")[:40] or "no name"
            raise Refused(f"{name[:80]!r} is compressed by filter {code} ({known_as}); use gzip, lzf or none")


def check_chunk(name: str, plan: Any, width: int) -> None:
    if plan.get_layout() != h5d.CHUNKED:
        return
    chunk = width
    for length in plan.get_chunk():
        chunk *= int(length)
    if chunk > LARGEST_CHUNK:
        raise Refused(f"{name[:80]!r} has chunks of {chunk} bytes; write it with chunks of about a megabyte")


def shape_of(space: Any) -> list[int]:
    return [int(length) for length in space.get_simple_extent_dims()] if space.get_simple_extent_ndims() else []


def points_of(space: Any, shape: list[int]) -> int:
    if space.get_simple_extent_type() == h5s.NULL:
        return 0
    points = 1
    for length in shape:
        points *= length
    return points


def dtype_of(kind: Any) -> str:
    """The numpy dtype string; `str` for text of any length, `object` for what has no numpy type of its own."""
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        return "str"
    try:
        dtype = kind.dtype
    except (TypeError, ValueError):
        return "object"
    return "object" if dtype.hasobject else str(np.dtype(dtype).str)


# --- the process ------------------------------------------------------------------------------------------


def answer(path: str, limit: int) -> dict[str, Any]:
    try:
        return {"datasets": inspect(path, limit)}
    except Refused as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "looking at it needs too much memory", "leaving": True}
    except Exception as error:  # noqa: BLE001 - h5py raises any kind for a broken file, and all of them mean just that
        return {"refused": f"it is broken or cut off ({first_line(error)}); upload it again", "leaving": True}


def first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def limit_process(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def limit_cpu(seconds: float) -> None:
    """From now on: should nobody be left to stop us, the kernel does."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main(memory: int, seconds: float) -> None:
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # What the library prints must not get between the answers.
    h5py._errors.silence_errors()
    limit_process(memory)
    replies.write(b'{"ready": true}\n')
    for line in sys.stdin.buffer:
        request = json.loads(line)
        limit_cpu(seconds)
        reply = answer(request["path"], request["limit"])
        replies.write(json.dumps(reply).encode() + b"\n")
        if reply.get("leaving"):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
