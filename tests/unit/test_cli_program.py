"""The `voxloom` program as people use it, against a server on a real socket."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from tests.unit.client_fake import (
    FakeServer,
    a_volume,
    an_algorithm,
    log_event,
    problem,
    progress_event,
    running,
)
from voxloom.cli.program import app
from voxloom.imagefiles import read_datasets, read_image, write_image
from voxloom.models import RunError, Status

PROGRAM = [sys.executable, "-c", "from voxloom.cli.main import main; main()"]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as one:
        one.algorithms = [an_algorithm()]
        yield one


Cli = Callable[..., Result]


@pytest.fixture
def cli(server: FakeServer) -> Cli:
    def call(*arguments: object, **options: Any) -> Result:
        return CliRunner().invoke(app, ["--url", server.url, *map(str, arguments)], **options)

    return call


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "scan.npy"
    np.save(path, a_volume())
    return path


def start(server: FakeServer, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "VOXLOOM_URL": server.url, "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], env=environment, text=True, **options)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)


# --- run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out.h5", "out.npy", "out.tif"])
def test_a_volume_is_run_and_saved_as_a_volume(cli: Cli, volume: Path, tmp_path: Path, out: str) -> None:
    done = cli("run", "smooth", volume, "-o", tmp_path / out)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / out}\n")
    np.testing.assert_array_equal(read_image(tmp_path / out), a_volume() + 1)


def test_in_a_pipe_every_change_is_a_line_without_control_codes(cli: Cli, volume: Path, server: FakeServer) -> None:
    server.run_log = "2026-11-21 02:57:03 INFO \x1b[31mred\x1b[0m\n"
    done = cli("run", "smooth", volume, "-o", volume.with_name("out.h5"))
    assert done.stderr.splitlines() == [
        "uploading 5 files: done",
        f"smooth 1.0, run {next(iter(server.runs))}",
        "2026-11-21 02:57:03 INFO red",
        "COMPLETED",
        "saving 5 files: done",
    ]


def test_without_a_destination_the_ids_of_the_outputs_are_told(cli: Cli, volume: Path, server: FakeServer) -> None:
    done = cli("run", "smooth", volume)
    ((run_id, run),) = server.runs.items()
    assert done.stdout.split() == run.record.output_dataset_ids
    assert done.stderr.splitlines()[-1] == f"The outputs are on the server; `voxloom save {run_id} OUT` fetches them."


@pytest.mark.parametrize("out", ["out.h5", "out.npy", "out.tif"])
def test_the_outputs_of_a_run_can_be_saved_later(cli: Cli, volume: Path, server: FakeServer, out: str) -> None:
    cli("run", "smooth", volume)
    done = cli("save", next(iter(server.runs))[:8], volume.with_name(out))
    assert (done.exit_code, done.stdout) == (0, f"{volume.with_name(out)}\n")
    np.testing.assert_array_equal(read_image(volume.with_name(out)), a_volume() + 1)


def test_many_files_are_told_of_as_one_thing(cli: Cli, volume: Path, server: FakeServer, tmp_path: Path) -> None:
    cli("run", "smooth", volume)
    done = cli("save", next(iter(server.runs)), tmp_path / "out")
    assert done.stderr.splitlines() == ["saving 5 files: done"]
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_of_a_run_that_has_not_completed_nothing_is_saved(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    done = cli("save", server.add_run(Status.RUNNING), tmp_path / "out.h5")
    assert (done.exit_code, "is RUNNING. Only a run that has COMPLETED has outputs." in done.stderr) == (1, True)


def test_where_saving_fails_the_way_to_the_outputs_is_told(cli: Cli, volume: Path, server: FakeServer) -> None:
    server.outputs = lambda self, ids: [self.add_file(mask=np.ones((8, 8), bool)) for _ in ids]
    done = cli("run", "smooth", volume, "-o", volume.with_name("out.tif"))
    told, error = done.stderr.splitlines()[-2:]
    assert f"`voxloom save {next(iter(server.runs))} OUT` fetches them" in told
    assert "cannot hold bool" in error


def test_a_parameter_that_nobody_declares_is_doubted_and_sent(cli: Cli, volume: Path, server: FakeServer) -> None:
    done = cli("run", "smooth", volume, "-p", "sigam=2")
    assert "Warning: smooth declares no parameter 'sigam' (it declares sigma, label)" in done.stderr
    assert server.bodies[0]["additional_parameters"] == {"sigam": 2}


def test_a_device_that_does_not_exist_is_refused(cli: Cli, volume: Path, server: FakeServer) -> None:
    assert (cli("run", "smooth", volume, "--device", "gqu").exit_code, server.runs) == (2, {})


def test_parameters_device_and_minor_version_reach_the_server(cli: Cli, volume: Path, server: FakeServer) -> None:
    cli(
        "run",
        "smooth:1.0",
        volume,
        "-p",
        "sigma=2",
        "-p",
        "label=7",
        "-p",
        "other=[1]",
        "--device",
        "gpu",
        "--priority",
        "7",
    )
    sent = server.bodies[0]
    assert sent["additional_parameters"] == {"sigma": 2.0, "label": "7", "other": [1]}
    assert (sent["execution_device_override"], sent["algorithm_minor_version"], sent["priority"]) == ("gpu", "0", 7)


def test_a_folder_gets_one_file_per_input(cli: Cli, volume: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "one.tif", a_volume(1)[0])
    cli("run", "smooth", volume, tmp_path / "one.tif", "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.h5", "scan.h5"]
    assert read_image(tmp_path / "out" / "scan.h5").shape == (5, 8, 8)
    assert read_image(tmp_path / "out" / "one.h5").shape == (8, 8)


def test_single_images_are_saved_as_one_stack_in_a_file(cli: Cli, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.tif" for index in range(3)]
    for path, image in zip(paths, a_volume(3), strict=True):
        write_image(path, image)
    cli("run", "smooth", *paths, "-o", tmp_path / "out.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "out.tif"), a_volume(3) + 1)


def test_outputs_that_do_not_stack_go_into_a_folder_instead(
    cli: Cli, volume: Path, tmp_path: Path, server: FakeServer
) -> None:
    server.outputs = lambda self, ids: [self.add_file(features=np.ones(3), size=np.array([8])) for _ in ids]
    done = cli("run", "smooth", volume, "-o", tmp_path / "out.npy")
    assert done.stdout.split() == [str(tmp_path / "out" / f"{index}.h5") for index in range(5)]
    assert sorted(read_datasets(tmp_path / "out" / "0.h5")) == ["features", "size"]
    assert done.stderr.splitlines()[-1] == (
        f"The outputs are not one array, which is what {tmp_path / 'out.npy'} could hold: "
        f"they are in {tmp_path / 'out'} instead."
    )


def test_the_dataset_of_an_hdf5_input_can_be_chosen(cli: Cli, tmp_path: Path, server: FakeServer) -> None:
    from voxloom.imagefiles import write_datasets

    write_datasets(tmp_path / "in.h5", {"first": a_volume(2), "second": a_volume(4)})
    assert cli("run", "smooth", tmp_path / "in.h5").exit_code == 1
    assert cli("run", "smooth", tmp_path / "in.h5", "--dataset", "second").exit_code == 0
    assert len(server.bodies[0]["input_dataset_ids"]) == 4


def test_a_failed_run_tells_its_log_and_error_and_exits_with_1(cli: Cli, volume: Path, server: FakeServer) -> None:
    server.outcome, server.error = Status.FAILED, RunError(type="ValueError", message="too dark", code="runner_error")
    done = cli("run", "smooth", volume, "-o", volume.with_name("out.h5"))
    assert done.exit_code == 1
    assert "INFO begun" in done.stderr
    assert "is FAILED: ValueError: too dark. See `voxloom logs" in done.stderr.splitlines()[-1]
    assert not volume.with_name("out.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "scan.npy"], "no algorithm 'nothing'; deployed are: smooth"),
        (["smooth", "gone.npy"], "There is no file gone.npy"),
        (["smooth", "scan.jpg"], "ends in .h5, .npy or .tif"),
        (["smooth", "scan.npy", "-o", "out.png"], "ends in .h5, .npy or .tif"),
        (["smooth", "scan.npy", "-p", "sigma=x"], "sigma takes a number"),
        (["smooth:7", "scan.npy"], "smooth has no major version 7; it has 1."),
        (["smooth:1.7", "scan.npy"], "no minor version 7; it has 0"),
        (["smooth", "scan.npy", "-p", "sigma=inf"], "'sigma' must be a number"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(
    cli: Cli,
    volume: Path,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(volume.parent)
    Path("scan.jpg").touch()
    done = cli("run", *arguments)
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert said in done.stderr
    assert server.files == {}


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3, 8, 8), np.int16), "in each of its images, has the dtype int16"),
        (np.zeros((8, 8), np.uint32), "in.npy has the dtype uint32"),
        (np.zeros((3, 8, 8), np.int64), "has the dtype int64"),
        (np.zeros((8, 8), bool), "convert it with .astype('uint8')"),
        (np.zeros((2, 4, 20, 20), np.uint8), "of red, green, blue and alpha send the first three"),
        (np.zeros((5, 2, 8, 8), np.uint8), "of 2 channels send one at a time"),
    ],
)
def test_what_an_algorithm_is_known_to_refuse_is_not_sent(
    cli: Cli, server: FakeServer, tmp_path: Path, image: Any, said: str
) -> None:
    server.algorithms = [an_algorithm(schema="ImageSchema")]
    np.save(tmp_path / "in.npy", image)
    done = cli("run", "smooth", tmp_path / "in.npy")
    assert (done.exit_code, said in done.stderr, server.requests[1:]) == (1, True, []), done.stderr


def test_an_hdf5_image_that_would_be_refused_is_not_sent(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    server.algorithms = [an_algorithm(schema="ImageSchema")]
    write_image(tmp_path / "in.h5", np.zeros((8, 8), np.int16))
    done = cli("run", "smooth", tmp_path / "in.h5")
    assert (done.exit_code, "in.h5 has the dtype int16" in done.stderr, server.requests[1:]) == (1, True, [])


@pytest.mark.parametrize("dtype", ["int16", ">u2"])
def test_where_nothing_is_known_everything_is_sent(cli: Cli, server: FakeServer, tmp_path: Path, dtype: str) -> None:
    server.algorithms = [an_algorithm(schema="ImageSchema" if dtype == ">u2" else "")]
    np.save(tmp_path / "in.npy", np.zeros((3, 8, 8), dtype))
    assert cli("run", "smooth", tmp_path / "in.npy").exit_code == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tifffile's own, that it will stop doing so
def test_three_slices_that_may_be_colours_are_asked_about(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((3, 8, 8), np.uint8))
    asked = cli("run", "smooth", tmp_path / "in.tif")
    assert (asked.exit_code, "--axes zyx" in asked.stderr, server.files) == (1, True, {})
    assert cli("run", "smooth", tmp_path / "in.tif", "--axes", "zyx").exit_code == 0
    assert len(server.bodies[0]["input_dataset_ids"]) == 3


def test_times_of_volumes_are_not_taken_for_colours(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    told = {"axes": "TZYX"}
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((2, 3, 8, 8), np.uint8), imagej=True, metadata=told)
    done = cli("run", "smooth", tmp_path / "in.tif")
    assert (done.exit_code, "Send one t at a time" in done.stderr, server.files) == (1, True, {})


def test_ctrl_c_stops_the_run_says_so_and_exits_with_130(server: FakeServer, volume: Path) -> None:
    server.hold = True
    process = start(server, "run", "smooth", volume, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: bool(server.resumed))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    ((run_id, run),) = server.runs.items()
    assert (process.returncode, run.record.status) == (130, Status.STOPPED)
    assert told.splitlines()[-1] == f"Asked the server to stop run {run_id}."


def test_on_a_terminal_there_is_a_bar_with_the_log_under_it(server: FakeServer, volume: Path) -> None:
    server.hold = True
    ours, theirs = pty.openpty()
    process = start(server, "run", "smooth", volume, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    until(lambda: bool(server.runs))
    ((run_id, run),) = server.runs.items()
    run.log = "2026-11-21 02:57:03 INFO half way\n"
    run.events = [log_event(run_id, 0, run.log), progress_event(run_id, 0.5)]
    server.end_run(run_id, Status.COMPLETED, progress=1.0)
    shown = read_terminal(ours)
    assert process.wait(20) == 0
    assert "\x1b[" in shown
    assert shown.rindex("INFO half way") > shown.rindex("100%")


def read_terminal(descriptor: int) -> str:
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # the other side has gone
            piece = b""
        if not piece:
            os.close(descriptor)
            return shown.decode(errors="replace")
        shown += piece


# --- looking and stopping ---------------------------------------------------------------------------------


def test_ls_shows_algorithms_and_runs(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run(progress=0.25)
    lines = cli("ls").stdout.splitlines()
    assert lines[1].split()[:4] == ["smooth", "1.0", "Image2Image", "cpu"]
    assert lines[-1].split()[:5] == [run_id, "smooth", "1.?", "RUNNING", "25%"]


def test_how_far_a_run_got_that_failed_is_not_told_as_done(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run(Status.FAILED, progress=1.0)
    assert "100%" not in cli("ls").stdout + cli("status", run_id).stdout


def test_ls_of_an_empty_server_says_what_to_do(cli: Cli, server: FakeServer) -> None:
    server.algorithms = []
    shown = cli("ls").stdout
    assert "voxloom deploy FOLDER" in shown
    assert "voxloom run ALGORITHM" in shown


def test_ls_as_json_is_for_programs(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run()
    shown = json.loads(cli("ls", "--json").stdout)
    assert [one["algorithm_name"] for one in shown["algorithms"]] == ["smooth"]
    assert [one["execution_id"] for one in shown["executions"]] == [run_id]


def test_status_takes_the_beginning_of_an_id(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run(error=RunError(type="E", message="m", code="c"))
    shown = dict(line.split(None, 1) for line in cli("status", run_id[:8]).stdout.splitlines())
    assert (shown["run"], shown["status"], shown["error"]) == (run_id, "RUNNING", "E: m")


def test_status_as_json_is_the_whole_record(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run()
    assert json.loads(cli("status", run_id, "--json").stdout)["session_token"] == "s"


def test_logs_are_shown_and_followed_to_the_end(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run(log="one\ntwo\n")
    assert cli("logs", run_id).stdout == "one\ntwo\n"
    server.end_run(run_id, Status.FAILED)
    assert cli("logs", "-f", run_id).stdout == "one\ntwo\n"


def test_stop_stops_and_says_so(cli: Cli, server: FakeServer) -> None:
    run_id = server.add_run()
    assert cli("stop", run_id).stdout == f"Asked the server to stop run {run_id}.\n"
    again = cli("stop", run_id)
    assert (again.exit_code, again.stderr) == (1, "The run is STOPPED; it cannot be stopped.\n")


# --- algorithms -------------------------------------------------------------------------------------------


def test_deploy_tells_what_was_deployed_and_warns(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "smooth"\nversion = "1.0"\n')
    (tmp_path / "Runner.py").write_text("class Runner: ...\n")
    done = cli("deploy", tmp_path, "--name", "other", "--major", 3, "--removable", "--no-exportable")
    assert done.stdout.startswith("Deployed smooth 1.0. Run it with")
    assert done.stderr == "Warning: The description is empty.\n"
    assert server.deployed[0][0] == {
        "algorithm_name": "other",
        "algorithm_major_version": "3",
        "removable": "true",
        "exportable": "false",
    }


def test_rm_asks_before_it_removes(cli: Cli, server: FakeServer) -> None:
    refused = cli("rm", "smooth", 1)
    assert (refused.exit_code, server.removed) == (1, [])
    assert "add --yes" in refused.stderr
    assert cli("rm", "smooth", 1, "--minor", 2, "--yes").stdout == "smooth 1.2: Algorithm removed\n"
    assert server.removed == [("smooth", "1", "2")]


@pytest.mark.parametrize(
    "words",
    [("smooth",), ("smooth", "latest"), ("files",), ("smooth", 1, 2)],
    ids=["alone", "no number", "none", "two"],
)
def test_rm_says_what_it_can_remove(cli: Cli, server: FakeServer, words: tuple[object, ...]) -> None:
    refused = cli("rm", "--yes", *words)
    assert (refused.exit_code, server.removed) == (1, [])
    assert "rm files ID" in refused.stderr


# --- the doctor -------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_server_that_is_well(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOXLOOM_DATA", str(tmp_path))
    said = cli("doctor").stdout.splitlines()
    lines = [line for line in said if not line.startswith("weakness")]  # such as that root runs the tests
    assert [line.split(":")[0] for line in lines[:5]] == [
        "ok       Python",
        "ok       libraries",
        "ok       data folder",
        "ok       server",
        "ok       server ready",
    ]


def test_the_doctor_says_what_a_sick_server_lacks(cli: Cli, server: FakeServer) -> None:
    server.not_ready = True
    done = cli("doctor")
    assert done.exit_code == 1
    assert "problem  server ready: no. The store does not answer; look at its disk." in done.stdout


def test_the_doctor_knows_a_server_that_is_none_of_ours(cli: Cli, server: FakeServer) -> None:
    server.refusals = [problem(404, "http_404", "What is this?")]
    assert "is no Voxloom server" in cli("doctor").stdout


# --- the program itself -----------------------------------------------------------------------------------


def test_without_a_server_one_sentence_says_how_to_start_one() -> None:
    done = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9", "ls"])
    assert done.exit_code == 1
    assert done.stderr == (
        "No Voxloom server answers at http://127.0.0.1:9. Start one with `voxloom up`, or set VOXLOOM_URL.\n"
    )


def python(*lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("what", ["import voxloom", "import voxloom.cli.program", "import voxloom.client"])
def test_imports_are_light(what: str) -> None:
    heavy = "print([one for one in ('httpx', 'h5py', 'numpy', 'pydantic', 'rich') if one in sys.modules])"
    assert python("import sys", what, heavy).stdout == "[]\n"


def test_what_nobody_foresaw_is_a_sentence_too_and_a_traceback_when_debugging() -> None:
    broken = ("from voxloom.cli import main, program", "program.app.command('boom')(lambda: 1 / 0)", "import sys")
    call = ("sys.argv = ['voxloom', 'boom']", "main.main()")
    told = python(*broken, *call, VOXLOOM_DEBUG="")
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
    assert "ZeroDivisionError: division by zero. Set VOXLOOM_DEBUG=1" in told.stderr
    assert "Traceback" in python(*broken, *call, VOXLOOM_DEBUG="1").stderr


def test_the_server_command_shows_its_own_help() -> None:
    done = python("import sys", "from voxloom.cli.main import main", "sys.argv = ['voxloom', 'up', '--help']", "main()")
    assert (done.returncode, "--port" in done.stdout) == (0, True)


def test_version_is_the_packages() -> None:
    import voxloom

    assert CliRunner().invoke(app, ["version"]).stdout == f"{voxloom.__version__}\n"
