"""Decisions of the embedded bus: routes, cuts, histories of bindings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.wire import Message
from shared.bus.embedded.database import Database
from shared.bus.embedded.queues import Bindings
from shared.bus.embedded.routes import Routes, decided_by_kind, kind_of
from shared.bus.embedded.rows import Entry, History
from shared.bus.embedded.segments import SEGMENT_BYTES, SEGMENT_ENTRIES, cuts
from shared.bus.embedded.tables import revised
from shared.bus.topology import matches

WORDS = ["execution", "file", "started", "lab"]
KEYS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(st.sampled_from([*WORDS, "*", "#"]), min_size=1, max_size=5).map(".".join)
BINDINGS = st.dictionaries(st.integers(0, 9), st.lists(PATTERNS, min_size=1, max_size=4), max_size=6)


def routes_of(bindings: dict[int, list[str]]) -> Routes[int]:
    routes: Routes[int] = Routes()
    for target, patterns in bindings.items():
        routes.bind(target, patterns)
    return routes


@given(BINDINGS, st.lists(KEYS, min_size=1, max_size=3))
def test_routes_find_what_the_patterns_say_and_each_once(bindings: dict[int, list[str]], keys: list[str]) -> None:
    expected = [
        target
        for target, patterns in bindings.items()
        if any(matches(pattern, key) for pattern in patterns for key in keys)
    ]
    routes = routes_of(bindings)
    assert sorted(routes.find(keys)) == sorted(expected)
    assert sorted(routes.find(keys)) == sorted(expected), "also when the kind is known already"


@given(BINDINGS, BINDINGS, KEYS)
def test_only_the_newest_bindings_count(before: dict[int, list[str]], after: dict[int, list[str]], key: str) -> None:
    routes = routes_of(before)
    routes.find([key])
    for target in before:
        routes.unbind(target)
    for target, patterns in after.items():
        routes.bind(target, patterns)
    assert sorted(routes.find([key])) == sorted(routes_of(after).find([key]))


@given(PATTERNS, KEYS)
def test_what_a_kind_decides_does_not_depend_on_the_rest_of_the_key(pattern: str, key: str) -> None:
    if decided_by_kind(pattern):
        assert matches(pattern, key) == matches(pattern, kind_of(key))


@pytest.mark.parametrize(
    ("pattern", "decided"),
    [
        ("execution.started.#", True),
        ("worker.*.#", True),
        ("deploy.#", True),
        ("#", True),
        ("execution.started.lab.#", False),
        ("execution.started", False),
        ("#.started.#", False),
        ("*.*.lab.#", False),
    ],
)
def test_the_usual_patterns_are_decided_by_the_kind(pattern: str, decided: bool) -> None:
    assert decided_by_kind(pattern) is decided


def test_many_kinds_do_not_fill_the_memory() -> None:
    routes = routes_of({1: ["#"]})
    assert all(routes.find([f"kind.{number}.x"]) == (1,) for number in range(10_000))
    assert len(routes._kinds) <= 4096


def entry(size: int) -> Entry:
    return Entry(Message(("k",), {}, bytes(size)))


@given(st.lists(st.sampled_from([0, 10, 1000, SEGMENT_BYTES // 3, 2 * SEGMENT_BYTES]), max_size=40))
def test_segments_hold_all_entries_in_order_and_stay_small(sizes: list[int]) -> None:
    pieces = [sizes[start:end] for start, end in cuts([entry(size) for size in sizes])]
    assert [size for piece in pieces for size in piece] == sizes
    assert all(len(piece) == 1 or sum(piece) <= SEGMENT_BYTES for piece in pieces)


def test_a_segment_has_only_so_many_entries() -> None:
    assert list(cuts([entry(1)] * (SEGMENT_ENTRIES + 1))) == [(0, SEGMENT_ENTRIES), (SEGMENT_ENTRIES, 257)]


def test_a_commit_waits_until_it_is_on_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path)
    (synchronous,) = database._connection.execute("PRAGMA synchronous").fetchone()
    database.close()
    assert synchronous == 2, "FULL: in WAL mode, less than that loses commits when the power goes"


OLD, NEW = ("a.#",), ("b.#",)


@pytest.mark.parametrize(
    ("history", "last", "cursor", "expected"),
    [
        (((0, OLD),), 10, 5, ((0, OLD), (10, NEW))),
        (((0, OLD),), 10, 10, ((10, NEW),)),
        (((0, NEW),), 10, 5, ((0, NEW),)),
        (((0, OLD), (7, NEW)), 10, 8, ((7, NEW),)),
        (((10, OLD),), 10, 10, ((10, NEW),)),
    ],
)
def test_patterns_are_remembered_until_the_cursor_has_passed_them(
    history: History, last: int, cursor: int, expected: History
) -> None:
    assert revised(history, NEW, last, cursor) == expected


@pytest.mark.parametrize(("seq", "key", "wanted"), [(10, "a.x", True), (10, "b.x", False), (11, "b.x", True)])
def test_an_entry_is_judged_by_the_patterns_of_its_time(seq: int, key: str, wanted: bool) -> None:
    assert Bindings(((0, OLD), (10, NEW))).wants(seq, [key], "queue", None) is wanted


@pytest.mark.parametrize(("only", "wanted"), [("queue", True), ("other", False)])
def test_what_is_meant_for_one_queue_is_wanted_by_it_alone(only: str, wanted: bool) -> None:
    assert Bindings(((0, OLD),)).wants(1, ["a.x"], "queue", only) is wanted
