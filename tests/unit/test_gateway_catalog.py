"""Lists of executions: paging, filters, order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from messages.runs import Result, RunFailed
from services.gateway.http.paging import PageQuery
from services.gateway.views.catalog import Catalog, Listed, Query
from shared.records.fold import RunState, fold
from shared.records.view import execution_summary
from tests.unit.gateway_samples import START, completed, requested, started
from voxloom.errors import InvalidInput
from voxloom.models import ExecutionSummary, RunError, Status, format_time


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


def query(limit: int = 100, cursor: str | None = None, **filters: Any) -> Query:
    return Query(PageQuery(limit=limit, cursor=cursor), None, **filters)


def ids(catalog: Catalog, wanted: Query) -> list[str]:
    return [item.execution_id for item in catalog.page(wanted).items]


def every(catalog: Catalog, limit: int, **filters: Any) -> list[str]:
    """All pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = catalog.page(query(limit, cursor, **filters))
        found += [item.execution_id for item in page.items]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def test_a_run_that_no_row_can_hold_keeps_no_other_from_the_list(catalog: Catalog) -> None:
    # Given a run with a number that the database does not take, among others
    stuck = state("stuck", 20)
    assert stuck.stage is not None
    rank = stuck.stage.rank._replace(attempt=2**63)
    stage = stuck.stage.model_copy(update={"rank": rank})
    catalog.touch(Listed(stuck.model_copy(update={"stage": stage})))
    catalog.touch(Listed(state("run-12", 30)))
    # When the list is read, and something changes, and it is read again
    first = ids(catalog, query())
    catalog.touch(Listed(state("run-13", 40)))
    # Then all others are in it
    assert first == [f"run-{number:02}" for number in reversed(range(13))]
    assert ids(catalog, query()) == ["run-13", *first]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 12, 100])
def test_pages_together_are_the_whole_list_newest_first(catalog: Catalog, limit: int) -> None:
    # Two runs share each second, so pages also end between equals.
    assert every(catalog, limit) == [f"run-{number:02}" for number in reversed(range(12))]


def test_oldest_first_is_the_other_way_round(catalog: Catalog) -> None:
    assert every(catalog, 5, sort="oldest") == [f"run-{number:02}" for number in range(12)]


def test_a_full_last_page_has_no_next(catalog: Catalog) -> None:
    assert catalog.page(query(limit=12)).next_cursor is None


def test_a_list_can_be_of_some_statuses(catalog: Catalog) -> None:
    assert every(catalog, 2, status=[Status.PENDING]) == ["run-09", "run-06", "run-03", "run-00"]
    assert len(every(catalog, 5, status=[Status.PENDING, Status.COMPLETED])) == 12


@pytest.mark.parametrize("algorithm", ["alg-2", "Align", "aLIGN"])
def test_a_list_can_be_of_one_algorithm_by_id_or_name(catalog: Catalog, algorithm: str) -> None:
    assert every(catalog, 2, algorithm=algorithm) == ["run-08", "run-04", "run-00"]


def test_an_algorithm_nobody_ran_gives_an_empty_list(catalog: Catalog) -> None:
    assert ids(catalog, query(limit=5, algorithm="nobody")) == []
    assert ids(catalog, query(limit=5, algorithm="Align", algorithm_major_version="7")) == []


def test_a_row_says_what_the_run_has_come_to(catalog: Catalog) -> None:
    run = Listed(state("new", 99, ended=False))
    catalog.touch(run)
    run.progress = 0.25
    catalog.touch(run)
    item = catalog.page(query(limit=1)).items[0]
    assert (item.execution_id, item.status, item.progress, item.time_completed) == ("new", Status.PENDING, 0.25, "")


def test_rows_as_the_recorder_keeps_them_come_out_as_they_went_in(catalog: Catalog) -> None:
    rows = catalog.page(query(limit=100)).items
    other = Catalog()
    other.load(rows)
    assert other.page(query(limit=100)).items == rows


def test_what_has_expired_is_no_longer_listed(catalog: Catalog) -> None:
    catalog.flush()
    catalog.forget_before(START + timedelta(seconds=4))
    assert ids(catalog, query(limit=100, status=[Status.COMPLETED])) == [
        "run-11",
        "run-10",
        "run-08",
        "run-07",
    ]


def test_runs_are_counted_by_status(catalog: Catalog) -> None:
    counts = catalog.count()
    assert (counts[Status.PENDING], counts[Status.COMPLETED], counts[Status.FAILED]) == (4, 8, 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("statuses", [[], [Status.PENDING], [Status.COMPLETED, Status.PENDING]])
def test_sorted_by_status_each_comes_newest_first(catalog: Catalog, limit: int, statuses: list[Status]) -> None:
    waiting = ["run-09", "run-06", "run-03", "run-00"]
    done = [f"run-{number:02}" for number in reversed(range(12)) if number % 3]
    expected = waiting if statuses == [Status.PENDING] else waiting + done
    assert every(catalog, limit, sort="status", status=statuses) == expected


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_sorted_by_duration_what_goes_on_is_the_shortest(limit: int) -> None:
    catalog = Catalog()
    for run, took in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        catalog.touch(Listed(fold(fold(None, requested(run)), completed(run, second=took))))
    catalog.touch(Listed(fold(None, requested("waits"))))
    assert every(catalog, limit, sort="longest") == ["a", "d", "c", "b", "waits"]
    assert every(catalog, limit, sort="shortest") == ["waits", "b", "c", "d", "a"]
    assert every(catalog, limit, sort="longest", status=[Status.COMPLETED]) == ["a", "d", "c", "b"]


def test_a_list_can_be_of_a_time_and_a_project(catalog: Catalog) -> None:
    span = {"since": START + timedelta(seconds=1), "until": START + timedelta(seconds=3)}
    assert every(catalog, 3, **span) == ["run-05", "run-04", "run-03", "run-02"]
    assert len(every(catalog, 5, project="default")) == 12
    assert every(catalog, 5, project="other") == []


def test_the_cursor_of_another_sort_is_refused(catalog: Catalog) -> None:
    cursor = catalog.page(query(2)).next_cursor
    with pytest.raises(InvalidInput):
        catalog.page(query(2, cursor, sort="oldest"))


def test_only_what_is_over_can_be_deleted(catalog: Catalog) -> None:
    assert set(catalog.ended_runs("default")) == {f"run-{number:02}" for number in range(12) if number % 3}
    catalog.delete(["run-00", "run-01", "nobody"])
    left = every(catalog, 5)
    assert ("run-00" in left, "run-01" in left) == (True, False)


def test_a_row_says_when_the_run_began_and_why_it_failed() -> None:
    # Given a run that waits, and one that has begun and failed
    catalog = Catalog()
    error = RunError(type="ValueError", message="x" * 1000, code="algorithm_error", details={"a": 1})
    failed = fold(state("failed", 0, ended=False), started("failed"))
    end = RunFailed(subject="failed", attempt=1, epoch=1, time=START, result=Result(error=error))
    catalog.touch(Listed(fold(failed, end)))
    catalog.touch(Listed(state("waits", 5, ended=False)))
    # When they are listed
    waits, failed_row = catalog.page(query()).items
    # Then the one has not started, and the other says the beginning of why
    assert (waits.time_started, waits.error, waits.time_submitted != "") == (None, None, True)
    assert failed_row.time_started is not None
    assert failed_row.error is not None
    assert (failed_row.error.code, len(failed_row.error.message) < 400, failed_row.error.details) == (
        "algorithm_error",
        True,
        None,
    )


def test_rows_as_the_recorder_keeps_them_are_listed_the_same(catalog: Catalog) -> None:
    rows = catalog.page(query()).items
    again = Catalog()
    again.load(rows)
    assert again.page(query()).items == rows


def test_a_row_of_an_earlier_version_has_started_when_it_was_submitted() -> None:
    row = execution_summary(state("old", 1)).model_dump(exclude={"time_submitted", "error"})
    row["time_started"] = format_time(START)
    catalog = Catalog()
    catalog.load([ExecutionSummary.model_validate(row)])
    (item,) = catalog.page(query()).items
    assert (item.time_submitted, item.time_started) == (format_time(START), format_time(START))
