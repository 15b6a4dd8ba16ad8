"""A worker that is lost: what an operator reads of it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from messages.runs import RunStopRequested
from messages.workers import WorkerStopped
from services.scheduler.losses import MOST_NAMED, told
from services.scheduler.service import Scheduler
from tests.contract.platform_support import open_platform
from tests.unit.scheduler_story import Story, heartbeat, lane, requested, started, worker_started


def lines(story: Story) -> list[str]:
    return [told(loss) for loss in story.mind.losses]


def test_a_silent_worker_is_told_of_once_with_its_silence_and_what_becomes_of_each_run() -> None:
    # Given a worker with a run that was lost once already, one that is to stop, and one that is tried the first time
    story = Story(max_lost=1)
    story.hear(worker_started("i1", "bench-2", lane(3)), requested("a"), requested("b"), requested("c"))
    story.hear(started("a"), RunStopRequested(subject="b"))
    # When it is silent
    story.wait(60.0)
    story.wait(60.0)
    # Then one sentence has it all
    (line,) = lines(story)
    assert line.startswith("the worker bench-2 (i1) is lost: nothing was heard of it for 60.0 s; of its 3 runs: ")
    assert "a FAILED (worker_lost)" in line
    assert "b is STOPPED" in line
    assert "c is tried again" in line


def test_a_worker_that_was_replaced_is_told_of_as_such() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"), requested("a"), heartbeat("i1", ("a", 1)))
    story.now += 1.5
    story.hear(worker_started("i2", "w1"))
    assert lines(story) == [
        "the worker w1 (i1) is lost: another process has begun under its name, "
        "and nothing was heard of it for 1.5 s; its run a is tried again"
    ]


def test_a_line_names_a_bounded_number_of_runs() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1", lane(MOST_NAMED + 5)))
    story.hear(*(requested(f"r{number}") for number in range(MOST_NAMED + 5)))
    story.wait(60.0)
    (line,) = lines(story)
    assert line.count("is tried again") == MOST_NAMED
    assert line.endswith(", and 5 more")


def test_a_worker_that_has_said_goodbye_is_not_lost() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"), requested("a"), WorkerStopped(subject="i1", worker_id="w1"))
    story.wait(60.0)
    assert lines(story) == []


async def test_the_scheduler_logs_a_lost_worker_as_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_platform(tmp_path) as (platform, _):
        scheduler = Scheduler(platform)
        story = Story()
        scheduler.dispatcher = story.mind
        story.mind.on_worker_started(worker_started("i1", "w1"), time.monotonic())
        # When the next life of that worker begins
        await scheduler.handle([worker_started("i2", "w1")])
        await scheduler.handle([worker_started("i2", "w1")])
        await scheduler.stop()
    (line,) = [one for one in caplog.records if "is lost" in one.getMessage()]
    assert (line.name, line.levelno) == ("voxloom.scheduler", logging.WARNING)
