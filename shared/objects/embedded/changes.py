"""What a group of writes makes of the rows it touches: pure, so that races are judged in one place.

The writer loads the rows that a group touches, folds the group's operations over them one after the other, and
writes what has become of each row. An operation that is refused leaves nothing behind and harms no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.objects import refusals
from shared.objects.base import ANYWAY, Condition
from shared.objects.embedded.rows import Address, Row
from voxloom.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Put:
    row: Row
    condition: Condition = ANYWAY

    @property
    def address(self) -> Address:
        return self.row.address


@dataclass(frozen=True, slots=True)
class Retag:
    address: Address
    tags: str
    since: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    address: Address


@dataclass(frozen=True, slots=True)
class Expire:
    """Drops the object if its time began at `until` or before, however often it was replaced since it was listed."""

    address: Address
    until: int


@dataclass(frozen=True, slots=True)
class Digested:
    """Gives the object the digest of its file, if it still is that file."""

    address: Address
    file: str
    digest: str


Change = Put | Retag | Drop | Expire | Digested


def judge(row: Row | None, change: Change) -> Row | None:
    """What `change` makes of `row`. Raises Conflict or NotFound when it may not."""
    match change:
        case Put(new, condition):
            check_condition(row, condition, change.address)
            return new
        case Retag(address, tags, since):
            if row is None:
                raise not_found(address)
            return row._replace(tags=tags, since=since)
        case Drop():
            return None
        case Expire(_, until):
            return None if row is None or (row.since is not None and row.since <= until) else row
        case Digested(_, file, digest):
            return row._replace(digest=digest) if row is not None and row.file == file else row


def check_condition(row: Row | None, condition: Condition, address: Address) -> None:
    if condition.absent and row is not None:
        raise _refused(address, "it is already there")
    if condition.etag is not None and (row is None or row.etag != condition.etag):
        raise _refused(address, "it is gone" if row is None else "it has changed")


def not_found(address: Address) -> NotFound:
    return refusals.not_found(address[0], address[1].decode())


def _refused(address: Address, why: str) -> Conflict:
    return refusals.not_written(address[0], address[1].decode(), why)


@dataclass
class Fold:
    """The rows a group touches, as they were (`before`) and as the group leaves them (`after`)."""

    before: Mapping[Address, Row]
    after: dict[Address, Row | None] = field(default_factory=dict)
    garbage: list[str] = field(default_factory=list)
    """Files that no row will name any more."""

    def apply(self, changes: Sequence[Change]) -> int:
        """Applies all or, when one is refused, none. Returns how many rows it changed."""
        made: dict[Address, Row | None] = {}
        garbage: list[str] = []
        changed = 0
        for change in changes:
            address = change.address
            old = made[address] if address in made else self.current(address)
            new = judge(old, change)
            if old is not None and old.file is not None and (new is None or new.file != old.file):
                garbage.append(old.file)
            changed += new is not old
            made[address] = new
        self.after.update(made)
        self.garbage += garbage
        return changed

    def current(self, address: Address) -> Row | None:
        return self.after[address] if address in self.after else self.before.get(address)

    def written(self) -> list[Row]:
        """Rows to write whole."""
        return [row for row in self.after.values() if row is not None and row.id is None]

    def changed(self) -> list[Row]:
        """Rows that have new tags or a digest, and are else as they were."""
        rows = self.after.items()
        return [row for at, row in rows if row is not None and row.id is not None and row is not self.before[at]]

    def dropped(self) -> list[int]:
        """The ids of rows to delete."""
        gone = (self.before.get(at) for at, row in self.after.items() if row is None)
        return [row.id for row in gone if row is not None and row.id is not None]


def addresses(groups: Iterable[Sequence[Change]]) -> list[Address]:
    """Every row that the groups of changes touch, once."""
    return list({change.address: None for changes in groups for change in changes})


def files_of(changes: Sequence[Change]) -> list[str]:
    """The files that the changes bring with them."""
    return [change.row.file for change in changes if isinstance(change, Put) and change.row.file is not None]
