"""Nothing that was accepted is lost: not by SIGTERM, not by SIGKILL, not in the middle of a hundred runs."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import HELD, PLUS_ONE, TICKER, Footing, algorithm, eventually, generic

Systems = Callable[..., Footing]

# Notes every beginning and every end of a run outside the system, as only the author's code can know them.
NOTING = """
with open(args["notes"], "a") as notes:
    notes.write(f"begin {args['n']}\\n")
time.sleep(0.02)
with open(args["notes"], "a") as notes:
    notes.write(f"end {args['n']}\\n")
"""


def test_after_a_kill_in_the_middle_every_run_comes_to_its_true_end(mortal: Footing, tmp_path: Path) -> None:
    # Given a system with many runs accepted, killed when some of them have ended
    api = mortal.api()
    notes = tmp_path / "notes"
    algorithm_id = api.deployed(generic("noting", NOTING))
    runs = [api.execute(algorithm_id, additional_parameters={"notes": str(notes), "n": number}) for number in range(24)]
    eventually(lambda: notes.exists() and notes.read_text().count("end") >= 6, what="6 ends")
    mortal.kill()
    # When it starts again
    api = mortal.start().api()
    # Then every run completes, and has really run
    records = [api.wait(run) for run in runs]
    assert {record["status"] for record in records} == {"COMPLETED"}
    ended = {int(line.split()[1]) for line in notes.read_text().splitlines() if line.startswith("end")}
    assert ended == set(range(24))


def test_what_had_ended_before_the_kill_keeps_its_record_and_its_files_and_does_not_run_again(
    mortal: Footing, tmp_path: Path
) -> None:
    # Given a run that has ended before a kill
    api = mortal.api()
    volume = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    notes = tmp_path / "notes"
    noted = PLUS_ONE.replace("return [{", "open(args['notes'], 'a').write('run\\n'); return [{")
    algorithm_id = api.deployed(algorithm("plus_one", noted))
    record = api.run(algorithm_id, [file_id := api.upload(volume=volume)], additional_parameters={"notes": str(notes)})
    mortal.kill()
    # When the system has started again, and has done something else
    api = mortal.start().api()
    api.run(algorithm_id, [file_id], additional_parameters={"notes": str(notes)})
    # Then the two have run, once each, and the first is as it was
    assert notes.read_text().splitlines() == ["run", "run"]
    assert api.wait(record["execution_id"]) == record
    np.testing.assert_array_equal(api.download(record["output_dataset_ids"][0])["volume"], volume + 1)


def test_a_run_that_was_cut_off_says_which_attempt_it_is(mortal: Footing, tmp_path: Path) -> None:
    api = mortal.api()
    held = api.deployed(generic("held", HELD))
    run = api.execute(held, additional_parameters={"until": str(tmp_path / "go")})
    api.wait_for_status(run, "RUNNING")
    mortal.kill()
    (tmp_path / "go").touch()
    api = mortal.start().api()
    record = api.wait(run)
    assert (record["status"], record["attempt"]) == ("COMPLETED", 2)


def test_a_stop_that_was_accepted_before_the_kill_holds_after_it(mortal: Footing) -> None:
    api = mortal.api()
    run = api.execute(api.deployed(generic("deaf", "while True: time.sleep(1)")))
    api.wait_for_status(run, "RUNNING")
    api.stop(run)
    mortal.kill()
    assert mortal.start().api().wait(run)["status"] == "STOPPED"


def test_sigterm_lets_running_work_end(mortal: Footing, tmp_path: Path) -> None:
    api = mortal.api()
    held = api.deployed(generic("held", HELD))
    run = api.execute(held, additional_parameters={"until": str(tmp_path / "go")})
    api.wait_for_status(run, "RUNNING")
    threading.Timer(0.5, (tmp_path / "go").touch).start()
    assert mortal.stop() == 0
    record = mortal.start().api().wait(run)
    assert (record["status"], record["attempt"]) == ("COMPLETED", 1)


def test_sigterm_gives_back_what_takes_longer_and_it_goes_on_after_the_start(
    new_system: Systems, tmp_path: Path
) -> None:
    # Given a run that does not end by itself, and some that wait
    footing = new_system(drain=0.5, grace=0.5)
    api = footing.api()
    held, noop = (api.deployed(generic(name, body)) for name, body in [("held", HELD), ("noop", "pass")])
    run = api.execute(held, additional_parameters={"until": str(tmp_path / "go")})
    waiting = [api.execute(noop) for _ in range(3)]
    api.wait_for_status(run, "RUNNING")
    # When the system is stopped and started again
    assert footing.stop() == 0
    (tmp_path / "go").touch()
    api = footing.start().api()
    # Then all come to their end
    assert {api.wait(one)["status"] for one in [run, *waiting]} == {"COMPLETED"}


def test_nothing_is_left_running_after_a_kill(mortal: Footing) -> None:
    api = mortal.api()
    run = api.execute(api.deployed(generic("pid", "print(f'pid <{os.getpid()}>')\n" + TICKER)))
    eventually(lambda: "pid <" in api.http.get(f"/api/v1/executions/{run}/log").text, what="the pid")
    pid = int(api.http.get(f"/api/v1/executions/{run}/log").text.split("pid <")[1].split(">")[0])
    mortal.kill()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), within=60, what="the end of the runner process")


Up = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def up(nursery: Nursery, tmp_path: Path) -> Up:
    """`voxloom up` where nothing is set by the environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VOXLOOM_")}
    return functools.partial(nursery.run, "up", environment=clean, cwd=tmp_path)


def test_a_port_that_is_taken_is_one_sentence(up: Up, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = up("--port", port, "--data", str(tmp_path / "data"))
    assert done.returncode != 0
    assert port in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_data_folder_in_use_is_one_sentence(up: Up, new_embedded: Systems) -> None:
    footing = new_embedded()
    done = up("--port", "0", "--data", str(footing.folder / "data"))
    assert done.returncode != 0
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_written_is_one_sentence(up: Up) -> None:
    done = up("--port", "0", "--data", "/proc/voxloom")
    assert done.returncode != 0
    assert "/proc/voxloom" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_one_sentence(up: Up, tmp_path: Path) -> None:
    (tmp_path / "voxloom.toml").write_text("heartbeat = 'often'\n")
    done = up("--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode != 0
    assert "heartbeat" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_settings_file_that_is_no_toml_is_one_sentence(up: Up, tmp_path: Path) -> None:
    (tmp_path / "voxloom.toml").write_text("slots 4\n")
    done = up("--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "is no TOML" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_log_of_a_start_and_stop_has_no_errors(new_system: Systems) -> None:
    footing = new_system()
    api = footing.api()
    api.run(api.deployed(generic("noop", "pass")))
    assert footing.stop() == 0
    text = footing.log.read_text()
    assert not [line for line in text.splitlines() if "ERROR" in line or "Traceback" in line or "never" in line], text
