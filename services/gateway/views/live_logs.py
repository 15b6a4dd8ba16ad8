"""The log of a running attempt, as far as it was heard: its beginning and its newest part, bounded."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import NamedTuple

HALF = 512 << 10
"""Characters kept of the beginning, and (up to half as many more) of the newest part."""


class Piece(NamedTuple):
    """`offset` is how many characters of the attempt's log came before."""

    offset: int
    text: str

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


class LiveLog:
    """Pieces come in order, as a worker says them; what is repeated is taken once, what was lost stays a gap."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.end = 0
        self._head: list[Piece] = []
        self._head_size = 0
        self._tail: list[Piece] = []
        self._tail_size = 0

    def add(self, offset: int, text: str) -> bool:
        """Whether there was anything new in it."""
        if offset < self.end:
            text, offset = text[self.end - offset :], self.end
        if not text:
            return False
        self.end = offset + len(text)
        room = HALF - self._head_size
        if room > 0:
            self._head.append(Piece(offset, text[:room]))
            self._head_size += len(self._head[-1].text)
            offset, text = offset + room, text[room:]
        if text:
            self._keep_newest(Piece(offset, text))
        return True

    def _keep_newest(self, piece: Piece) -> None:
        self._tail.append(piece)
        self._tail_size += len(piece.text)
        if self._tail_size <= HALF + HALF // 2:
            return
        limit = self.end - HALF
        kept = [piece for piece in self._tail if piece.end > limit]
        self._tail = [_from(limit, kept[0]), *kept[1:]]
        self._tail_size = sum(len(piece.text) for piece in self._tail)

    def since(self, offset: int) -> list[Piece]:
        """What is known from `offset` on. Neighbours are joined."""
        joined: list[Piece] = []
        start, texts = 0, list[str]()
        end = -1
        for piece in self._from(offset):
            if piece.offset != end and texts:
                joined.append(Piece(start, "".join(texts)))
                texts = []
            if not texts:
                start = piece.offset
            texts.append(piece.text)
            end = piece.end
        if texts:
            joined.append(Piece(start, "".join(texts)))
        return joined

    def next(self, offset: int, most: int) -> Piece | None:
        """What is known from `offset` on, up to the next gap and `most` characters; None if that is nothing."""
        for pieces in (self._head, self._tail):
            at = bisect_right(pieces, offset, key=_end)
            if at < len(pieces):
                return _joined(pieces, at, offset, most)
        return None

    def _from(self, offset: int) -> list[Piece]:
        found: list[Piece] = []
        for pieces in (self._tail, self._head):
            for piece in reversed(pieces):
                if piece.end <= offset:
                    return found[::-1]
                found.append(_from(offset, piece))
        return found[::-1]

    def text(self) -> str:
        """All that is known; gaps are pointed out."""
        parts: list[str] = []
        end = 0
        for piece in self.since(0):
            if piece.offset > end:
                parts.append(f"\n[… {piece.offset - end} characters are not shown here …]\n")
            parts.append(piece.text)
            end = piece.end
        return "".join(parts)


def _end(piece: Piece) -> int:
    return piece.end


def _joined(pieces: list[Piece], at: int, offset: int, most: int) -> Piece:
    start, text = _from(offset, pieces[at])
    texts, size = [text], len(text)
    for piece in islice(pieces, at + 1, None):
        if size >= most or piece.offset != start + size:
            break
        texts.append(piece.text)
        size += len(piece.text)
    return Piece(start, "".join(texts)[:most])


def _from(offset: int, piece: Piece) -> Piece:
    return piece if piece.offset >= offset else Piece(offset, piece.text[offset - piece.offset :])
