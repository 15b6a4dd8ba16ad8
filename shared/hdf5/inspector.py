"""Looks into an HDF5 file that nobody trusts; runs as a process of its own, with limits.

Whatever the file does to the library (crash it, spin it, fill its memory) it does to this process. Refused are: data or
links that lie in other files, filters that readers may not have, declared sizes out of proportion to the file, and
chunks that do not unpack to the size that is declared (of those, the first MOST_UNPACKED bytes are looked at; all
readers look again).

Its first line is `{"ready": true}`. It reads requests from standard input, `{"path": ..., "limit": bytes}`, and answers
each with one line of JSON: `{"datasets": [{"name", "shape", "dtype"}, ...]}` or `{"refused": "why"}`. After an answer
with `"leaving": true` it exits: the library has met a broken file, and nobody knows in which state that has left it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5d, h5f, h5l, h5p, h5t

from voxloom.hdf5 import links, signatures
from voxloom.hdf5.chunks import verify_chunks
from voxloom.hdf5.filters import pipeline_of
from voxloom.hdf5.refusals import Refused, quoted
from voxloom.hdf5.storage import check_storage, points_of

LARGEST_CHUNK = 1 << 30
"""Bytes that reading a single value may need."""
FREE_GROWTH = 4 << 30
MOST_GROWTH = 1100
"""All data may have FREE_GROWTH bytes, and so many times the file's size: more than deflate ever compresses to."""
MOST_UNPACKED = 1 << 30
"""Bytes of chunks that are unpacked to see whether they are what they should be."""


def inspect(path: str, limit: int) -> list[dict[str, Any]]:
    """The datasets of the file at `path`, in the order of their names.

    `limit`: bytes that its datasets may have together, uncompressed. Raises Refused, and whatever h5py raises for a
    broken file.
    """
    size = os.stat(path).st_size
    if size == 0:
        raise Refused("it is empty; upload it again")
    with open(path, "rb") as opened:
        _check_signature(opened)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access)
    try:
        return Inspection(file, size, limit, MOST_UNPACKED).run()
    finally:
        file.close()


def _check_signature(file: BinaryIO) -> None:
    if signatures.find_hdf5(file) is None:
        file.seek(0)
        raise Refused(f"it is {signatures.not_hdf5(file.read(signatures.HEAD))}")
    if signatures.is_open_for_writing(file):
        raise Refused(f"{signatures.OPEN_FOR_WRITING}; then upload it again")


class Inspection:
    """One walk over all links of an open file; every object is looked at once."""

    def __init__(self, file: Any, size: int, limit: int, unpacked: int | None = None) -> None:
        """`unpacked`: bytes of chunks to unpack at most; None: chunks are not looked at."""
        self._file = file
        self._size = size
        self._limit = limit
        self._unpacked = unpacked
        self._declared = 0
        self._known: dict[int, dict[str, Any] | None] = {}
        """What is at an address: a dataset, or (None) something else."""

    def run(self) -> list[dict[str, Any]]:
        return [dataset for _, dataset in self.named()]

    def named(self) -> list[tuple[bytes, dict[str, Any]]]:
        """With the bytes of their names, which need not be UTF-8."""
        named = links.all_links(self._file)
        found = [(name, self._dataset(name, self._object(name, kind))) for name, kind in named]
        datasets = [(name, one) for name, one in found if one is not None]
        return sorted(datasets, key=lambda dataset: str(dataset[1]["name"]))

    def _object(self, name: bytes, kind: int) -> Any:
        """What a link leads to; None where that is nothing."""
        if kind not in (h5l.TYPE_HARD, h5l.TYPE_SOFT):
            raise Refused(f"{quoted(name.decode(errors='replace'))} {links.ELSEWHERE}")
        try:
            return links.find(self._file, name)
        except Refused:  # a soft link in a circle; others lead to what has a hard link, too
            return None

    def _dataset(self, name: bytes, found: Any) -> dict[str, Any] | None:
        if found is None:
            return None
        text, address = name.decode(errors="replace"), links.address(found)
        if address not in self._known:
            self._known[address] = self._look_at(text, found) if isinstance(found, h5d.DatasetID) else None
        known = self._known[address]
        return None if known is None else {**known, "name": text}

    def _look_at(self, name: str, dataset: Any) -> dict[str, Any]:
        plan = dataset.get_create_plist()
        check_storage(name, dataset, plan, self._size)
        space, kind = dataset.get_space(), dataset.get_type()
        check_chunks(name, plan, kind.get_size())
        self._add(name, points_of(space) * kind.get_size())
        if self._unpacked is not None:
            self._unpacked -= verify_chunks(name, dataset, most=self._unpacked)
        return {"name": name, "shape": shape_of(space), "dtype": dtype_of(kind)}

    def _add(self, name: str, declared: int) -> None:
        self._declared += declared
        most = min(self._limit, FREE_GROWTH + MOST_GROWTH * self._size)
        if self._declared > most:
            raise Refused(
                f"with {quoted(name)} its datasets declare {self._declared} bytes, and {most} is the most for a file "
                f"of {self._size} bytes; write only data that is there"
            )


def check_chunks(name: str, plan: Any, width: int) -> None:
    """Raises Refused for filters that are not readable, and for chunks that are too large."""
    if plan.get_layout() == h5d.CHUNKED and (size := pipeline_of(name, plan, width).size) > LARGEST_CHUNK:
        raise Refused(f"{quoted(name)} has chunks of {size} bytes; write it with chunks of about a megabyte")


def shape_of(space: Any) -> list[int]:
    return [int(length) for length in space.get_simple_extent_dims()] if space.get_simple_extent_ndims() else []


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
