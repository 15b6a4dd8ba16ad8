"""Whether the bytes of a download are those that the server has stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import IO

from voxloom.digests import REPR, from_header, named
from voxloom.errors import Damaged, InvalidInput


class Taking:
    """A download into a file, hashed where the answer's headers tell a digest."""

    def __init__(self, file: IO[bytes], headers: Mapping[str, str]) -> None:
        self._file = file
        self._wanted = _told(headers)
        self._hash = None if self._wanted is None else hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Blocks."""
        self._file.write(piece)
        if self._hash is not None:
            self._hash.update(piece)

    def check(self) -> None:
        """To be called after the last byte. Raises Damaged."""
        if self._hash is not None and named(self._hash.hexdigest()) != self._wanted:
            raise Damaged(
                "The downloaded bytes are not those that were stored: they have another SHA-256 than the server says. "
                "Download the file again; if that does not help, the file is damaged on the server, where "
                "`voxloom doctor --scrub` shows which ones are.",
                code="download_damaged",
            )


def _told(headers: Mapping[str, str]) -> str | None:
    """What cannot be read is none of ours: a proxy may have put it there."""
    try:
        return from_header(headers.get(REPR, ""))
    except InvalidInput:
        return None
