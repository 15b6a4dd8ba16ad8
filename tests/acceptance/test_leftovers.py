"""What a run leaves behind is not there for the next one, on a whole system."""

from __future__ import annotations

import re
from typing import Any

import psutil

from tests.acceptance.support import Api, generic

BESIDE = """
from pathlib import Path
mine = Path(__file__).with_name("mine.txt")
os.write(1, f"there: {mine.exists()}\\n".encode())
mine.write_text("x")
if args.get("crash"): os._exit(3)
"""
SWALLOWS = """
import threading
def poll():
    while True:
        try: self.set_progress(0.9)
        except BaseException: time.sleep(0.001)
if args.get("leave"):
    threading.Thread(target=poll, daemon=True, name="poller").start()
else:
    while True:
        self.log_message("on")
        time.sleep(0.05)
"""
DAEMON = """
import subprocess
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
self.log_message(f"child {child.pid}")
"""


def logs(api: Api, algorithm: str, *runs: dict[str, Any]) -> list[str]:
    return [str(api.run(algorithm, additional_parameters=parameters)["log"]) for parameters in runs]


def test_a_file_written_beside_the_module_is_not_there_for_the_next_run(api: Api) -> None:
    algorithm = api.deployed(generic("beside", BESIDE))
    said = logs(api, algorithm, {}, {}, {"crash": True}, {})
    assert [re.findall(r"there: \w+", log) for log in said] == [["there: False"]] * 4
    assert "files beside the module have changed: mine.txt" in said[0]


def test_a_thread_that_a_run_has_left_swallows_no_stop_of_the_next(api: Api) -> None:
    # Given a run that has left a thread which calls the API all the time
    algorithm = api.deployed(generic("swallows", SWALLOWS))
    [said] = logs(api, algorithm, {"leave": True})
    assert "The next run gets a new process: the run has left the thread 'poller'" in said
    # When the next one is stopped
    run = api.execute(algorithm, additional_parameters={})
    api.wait_for_status(run, "RUNNING")
    api.stop(run)
    # Then it hears so itself, and nobody else has spoken for it
    record = api.wait(run)
    assert (record["status"], record["progress"]) == ("STOPPED", 0.0)
    assert "did not stop within" not in record["log"]


def test_a_process_of_a_run_is_gone_when_the_run_has_completed(api: Api) -> None:
    algorithm = api.deployed(generic("daemon", DAEMON))
    [said] = logs(api, algorithm, {})
    pid = int(said.partition("child ")[2].split()[0])
    assert not psutil.pid_exists(pid)
    assert f"the run has left the process sleep ({pid})" in said
