"""The server stands still for a while, as in a suspended or overloaded machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.acceptance.support import TICKER, Footing, generic
from tests.chaos.load import Notes, deploy_noting, end_of_all, submit
from tests.chaos.loops import Loops


def test_after_a_standstill_nobody_is_fenced_and_all_goes_on(
    new_system: Callable[..., Footing], notes: Notes, loops: Loops
) -> None:
    footing = new_system(grace=3.0, heartbeat=0.4, lease=0.8)
    api = footing.api()
    noting, ticker = deploy_noting(api), api.deployed(generic("ticker", TICKER))
    for turn in range(loops.rounds):
        # Given runs under way, and runs that wait
        numbers = range(turn * loops.runs, (turn + 1) * loops.runs)
        runs = [api.execute(ticker, additional_parameters={"steps": 100}) for _ in range(2)]
        for run in runs:
            api.wait_for_status(run, "RUNNING")
        runs += submit(api, noting, notes, numbers[:-1])
        # When the server stands still for much longer than a lease
        assert footing.process is not None
        os.kill(footing.process.pid, signal.SIGSTOP)
        time.sleep(loops.frozen_secs)
        os.kill(footing.process.pid, signal.SIGCONT)
        # Then all complete, at the first attempt, and the same worker takes new ones
        records = end_of_all(api, [*runs, *submit(api, noting, notes, numbers[-1:])])
        assert {(record["status"], record["attempt"]) for record in records.values()} == {("COMPLETED", 1)}
        assert notes.count("end") == dict.fromkeys(range(numbers.stop), 1)
