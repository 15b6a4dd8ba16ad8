"""Those outside: what they hear, what they may ask for by messages, and what nobody of them can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.contract.outside_world import Outer, body, outer_at, run_id


@pytest.fixture
async def outer(broker: Broker, tmp_path: Path) -> AsyncIterator[Outer]:
    async with outer_at(broker, tmp_path) as outer:
        yield outer


async def test_a_run_is_asked_for_by_the_name_of_its_algorithm_and_followed(outer: Outer) -> None:
    # Given a member of the project who listens to it
    mia, run = outer.user("mia", project="lab1"), run_id()
    async with outer.listening(mia) as ear, outer.asking(mia) as ask:
        # When they ask for a run
        await ask(run, body(additional_parameters={"x": 1}, session_token="a secret"))
        await outer.has_run(run)
        await outer.world.start(run)
        await outer.world.complete(run)
        # Then it is theirs, and they hear of it to its end
        await ear.has(f"execution.completed.lab1.{run}")
        assert ear.of(run) == ["requested", "assigned", "started", "completed"]
        asked = outer.request(run)
        assert (asked.project, asked.actor, asked.work.algorithm.algorithm_id) == ("lab1", "mia", outer.algorithm)
        assert (asked.work.parameters, asked.work.session_token) == ({"x": 1}, "a secret")
        assert ear.said(f"execution.requested.lab1.{run}")["work"]["session_token"] == ""
