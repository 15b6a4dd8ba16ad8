"""A stop is heard: by what waits, by what runs, and by what does not listen."""

from __future__ import annotations

import time

from tests.acceptance.support import TICKER, Api, eventually, generic

STUCK = """
import ctypes, subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
self.log_message(f"pids <{os.getpid()} {child.pid}>")
while True:
    ctypes.CDLL(None).usleep(100_000)
"""


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_that_calls_the_api_stops_at_its_next_call(api: Api) -> None:
    run = api.execute(api.deployed(generic("ticker", TICKER)))
    api.wait_for_status(run, "RUNNING")
    begun = time.monotonic()
    assert api.stop(run).json()["detail"] == "Stop request posted successfully"
    assert api.wait(run)["status"] == "STOPPED"
    assert time.monotonic() - begun < 10


def test_cleaning_up_after_a_stop_still_works(api: Api) -> None:
    body = f"""
try:
    self.log_message("begun")
{chr(10).join("    " + line for line in TICKER.strip().splitlines())}
finally:
    self.log_message("cleaned up")
    self.set_progress(0.9)
"""
    run = api.execute(api.deployed(generic("cleaner", body)))
    eventually(lambda: "begun" in api.http.get(f"/api/v1/executions/{run}/log").text, what="its first words")
    api.stop(run)
    record = api.wait(run)
    assert record["status"] == "STOPPED"
    assert "cleaned up" in record["log"]


def test_except_exception_does_not_swallow_a_stop(api: Api) -> None:
    body = """
while True:
    try:
        self.set_progress(0.5)
        time.sleep(0.02)
    except Exception:
        self.log_message("swallowed")
"""
    run = api.execute(api.deployed(generic("swallower", body)))
    api.wait_for_status(run, "RUNNING")
    api.stop(run)
    record = api.wait(run)
    assert (record["status"], "swallowed" in record["log"]) == ("STOPPED", False)


def test_a_run_that_does_not_listen_is_killed_with_its_children_after_the_grace_period(api: Api) -> None:
    run = api.execute(api.deployed(generic("stuck", STUCK)))
    eventually(lambda: "pids <" in api.http.get(f"/api/v1/executions/{run}/log").text, what="the pids")
    api.stop(run)
    record = api.wait(run)
    pids = [int(pid) for pid in record["log"].split("pids <")[1].split(">")[0].split()]
    assert record["status"] == "STOPPED"
    eventually(lambda: not any(_alive(pid) for pid in pids), within=60, what=f"the end of {pids}")


def test_a_waiting_run_stops_without_ever_running(api: Api) -> None:
    # Given a system whose slots are all taken
    ticker = api.deployed(generic("ticker", TICKER))
    blockers = [api.execute(ticker) for _ in range(8)]
    last = api.execute(ticker)
    # When a run that waits is stopped
    api.stop(last)
    # Then it is STOPPED and has never begun
    record = api.wait(last, within=60)
    assert (record["status"], record["queue_seconds"]) == ("STOPPED", None)
    for run in blockers:
        api.stop(run)
    assert {api.wait(run)["status"] for run in blockers} == {"STOPPED"}


def test_a_stop_right_behind_the_submit_is_not_lost(api: Api) -> None:
    ticker = api.deployed(generic("ticker", TICKER))
    runs = []
    for _ in range(10):
        run = api.execute(ticker)
        api.stop(run)
        runs.append(run)
    assert {api.wait(run)["status"] for run in runs} == {"STOPPED"}


def test_a_process_that_was_stopped_serves_the_next_run(api: Api) -> None:
    ticker = api.deployed(generic("ticker", TICKER))
    run = api.execute(ticker)
    api.wait_for_status(run, "RUNNING")
    api.stop(run)
    api.wait(run)
    assert api.run(ticker, additional_parameters={"steps": 2})["status"] == "COMPLETED"


def test_an_import_that_hangs_at_run_time_can_be_stopped(api: Api) -> None:
    files = generic("lazy_hang", "import later")
    files["later.py"] = "import time\ntime.sleep(600)"
    run = api.execute(api.deployed(files))
    api.wait_for_status(run, "RUNNING")
    api.stop(run)
    assert api.wait(run)["status"] == "STOPPED"
