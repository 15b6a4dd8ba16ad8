"""Looks into HDF5 files that nobody trusts, and cuts slices out of them; a process of its own, with limits.

It has no store: what it needs to read it asks for, unless it is told where the file lies. Its first line is
`{"ready": true}`. Then it gets requests from standard input, a line of JSON each:

    {"do": "info", "size": of the file, "path": of it or null, "limit": bytes that its datasets may have}
    {"do": "slice", "size", "path", "limit", "dataset", "axis", "index", "format", "contrast", "low", "high"}

While it works on one it may write `{"need": [[start, stop], …]}`: those bytes will be wanted soon; and
`{"read": [start, stop]}`, which is answered with these very bytes. In the end comes one line: `{"done": …}`, with
`"bytes"` that follow the line; `{"wrong": "why", "where": parameter}`; or `{"refused": "why"}`, after which it exits
where `"leaving"` is true.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import h5py
import numpy as np

if __name__ == "__main__":  # Only the folder of the interpreter's own packages is searched, and ours may be elsewhere.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from shared.hdf5 import contents, slicing
from shared.hdf5.inspector import first_line, limit_cpu, limit_process
from shared.hdf5.slice_plan import BLOCK, Wrong
from shared.newest import Newest
from voxloom.hdf5.refusals import Refused

SMALL = 8 * BLOCK
"""Reads up to so many bytes come out of blocks that are kept for a while: the library reads its trees bit by bit."""
KEPT_BLOCKS = 128
LARGE = 8 << 20
"""What is asked for in one go."""

Ask = Callable[[int, int], bytes]
"""The bytes from one position up to another."""


class RemoteFile(io.RawIOBase):
    """A file of which only what is asked for is here."""

    def __init__(self, size: int, ask: Ask) -> None:
        self._size = size
        self._ask = ask
        self._at = 0
        self._blocks: Newest[int, bytes] = Newest(KEPT_BLOCKS)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """All of the buffer, but at the end of the file."""
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        start = self._at
        while self._at < stop:
            end = min(self._at + LARGE, stop)
            data = self._ask(self._at, end) if stop - start > SMALL else self._from_blocks(self._at, end)
            buffer[self._at - start : end - start] = data
            self._at = end
        return stop - start

    def _from_blocks(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK, (stop - 1) // BLOCK
        joined = b"".join(map(self._block, range(first, last + 1)))
        return joined[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._ask(number * BLOCK, min((number + 1) * BLOCK, self._size))
            self._blocks[number] = block
        return block


class Conversation:
    """With the process that has the file."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies

    def say(self, reply: dict[str, Any], payload: bytes = b"") -> None:
        self._replies.write(json.dumps(reply, allow_nan=False).encode() + b"\n" + payload)
        self._replies.flush()

    def read(self, start: int, stop: int) -> bytes:
        self.say({"read": [start, stop]})
        data = self._requests.read(stop - start)
        if len(data) < stop - start:
            raise SystemExit  # Nobody is there any more.
        return data

    def need(self, spans: list[tuple[int, int]]) -> None:
        if spans:
            self.say({"need": spans})


def handle(request: dict[str, Any], conversation: Conversation) -> bool:
    """Answers a request; whether another may follow."""
    try:
        done, payload = _do(request, conversation)
        conversation.say({"done": done, "bytes": len(payload)}, payload)
    except Wrong as error:
        conversation.say({"wrong": str(error), "where": error.where})
    except Refused as error:
        conversation.say({"refused": str(error)})
    except MemoryError:
        conversation.say({"refused": "reading it needs too much memory", "leaving": True})
        return False
    except Exception as error:  # noqa: BLE001 - h5py raises any kind for a broken file, and all of them mean just that
        conversation.say({"refused": f"it is broken or cut off ({first_line(error)})", "leaving": True})
        return False
    return True


def _do(request: dict[str, Any], conversation: Conversation) -> tuple[Any, bytes]:
    if request["path"] is None:
        with h5py.File(RemoteFile(request["size"], conversation.read), "r") as file:
            return _look(request, file, conversation.need)
    with open(request["path"], "rb") as opened, h5py.File(request["path"], "r") as file:
        return _look(request, file, _nothing, opened.fileno())


def _nothing(_spans: list[tuple[int, int]]) -> None:
    """Of a file that is here nothing has to be asked for ahead."""


def _look(request: dict[str, Any], file: Any, need: slicing.Need, descriptor: int | None = None) -> tuple[Any, bytes]:
    if request["do"] == "info":
        return contents.describe(file.id, request["size"], request["limit"]), b""
    wanted = slicing.Request.of(request)
    values = slicing.read(file.id, wanted, request["size"], need, descriptor)
    return None, slicing.encoded(values, wanted)


def main(memory: int, seconds: float) -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What the library prints must not get between the answers.
    h5py._errors.silence_errors()
    np.seterr(all="ignore")
    limit_process(memory)
    conversation = Conversation(sys.stdin.buffer, replies)
    conversation.say({"ready": True})
    for line in iter(sys.stdin.buffer.readline, b""):
        limit_cpu(seconds)
        if not handle(json.loads(line), conversation):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
