"""Lists of executions: paging, filters, order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.gateway.catalog import Catalog, Cursor, Listed, Query, pack_cursor, unpack_cursor
from shared.records.fold import RunState, fold
from tests.unit.gateway_samples import START, completed, requested
from voxloom.errors import InvalidInput
from voxloom.models import Status


def state(run: str, second: float, *, ended: bool = True, **changes: str) -> RunState:
    first = fold(None, requested(run, second=second, **changes))
    return fold(first, completed(run, second=second + 1)) if ended else first


@pytest.fixture
def catalog() -> Catalog:
    """Twelve runs: every third still waits, every fourth is of another algorithm."""
    catalog = Catalog()
    for number in range(12):
        changes = {"algorithm_id": "alg-2", "name": "Align", "major": "2"} if number % 4 == 0 else {}
        catalog.touch(Listed(state(f"run-{number:02}", number // 2, ended=number % 3 != 0, **changes)))
    return catalog


def ids(catalog: Catalog, query: Query) -> list[str]:
    return [item.execution_id for item in catalog.page(query).items]


def every(catalog: Catalog, limit: int, **filters: object) -> list[str]:
    """All pages."""
    found: list[str] = []
    cursor: Cursor | None = None
    while True:
        page = catalog.page(Query(limit=limit, cursor=cursor, **filters))  # type: ignore[arg-type]  # given by name
        found += [item.execution_id for item in page.items]
        if page.next_cursor is None:
            return found
        cursor = unpack_cursor(page.next_cursor)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 12, 100])
def test_pages_together_are_the_whole_list_newest_first(catalog: Catalog, limit: int) -> None:
    # Two runs share each second, so pages also end between equals.
    assert every(catalog, limit) == [f"run-{number:02}" for number in reversed(range(12))]


def test_oldest_first_is_the_other_way_round(catalog: Catalog) -> None:
    assert every(catalog, 5, oldest_first=True) == [f"run-{number:02}" for number in range(12)]


def test_a_full_last_page_has_no_next(catalog: Catalog) -> None:
    assert catalog.page(Query(limit=12)).next_cursor is None


def test_a_list_can_be_of_some_statuses(catalog: Catalog) -> None:
    assert every(catalog, 2, status=[Status.PENDING]) == ["run-09", "run-06", "run-03", "run-00"]
    assert len(every(catalog, 5, status=[Status.PENDING, Status.COMPLETED])) == 12


@pytest.mark.parametrize("algorithm", ["alg-2", "Align", "aLIGN"])
def test_a_list_can_be_of_one_algorithm_by_id_or_name(catalog: Catalog, algorithm: str) -> None:
    assert every(catalog, 2, algorithm=algorithm) == ["run-08", "run-04", "run-00"]


def test_an_algorithm_nobody_ran_gives_an_empty_list(catalog: Catalog) -> None:
    assert ids(catalog, Query(limit=5, algorithm="nobody")) == []
    assert ids(catalog, Query(limit=5, algorithm="Align", algorithm_major_version="7")) == []


def test_a_row_says_what_the_run_has_come_to(catalog: Catalog) -> None:
    run = Listed(state("new", 99, ended=False))
    catalog.touch(run)
    run.progress = 0.25
    catalog.touch(run)
    item = catalog.page(Query(limit=1)).items[0]
    assert (item.execution_id, item.status, item.progress, item.time_completed) == ("new", Status.PENDING, 0.25, "")


def test_rows_as_the_recorder_keeps_them_come_out_as_they_went_in(catalog: Catalog) -> None:
    rows = catalog.page(Query(limit=100)).items
    other = Catalog()
    other.load(rows)
    assert other.page(Query(limit=100)).items == rows


def test_what_has_expired_is_no_longer_listed(catalog: Catalog) -> None:
    catalog.flush()
    catalog.forget_before(START + timedelta(seconds=4))
    assert ids(catalog, Query(limit=100, status=[Status.COMPLETED])) == [
        "run-11",
        "run-10",
        "run-08",
        "run-07",
    ]


def test_runs_are_counted_by_status(catalog: Catalog) -> None:
    counts = catalog.count()
    assert (counts[Status.PENDING], counts[Status.COMPLETED], counts[Status.FAILED]) == (4, 8, 0)


def test_a_cursor_is_taken_back() -> None:
    cursor = Cursor(1_795_000_000_000_000, "3f2a")
    assert unpack_cursor(pack_cursor(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["made-up", "", "ř", "AAAA", "=" * 9, "a" * 500, pack_cursor(Cursor(1, "a"))[:-2] + "AA"]
)
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        unpack_cursor(text)
