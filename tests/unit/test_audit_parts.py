"""Parts of the audit: which requests are in it, what is counted together, and how entries are kept and read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.http.audit import Ended, action_of, is_counted, is_kept
from services.gateway.http.paging import PageQuery
from services.gateway.operations.audit import Query, fits
from shared.audit import counts, log
from shared.audit.batches import (
    COLLECTION,
    DAY,
    FULL,
    HOUR,
    LATE,
    Batch,
    batch_of,
    key_from,
    micros,
    packed,
    place_of,
    to_unite,
    united,
    unpacked,
)
from shared.audit.counts import MOST_APART, OTHERS, Counts, What
from shared.audit.house import expire, unite
from shared.audit.log import AuditLog
from shared.audit.reading import MOST_READ, Wanted, read
from tests.each import each
from tests.unit.memory_platform import MemoryStore
from voxloom.errors import AuditUnavailable, StoreUnavailable
from voxloom.models import AuditEntry, format_time

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def entry(number: int, **facts: Any) -> AuditEntry:
    """`number`: seconds after noon."""
    time = format_time(NOON + timedelta(seconds=number))
    told = {"entry_id": f"{number:08d}", "time": time, "action": "member.set", "outcome": "done", **facts}
    return AuditEntry.model_validate(told)


# --- which requests -------------------------------------------------------------------------------------------------


@each(
    "row",
    [
        ("PUT", "/api/v1/projects/{project_id}/members/{principal_id}", "member.set"),
        ("DELETE", "/api/v1/projects/{project_id}", "project.delete"),
        ("PUT", "/api/v1/projects/{project_id}/limits", "limit.set"),
        ("POST", "/api/v1/tokens", "token.create"),
        ("DELETE", "/api/v1/tokens/{token_id}", "token.revoke"),
        ("DELETE", "/api/v0/files/{file_id}", "file.delete"),
        ("DELETE", "/api/v0/deploy/algorithm/{algorithm_id}", "algorithm.delete"),
        ("POST", "/api/v1/algorithms", "algorithm.deploy"),
        ("POST", "/api/v1/executions/{execution_id}/stop", "execution.stop"),
        ("GET", "/api/v1/executions/{execution_id}", "execution.read"),
        ("GET", "/api/v0/algorithm/{name}/{major}/export", "algorithm.export"),
        ("GET", "/", "server.read"),
        ("DELETE", "/api/v0/execute-algorithm/all", "execution.delete"),
    ],
)
def test_an_action_is_named_after_what_it_is_done_to(row: tuple[Any, ...]) -> None:
    method, path, action = row
    assert action_of(method, path) == action


@each(
    "row",
    [
        ("DELETE", "run", True),
        ("POST", "deploy", True),
        ("POST", "admin", True),
        ("PUT", "identity", True),
        ("POST", "run", False),
        ("POST", "nothing", False),
        ("GET", "admin", False),
        ("HEAD", "deploy", False),
    ],
)
def test_what_takes_away_or_concerns_others_is_kept(row: tuple[Any, ...]) -> None:
    method, need, kept = row
    assert is_kept(method, need) is kept


@each(
    "row",
    [
        (Ended(200), "done", False),
        (Ended(401, "token_missing"), "refused", True),
        (Ended(403, "forbidden"), "refused", True),
        (Ended(404, "file_not_found"), "refused", True),
        (Ended(404, "http_404"), "refused", False),
        (Ended(404, "no_algorithms_found"), "refused", False),
        (Ended(409, "last_admin"), "refused", False),
        (Ended(499), "begun", False),
        (Ended(503, "store_unavailable"), "failed", False),
    ],
)
def test_how_it_ended(row: tuple[Any, ...]) -> None:
    ended, outcome, counted = row
    assert (ended.outcome, is_counted(ended)) == (outcome, counted)


@each(
    "row",
    [
        ({}, None, True),
        ({}, {"lab1"}, True),
        ({}, {"lab2"}, False),
        ({"project": "lab2"}, None, False),
        ({"actor": "anna"}, None, True),
        ({"actor": "bob"}, None, False),
        ({"action": "member"}, None, True),
        ({"action": "member.set"}, None, True),
        ({"action": "mem"}, None, False),
        ({"outcome": ("done", "failed")}, None, True),
        ({"outcome": ("refused",)}, None, False),
    ],
)
def test_what_is_asked_for_and_may_be_seen(row: tuple[Any, ...]) -> None:
    query, projects, wanted = row
    assert fits(Query(PageQuery(), **query), projects)(entry(0, actor="anna", project="lab1")) is wanted


# --- counted together -----------------------------------------------------------------------------------------------


def refusal(**facts: Any) -> What:
    return What(**{"action": "request", "outcome": "refused", "project": "system", "code": "token_invalid", **facts})


def counted(sent: Iterable[What]) -> list[AuditEntry]:
    noted: list[AuditEntry] = []
    counts = Counts(noted.append)
    for what in sent:
        counts.add(what)
    counts.close()
    return noted


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "utc_now", lambda: NOON)


@pytest.mark.usefixtures("one_minute")
def test_equal_refusals_are_one_entry() -> None:
    noted = counted([refusal(address="a")] * 3 + [refusal(address="b")])
    assert [(one.address, one.count) for one in noted] == [("a", 3), ("b", 1)]


@pytest.mark.usefixtures("one_minute")
def test_a_flood_from_many_addresses_is_few_entries_and_hides_no_principal() -> None:
    flood = [refusal(address=str(number)) for number in range(MOST_APART * 20)]
    noted = counted([*flood, refusal(actor="anna")])
    assert len(noted) == MOST_APART + 2
    assert {one.address: one.count for one in noted}[OTHERS] == MOST_APART * 19
    assert noted[-1].actor == "anna"


def test_each_minute_is_an_entry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[AuditEntry] = []
    counting = Counts(noted.append)
    for second in (0, 59, 60):
        monkeypatch.setattr(counts, "utc_now", lambda second=second: NOON + timedelta(seconds=second))
        counting.add(refusal())
    counting.close()
    assert [one.count for one in noted] == [2, 1]


# --- objects --------------------------------------------------------------------------------------------------------


def test_what_is_packed_is_unpacked_the_oldest_first() -> None:
    given = [entry(2, actor="anna", details={"changed": ["members/a/b"]}), entry(1, code="x"), entry(3)]
    ((key, data),) = packed(given)
    batch = batch_of(key)
    assert unpacked(data) == sorted(given, key=place_of)
    assert batch is not None
    assert batch[1:] == (place_of(entry(3))[0], place_of(entry(1))[0], 3)


def test_what_a_newer_version_has_written_is_passed_over() -> None:
    ((_, data),) = packed([entry(1)])
    assert unpacked(b'{"entry_id": "x", "outcome": "pondered"}\n' + data + b"{\n") == [entry(1)]


def test_an_end_counts_and_not_its_begin() -> None:
    begun, done = entry(1, outcome="begun"), entry(1)
    assert united([begun, done, begun]) == united([done, begun]) == [done]


def test_an_object_has_one_day_and_so_many_entries() -> None:
    days = list(packed([entry(0), entry(12 * 3600)]))
    full = list(packed(entry(0, entry_id=str(number)) for number in range(FULL + 1)))
    assert (len(days), [batch_of(key)[3] for key, _ in full]) == (2, [FULL, 1])  # type: ignore[index]


def test_keys_are_in_the_order_of_time_the_newest_first() -> None:
    keys = [next(iter(packed([entry(number)])))[0] for number in (30, 20, 10)]
    at_twenty = key_from(place_of(entry(20))[0])
    assert keys == sorted(keys)
    assert keys[0] < at_twenty < keys[1]


BEGIN = micros(NOON) // DAY * DAY


def batch(newest: int, entries: int = 1) -> Batch:
    return Batch(f"{newest}-{entries}", BEGIN + newest, BEGIN + newest, entries)


@each(
    "row",
    [
        ([batch(0), batch(1)], HOUR, []),  # some may still come
        ([batch(0), batch(1)], HOUR + LATE, [2]),
        ([batch(0), batch(HOUR)], 2 * HOUR + LATE, []),
        ([batch(0), batch(HOUR)], DAY + LATE, [2]),
        ([batch(0), batch(DAY)], 2 * DAY + LATE, []),
        ([batch(0, FULL), batch(1, FULL)], DAY + LATE, []),  # they are as few as they can be
        ([batch(0, FULL), batch(1, 2), batch(2, 3)], DAY + LATE, [3]),
    ],
)
def test_which_objects_are_put_together(row: tuple[Any, ...]) -> None:
    batches, now, groups = row
    assert [len(group) for group in to_unite(batches, BEGIN + now)] == groups


# --- written --------------------------------------------------------------------------------------------------------


def failing(store: MemoryStore) -> None:
    def before(what: str, _: str) -> None:
        if what == "put":
            raise StoreUnavailable("away")

    store.before = before


async def test_what_must_be_there_before_is_refused_where_it_cannot_be() -> None:
    store = MemoryStore()
    failing(store)
    with pytest.raises(AuditUnavailable):
        await AuditLog(store).before(entry(0))


async def test_an_outage_delays_and_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_WAITING", 3)
    store = MemoryStore()
    failing(store)
    audit = AuditLog(store)
    for number in range(5):
        audit.note(entry(number))
    assert (await audit.flush(), audit.waiting, audit.dropped) == (False, 3, 2)
    store.before = lambda *_: None
    assert (await audit.flush(), audit.waiting) == (True, 0)
    assert [one.entry_id for one in await all_of(store)] == ["00000004", "00000003", "00000002"]


async def test_a_cancelled_write_loses_nothing() -> None:
    store = MemoryStore()
    audit = AuditLog(store)
    audit.note(entry(0))

    def cancelled(*_: str) -> None:
        raise asyncio.CancelledError

    store.before = cancelled
    with pytest.raises(asyncio.CancelledError):
        await audit.flush()
    assert audit.waiting == 1


# --- read -----------------------------------------------------------------------------------------------------------


async def kept(*batches: list[AuditEntry]) -> MemoryStore:
    store = MemoryStore()
    for some in batches:
        for key, data in packed(some):
            await store.put(COLLECTION, key, data)
    return store


async def all_of(store: MemoryStore, limit: int = 3, **wanted: Any) -> list[AuditEntry]:
    """Page by page."""
    found: list[AuditEntry] = []
    after = None
    while True:
        part = await read(store, Wanted(limit, wanted.get("fits", lambda _: True), after, **times_of(wanted)))
        found += part.entries
        after = part.after
        if after is None:
            return found


def times_of(wanted: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in wanted.items() if name != "fits"}


async def test_objects_that_overlap_make_one_order() -> None:
    # As two gateways write them, and one that was late
    store = await kept([entry(1), entry(4), entry(9)], [entry(2), entry(3)], [entry(5), entry(8)], [entry(0), entry(7)])
    assert [int(one.entry_id) for one in await all_of(store)] == [9, 8, 7, 5, 4, 3, 2, 1, 0]


async def test_what_is_there_twice_is_shown_once_with_its_end() -> None:
    store = await kept([entry(1, outcome="begun")], [entry(0), entry(1), entry(2)], [entry(2)])
    assert await all_of(store, limit=1) == [entry(2), entry(1), entry(0)]


async def test_a_time_bounds_what_is_read() -> None:
    store = await kept(*([entry(number)] for number in range(10)))
    since, until = place_of(entry(3))[0], place_of(entry(6))[0]
    assert [int(one.entry_id) for one in await all_of(store, since=since, until=until)] == [5, 4, 3]


async def test_a_page_reads_so_many_objects_and_says_where_to_go_on() -> None:
    store = await kept(*([entry(number)] for number in range(2 * MOST_READ)))
    reads = []
    store.before = lambda what, key: reads.append(key) if what == "get" else None
    part = await read(store, Wanted(10, lambda one: one.entry_id == "00000000"))
    assert (part.entries, len(reads) <= MOST_READ, part.after is not None) == ([], True, True)
    assert await all_of(store, fits=lambda one: one.entry_id == "00000000") == [entry(0)]


async def test_put_together_it_reads_the_same_and_what_is_old_goes() -> None:
    store = await kept(*([entry(number * 100)] for number in range(50)))
    before = await all_of(store)
    gone = await unite(store)
    assert (gone, len(store.objects), await all_of(store)) == (50, 1, before)
    assert (await unite(store), await expire(store, micros(NOON) - 1), await expire(store, micros(NOON) + DAY)) == (
        0,
        0,
        1,
    )
