"""Sessions of one process: what they keep, and what makes it go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from voxloom.runner.sessions import DataCache, Limits, Sessions, TaskSession


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    TaskSession.data_caches.clear()
    yield
    TaskSession.data_caches.clear()


def test_an_item_is_the_object_itself() -> None:
    cache, item = DataCache(), {"count": 1}
    cache.add_item(item, "a")
    cache["a"]["count"] += 1
    assert (cache["a"] is item, item["count"], "a" in cache, len(cache)) == (True, 2, True, 1)


def test_the_one_that_was_not_used_for_longest_goes_first() -> None:
    cache = DataCache(max_size=2)
    cache.add_item(1, "a")
    cache.add_item(2, "b")
    _ = cache["a"]
    cache.add_item(3, "c")
    assert (cache.names(), cache.removed_keys_len) == (["a", "c"], {"b"})
    with pytest.raises(KeyError, match="2 items at most"):
        _ = cache["b"]


def test_too_large_together_means_the_oldest_goes() -> None:
    cache = DataCache(max_memory_mb=1)
    cache.add_item(np.zeros(600_000, np.uint8), "a")
    cache.add_item(np.zeros(600_000, np.uint8), "b")
    assert (cache.names(), cache.removed_keys_memory) == (["b"], {"a"})
    with pytest.raises(KeyError, match="too large"):
        _ = cache["a"]


def test_what_was_never_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="not in the session"):
        _ = DataCache()["a"]


def test_sessions_are_apart_and_never_push_one_another_out() -> None:
    sessions = Sessions()
    for number in range(100):
        sessions.cache_of(f"token {number}").add_item(number, "n")
    assert [sessions.cache_of(f"token {number}")["n"] for number in (0, 99)] == [0, 99]


def test_a_session_that_was_not_used_for_a_day_is_gone() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    for token in ("used", "unused"):
        sessions.cache_of(token).add_item(1, "a")
    now[0] = 20 * 3600.0
    sessions.cache_of("used")
    now[0] = 30 * 3600.0
    assert [len(sessions.cache_of(token)) for token in ("used", "unused")] == [1, 0]


def test_a_debug_session_is_shared_by_its_token() -> None:
    first = TaskSession()
    first.add_item([1], "a")
    assert TaskSession(first.session_token)["a"] == [1]
    assert "a" not in TaskSession()


def test_the_sixth_debug_session_pushes_out_the_oldest() -> None:
    oldest = TaskSession("oldest")
    oldest.add_item(1, "a")
    for _ in range(5):
        TaskSession()
    assert len(TaskSession("oldest")) == 0


def test_removing_is_silent_but_for_a_session_that_holds_nothing() -> None:
    with TaskSession() as session:
        with pytest.raises(KeyError):
            session.remove_item("a")
        session.add_item(1, "a")
        session.remove_item("b")
        session.remove_item("a")
        assert len(session) == 0


def test_where_there_are_no_sessions_it_is_said() -> None:
    with pytest.raises(NotImplementedError):
        TaskSession(not_implemented=True).add_item(1, "a")


def test_the_limits_are_those_that_the_run_came_with() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    few = Limits(items=2, size=1000, hours=1.0)
    cache = sessions.cache_of("few", few)
    for number in range(3):
        cache.add_item(number, str(number))
    cache.add_item(np.zeros(990, np.uint8), "large")
    assert (cache.names(), cache.removed_keys_memory) == (["large"], {"2"})
    now[0] = 3601.0
    assert len(sessions.cache_of("few", few)) == 0
