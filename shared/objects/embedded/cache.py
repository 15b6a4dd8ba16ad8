"""Rows read or written lately, so that most reads of small objects need no thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from shared.objects.embedded.rows import Address, Row

ROOM = 16 << 20
_ROW_COST = 1024
"""About what a row takes besides its body."""


class Cache:
    """The newest rows, the least used going first. For the event loop only.

    It is right because every commit passes through `renew` before anybody hears of it, and because a row that was
    read is kept only if there was no commit since the reading began (`mark`).
    """

    def __init__(self, room: int = ROOM) -> None:
        self.mark = 0
        self._room = room
        self._used = 0
        self._rows: OrderedDict[Address, Row] = OrderedDict()

    def get(self, address: Address) -> Row | None:
        row = self._rows.get(address)
        if row is not None:
            self._rows.move_to_end(address)
        return row

    def renew(self, touched: Mapping[Address, Row | None]) -> None:
        """What a commit has made of rows; None: forget it."""
        self.mark += 1
        for address, row in touched.items():
            self.forget(address)
            if row is not None:
                self._keep(row)

    def keep(self, row: Row, mark: int) -> None:
        """A row whose reading began at `mark`."""
        if mark == self.mark:
            self.forget(row.address)
            self._keep(row)

    def _keep(self, row: Row) -> None:
        self._rows[row.address] = row
        self._used += _cost(row)
        while self._used > self._room:
            self._used -= _cost(self._rows.popitem(last=False)[1])

    def forget(self, address: Address) -> None:
        row = self._rows.pop(address, None)
        if row is not None:
            self._used -= _cost(row)


def _cost(row: Row) -> int:
    return _ROW_COST + len(row.body or b"")
