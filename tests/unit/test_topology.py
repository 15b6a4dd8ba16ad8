"""Who hears what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.runs import Result, RunCompleted, RunEnded, RunFailed, RunStopped
from messages.wire import EVENTS
from shared.bus import topology
from shared.bus.base import Queue
from shared.bus.topology import matches, worker_queue
from tests.named import A

WORDS = st.sampled_from(["execution", "started", "lab", "run", "#", "*"])
PLAIN = st.sampled_from(["execution", "started", "lab", "run"])


def hears(queue: Queue, kind: str) -> bool:
    return any(matches(pattern, f"{kind}.lab-7.some-id") for pattern in queue.bindings)


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("*", "", True),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b.a", False),
        ("#.c", "a.b.c", True),
        ("#.c", "c", True),
        ("#.c", "c.d", False),
        ("a.#.d", "a.d", True),
        ("a.#.d", "a.b.c.d", True),
        ("a.#.d", "a.b.c", False),
        ("a.*.#", "a", False),
        ("a.*.#", "a.b", True),
        ("#.b.#", "a.b.c", True),
        ("#.b.#", "a.c", False),
        ("*.*.#.id", "e.v.p.id", True),
        ("a.#.#", "a", True),
    ],
)
def test_patterns_fit_keys_as_in_amqp(pattern: str, key: str, fits: bool) -> None:
    assert matches(pattern, key) is fits


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_a_pattern_without_wildcards_fits_itself(words: list[str]) -> None:
    assert matches(".".join(words), ".".join(words))


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(PLAIN, min_size=1, max_size=5))
def test_a_hash_more_fits_no_less(pattern: list[str], key: list[str]) -> None:
    if matches(".".join(pattern), ".".join(key)):
        assert matches(".".join([*pattern, "#"]), ".".join(key))


def test_queues_have_names_of_their_own() -> None:
    assert len({queue.name for queue in topology.ALL}) == len(topology.ALL)


@pytest.mark.parametrize("queue", topology.ALL, ids=lambda queue: queue.name)
def test_every_binding_can_bring_something(queue: Queue) -> None:
    kinds = [kind.name for kind in EVENTS.values() if not kind.event.transient]
    keys = [f"{kind}.lab-7.some-id" for kind in kinds] + [key for kind in EVENTS.values() for key in kind.event.inboxes]
    idle = [pattern for pattern in queue.bindings if not any(matches(pattern, key) for key in keys)]
    assert idle == []


@pytest.mark.parametrize(
    "kind",
    ["requested", "stop-requested", "assigned", "started", "requeued", "completed", "failed", "stopped"],
)
def test_the_recorder_hears_what_makes_a_record(kind: str) -> None:
    assert hears(topology.RECORDER, f"execution.{kind}")


def test_the_recorder_hears_which_records_shall_go() -> None:
    assert hears(topology.RECORDER, "record.delete-requested")


@pytest.mark.parametrize("kind", ["requested", "stop-requested", "started", "finished"])
def test_the_scheduler_hears_what_it_decides_on(kind: str) -> None:
    assert hears(topology.SCHEDULER, f"execution.{kind}")


@pytest.mark.parametrize("kind", sorted(kind.name for kind in EVENTS.values() if kind.event.transient))
def test_no_queue_is_bound_to_what_is_live(kind: str) -> None:
    assert [queue.name for queue in topology.ALL if hears(queue, kind)] == []


def test_core_queues_drop_nothing() -> None:
    assert topology.RECORDER.policy.delays is topology.SCHEDULER.policy.delays is None


def test_core_queues_have_one_reader() -> None:
    assert topology.RECORDER.single_active
    assert topology.SCHEDULER.single_active


def test_a_worker_hears_its_own_inbox_alone() -> None:
    queue = worker_queue("one")
    assert [matches(queue.bindings[0], f"inbox.worker.{name}") for name in ("one", "two")] == [True, False]


@pytest.mark.parametrize(
    ("end", "swept"),
    [
        (RunCompleted(subject=A, attempt=1, epoch=1, result=Result()), False),
        (RunCompleted(subject=A, attempt=1, epoch=1, result=Result(staged=1)), True),
        (RunCompleted(subject=A, attempt=2, epoch=1, result=Result()), True),
        (RunFailed(subject=A, attempt=1, epoch=1, result=Result()), True),
        (RunStopped(subject=A, attempt=0, epoch=1, result=Result()), False),
        (RunStopped(subject=A, attempt=1, epoch=1, result=Result()), True),
    ],
)
def test_the_sweeper_hears_of_runs_that_may_have_left_files(end: RunEnded, swept: bool) -> None:
    keys = (end.routing_key, *end.copy_to)

    assert any(matches(pattern, key) for pattern in topology.SWEEPER.bindings for key in keys) == swept


@given(st.lists(PLAIN, min_size=1, max_size=7).map(".".join))
def test_what_is_in_the_stream_is_what_its_pattern_says(key: str) -> None:
    assert topology.in_stream([key]) == matches(topology.STREAM_PATTERN, key)
