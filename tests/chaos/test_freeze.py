"""The server stands still for a while, as in a suspended or overloaded machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.support import TICKER, Footing, generic
from tests.chaos.load import Notes, deploy_noting, end_of_all

FROZEN_SECS = 10.0


def test_after_a_standstill_nobody_is_fenced_and_all_goes_on(
    new_system: Callable[..., Footing], tmp_path: Path
) -> None:
    # Given runs under way, runs that wait, and a run that was asked to stop
    footing = new_system(grace=3.0)
    api = footing.api()
    notes = Notes(tmp_path / "notes")
    noting, ticker = deploy_noting(api), api.deploy(generic("ticker", TICKER))["algorithm_id"]
    running = [api.execute(ticker, additional_parameters={"steps": 150}) for _ in range(2)]
    for run in running:
        api.wait_for_status(run, "RUNNING")
    waiting = [
        api.execute(noting, additional_parameters={"notes": str(notes.path), "n": number}) for number in range(50)
    ]
    # When the server stands still for much longer than a lease
    assert footing.process is not None
    os.kill(footing.process.pid, signal.SIGSTOP)
    time.sleep(FROZEN_SECS)
    os.kill(footing.process.pid, signal.SIGCONT)
    # Then all complete, at the first attempt, and the same worker takes new ones
    waiting.append(api.execute(noting, additional_parameters={"notes": str(notes.path), "n": 50}))
    records = end_of_all(api, [*running, *waiting])
    assert {(record["status"], record["attempt"]) for record in records.values()} == {("COMPLETED", 1)}
    assert notes.count("end") == dict.fromkeys(range(51), 1)
