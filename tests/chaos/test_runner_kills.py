"""SIGKILL of runner processes at random."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from tests import forking
from tests.acceptance.support import Footing
from tests.chaos.load import Notes, deploy_noting, end_of_all, statuses, submit
from tests.chaos.loops import Loops


def runners_of(server: int, known: set[psutil.Process]) -> list[psutil.Process]:
    """With those known before, since they live on without the process that has forked them."""
    found = []
    known.update(psutil.Process(server).children(recursive=True))
    for process in sorted(known, key=lambda one: one.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            # They, the one that forks them, and those that were begun without it when it had been killed twice.
            if {"voxloom.runner.forkserver", "voxloom.runner.host"} & set(process.cmdline()):
                found.append(process)
    return found


def kill_some(server: int, count: int, over: threading.Event, killed: list[int]) -> None:
    chance = random.Random(7)
    known = set[psutil.Process]()
    while not over.is_set() and len(killed) < count:
        if runners := runners_of(server, known):
            victim = chance.choice(runners)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                killed.append(victim.pid)
        time.sleep(0.15)


def test_a_killed_runner_costs_its_run_alone(
    new_system: Callable[..., Footing], notes: Notes, loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given many runs
    monkeypatch.setenv(forking.OWN, "yes")
    footing = new_system()
    api = footing.api()
    noting = deploy_noting(api)
    assert footing.process is not None
    over, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_some, args=[footing.process.pid, loops.runs // 7, over, killed])
    # When one in seven of their processes is killed, at random
    killer.start()
    runs = submit(api, noting, notes, range(loops.runs), seconds=0.05)
    deadline = time.monotonic() + 120.0
    while len(killed) < loops.runs // 14 and time.monotonic() < deadline:  # New ones are slow to come where much runs.
        runs += submit(api, noting, notes, range(len(runs), len(runs) + 10), seconds=0.05)
    records = end_of_all(api, runs)
    over.set()
    killer.join()
    # Then each has ended: COMPLETED, or FAILED because of just that (or since one after the other died at its start)
    assert len(killed) >= loops.runs // 14
    assert sum(statuses(records).values()) == statuses(records)["COMPLETED"] + statuses(records)["FAILED"]
    assert statuses(records)["FAILED"] <= len(killed)
    reasons = {record["error"]["code"] for record in records.values() if record["status"] == "FAILED"}
    assert reasons <= {"runner_killed", "unavailable"}
    # And what completed has really run, once
    ended = notes.count("end")
    completed = [number for number, run in enumerate(runs) if records[run]["status"] == "COMPLETED"]
    assert [ended[number] for number in completed] == [1] * len(completed)
