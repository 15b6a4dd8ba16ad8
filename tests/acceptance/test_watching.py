"""Watching a system at work: its queues, its workers, its dead letters. On every footing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import TICKER, Api, eventually, generic

QUEUES = {"recorder", "scheduler", "ingest", "sweeper", "deployer"}


@pytest.fixture
def run(api: Api) -> Iterator[str]:
    """A run that goes on until somebody stops it."""
    ticker = api.deployed(generic("ticker", TICKER))
    run = api.execute(str(ticker), additional_parameters={"steps": 100_000})
    api.wait_for_status(run, "RUNNING")
    yield run
    api.stop(run)
    api.wait(run)


def queues(api: Api) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in api.http.get("/api/v1/queues").json()["items"]}


def workers(api: Api) -> list[dict[str, Any]]:
    return [one for one in api.http.get("/api/v1/workers").json() if one["state"] == "live"]


def moving(api: Api) -> set[str]:
    """Queues out of which something went in the last minute."""
    return {name for name, one in queues(api).items() if one["out_per_second"]}


def worker_of(api: Api, run: str) -> dict[str, Any] | None:
    return next((one for one in workers(api) if run in [held["execution_id"] for held in one["runs"]]), None)


def voxloom(api: Api, nursery: Nursery, *arguments: str) -> Any:
    """What a command says, as JSON."""
    words = ["--url", api.footing.url, *arguments, "--json"]
    done = nursery.run(*words, environment=os.environ, cwd=api.footing.folder)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_queue_is_served_and_nothing_waits_when_nothing_is_to_be_done(api: Api) -> None:
    expected = QUEUES | {f"worker.{one['incarnation']}" for one in workers(api)}

    def at_rest() -> bool:
        told = queues(api)
        return set(told) >= expected and all(one["consumers"] and not one["waiting"] for one in told.values())

    eventually(at_rest, what="rest")


def test_what_runs_is_told_with_its_worker(api: Api, run: str) -> None:
    worker = eventually(lambda: worker_of(api, run), what="the worker being told")
    (held,) = [one for one in worker["runs"] if one["execution_id"] == run]
    assert (held["algorithm_name"], held["attempt"], held["status"]) == ("ticker", 1, "RUNNING")
    assert worker["free_slots"] == sum(lane["slots"] for lane in worker["lanes"]) - 1


def test_what_has_ended_leaves_its_slot(api: Api, run: str) -> None:
    worker = eventually(lambda: worker_of(api, run), what="the worker being told")
    api.stop(run)
    api.wait(run)
    free = worker["free_slots"] + 1
    eventually(
        lambda: [one["free_slots"] for one in workers(api) if one["worker_id"] == worker["worker_id"]] == [free],
        what="the slot being free",
    )


def test_how_fast_queues_move_is_told(api: Api, noop: str) -> None:
    for _ in range(10):
        api.run(noop)
    eventually(lambda: moving(api) >= {"recorder", "scheduler", "sweeper"}, what="that it is told")


def test_a_healthy_system_has_no_dead_letters(api: Api, noop: str) -> None:
    api.run(noop)
    assert api.http.get("/api/v1/dead-letters").json() == {"items": [], "more": False}


def test_the_commands_tell_the_same(api: Api, run: str, nursery: Nursery) -> None:
    def told(*arguments: str) -> Any:
        return voxloom(api, nursery, *arguments)

    worker = eventually(lambda: worker_of(api, run), what="the worker being told")
    busy = eventually(lambda: [one for one in told("workers") if one["runs"]], what="the command telling it")
    assert [one["incarnation"] for one in busy] == [worker["incarnation"]]
    assert {one["name"] for one in told("queues")["items"]} >= QUEUES
    assert told("dead", "list") == {"items": [], "more": False}
