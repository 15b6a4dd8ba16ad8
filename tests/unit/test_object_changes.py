"""What groups of writes make of rows, and who wins a race: without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.objects.base import ABSENT, ANYWAY, Condition
from shared.objects.embedded.cache import Cache
from shared.objects.embedded.changes import Change, Drop, Expire, Fold, Put, Retag, addresses, files_of, judge
from shared.objects.embedded.rows import Row
from shared.objects.embedded.table import MOST_ROWS, _pieces
from voxloom.errors import Conflict, NotFound, VoxloomError

AT = ("execution-store", b"k")


def row(etag: str = "e", *, file: str | None = None, since: int | None = None, number: int | None = None) -> Row:
    return Row(*AT, 1, etag, 0, "{}", "{}", since, file, None if file else b"x", number)


OLD = row("old", number=7)
NEW = row("new")


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (None, Put(NEW, ANYWAY), NEW),
        (OLD, Put(NEW, ANYWAY), NEW),
        (None, Put(NEW, ABSENT), NEW),
        (OLD, Put(NEW, Condition(etag="old")), NEW),
        (OLD, Retag(AT, '{"a":"b"}', 5), OLD._replace(tags='{"a":"b"}', since=5)),
        (OLD, Drop(AT), None),
        (None, Drop(AT), None),
        (None, Expire(AT, 10), None),
        (row(since=10), Expire(AT, 10), None),
        (row(since=11), Expire(AT, 10), row(since=11)),
        (OLD, Expire(AT, 10), OLD),
    ],
)
def test_a_change_that_may_happen_happens(before: Row | None, change: Change, after: Row | None) -> None:
    assert judge(before, change) == after


@pytest.mark.parametrize(
    ("before", "change", "error"),
    [
        (OLD, Put(NEW, ABSENT), Conflict),
        (OLD, Put(NEW, Condition(etag="other")), Conflict),
        (None, Put(NEW, Condition(etag="old")), Conflict),
        (None, Retag(AT, "{}", None), NotFound),
    ],
)
def test_a_change_that_may_not_is_refused(before: Row | None, change: Change, error: type[VoxloomError]) -> None:
    with pytest.raises(error):
        judge(before, change)


def test_the_first_of_two_creators_wins() -> None:
    fold = Fold({})
    fold.apply([Put(row("first"), ABSENT)])
    with pytest.raises(Conflict):
        fold.apply([Put(row("second"), ABSENT)])
    assert [row.etag for row in fold.written()] == ["first"]


def test_an_operation_that_is_refused_changes_nothing() -> None:
    fold = Fold({AT: OLD._replace(file="ab/old")})
    with pytest.raises(NotFound):
        fold.apply([Drop(AT), Retag(("execution-store", b"other"), "{}", None)])
    assert (fold.after, fold.garbage) == ({}, [])


def test_files_that_nothing_names_any_more_are_garbage() -> None:
    fold = Fold({AT: row("0", file="ab/0", number=1)})
    for number in range(1, 4):
        fold.apply([Put(row(str(number), file=f"ab/{number}"))])
    assert (fold.garbage, files_of([Put(row) for row in fold.written()])) == (["ab/0", "ab/1", "ab/2"], ["ab/3"])


def test_new_tags_keep_the_file() -> None:
    fold = Fold({AT: row(file="ab/0", number=1)})
    fold.apply([Retag(AT, '{"a":"b"}', None)])
    assert (fold.garbage, fold.written(), [row.id for row in fold.changed()]) == ([], [], [1])


def test_an_object_that_came_and_went_in_one_group_needs_no_writing() -> None:
    fold = Fold({})
    fold.apply([Put(NEW)])
    fold.apply([Drop(AT)])
    assert (fold.written(), fold.changed(), fold.dropped()) == ([], [], [])


def test_a_dropped_object_is_deleted_by_its_row() -> None:
    fold = Fold({AT: OLD})
    assert fold.apply([Drop(AT), Drop(AT)]) == 1
    assert fold.dropped() == [7]


def test_what_was_deleted_and_put_again_is_written() -> None:
    fold = Fold({AT: OLD})
    fold.apply([Drop(AT), Put(NEW, ABSENT)])
    assert (fold.written(), fold.dropped()) == ([NEW], [])


def test_each_row_is_loaded_once() -> None:
    assert addresses([[Put(NEW), Drop(AT)], [Retag(AT, "{}", None)]]) == [AT]


@given(st.integers(0, 1000))
def test_slices_are_few_lengths_and_leave_nothing_out(count: int) -> None:
    slices = list(_pieces(range(count)))
    assert [number for some in slices for number in some] == list(range(count))
    assert {len(some) for some in slices} <= {2**n for n in range(MOST_ROWS.bit_length())}


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = Cache(room=3000)
    rows = [NEW._replace(key=b"%d" % n) for n in range(3)]
    cache.renew({rows[0].address: rows[0], rows[1].address: rows[1]})
    cache.get(rows[0].address)
    cache.renew({rows[2].address: rows[2]})
    assert [cache.get(row.address) for row in rows] == [rows[0], None, rows[2]]


def test_the_cache_takes_no_reading_that_a_commit_has_overtaken() -> None:
    cache = Cache()
    mark = cache.mark
    cache.renew({AT: None})
    cache.keep(OLD, mark)
    assert cache.get(AT) is None


def test_the_cache_forgets_what_a_commit_leaves_unknown() -> None:
    cache = Cache()
    cache.keep(OLD, cache.mark)
    cache.renew({AT: None})
    assert cache.get(AT) is None
