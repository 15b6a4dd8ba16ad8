"""Processes that share a broker and not a store: who finds out, and what people are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from messages.services import ServiceHeartbeat
from shared import neighbours as neighbours_module
from shared.bus.local import LocalBus
from shared.neighbours import Neighbours
from shared.ops import platform_faults
from shared.service import Platform
from shared.settings import Settings
from shared.strangers import Strangers
from tests.contract.worker_world import until
from tests.unit.memory_platform import MemoryStore

Process = Callable[..., Neighbours]


def heard(store: str, subject: str = "s", host: str = "node-2") -> ServiceHeartbeat:
    return ServiceHeartbeat(subject=subject, services=["ingest"], store=store, host=host, pid=4711)


def test_one_who_uses_another_store_is_told_of_once_and_stays_a_fault() -> None:
    strangers = Strangers("here")
    told = [strangers.hear(heard("there"), now) for now in (0.0, 1.0)]
    sentence = (
        "the ingest on node-2 (process 4711) uses another object store than this process: give all services the same "
        "`store`, and start again those that had the wrong one"
    )
    assert told == [sentence, None]
    assert strangers.faults() == [sentence]


@pytest.mark.parametrize(
    ("here", "there"), [("a", "a"), ("a", ""), ("", "a")], ids=["the same", "an older program", "no mark here"]
)
def test_who_uses_the_same_store_or_does_not_tell_is_no_stranger(here: str, there: str) -> None:
    strangers = Strangers(here)
    assert strangers.hear(heard(there), 0.0) is None
    assert strangers.faults() == []


def test_a_stranger_that_starts_again_and_again_is_told_of_once() -> None:
    strangers = Strangers("here")
    told = [strangers.hear(heard("there", subject), 0.0) for subject in "abc"]
    assert [line is not None for line in told] == [True, False, False]


@pytest.mark.parametrize(
    ("stores", "doubts"),
    [(["there"], True), (["here", "there"], False), (["here", "there", "there"], True), (["here"], False)],
    ids=["one against one", "two against one", "two against two", "all alike"],
)
def test_only_those_who_are_not_more_than_the_others_are_not_ready(stores: list[str], doubts: bool) -> None:
    strangers = Strangers("here")
    for number, store in enumerate(stores):
        strangers.hear(heard(store, f"s{number}"), 0.0)
    assert bool(strangers.doubts()) == doubts


def test_a_stranger_that_is_gone_is_no_fault_any_more() -> None:
    strangers = Strangers("here")
    strangers.hear(heard("there", "a"), 0.0)
    strangers.hear(heard("there", "b", "node-3"), 60.0)
    strangers.forget(30.0)
    (fault,) = strangers.faults()
    assert "node-3" in fault


# --- on a bus ---


@pytest.fixture
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """Makes processes on one bus, with stores of these marks."""
    monkeypatch.setattr(neighbours_module, "LEAST_SECS", 0.01)
    bus = LocalBus(tmp_path / "bus")
    await bus.open()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)

        def make(mark: str, *services: str) -> Neighbours:
            platform = Platform(bus, MemoryStore(), Settings(data=tmp_path), strangers=Strangers(mark))
            made = Neighbours(platform, services)
            stack.push_async_callback(made.stop)
            return made

        yield make


async def test_both_find_out_at_once_although_one_was_there_before(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a process that has said that it is there before the next one starts
    early, late = process("a", "recorder"), process("b", "gateway", "ingest")
    await early.start()
    await asyncio.sleep(0.05)
    await late.start()
    # When both have heard of each other
    await until(lambda: bool(early.platform.strangers.faults() and late.platform.strangers.faults()), "both faults")
    # Then each says so in an ERROR, and is not ready
    errors = [line.getMessage() for line in caplog.records if line.levelno == logging.ERROR]
    assert sorted(line.split(" on ")[0] for line in errors) == ["the gateway and ingest", "the recorder"]
    assert await platform_faults(early.platform) == early.platform.strangers.faults()


async def test_those_who_share_a_store_say_nothing(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    early, late = process("a", "recorder"), process("a", "gateway")
    await early.start()
    await late.start()
    await until(lambda: late.instance in early._heard and early.instance in late._heard, "that they have met")
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []
    assert await platform_faults(early.platform) == []
