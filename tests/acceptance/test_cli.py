"""The command line, typed as a user types it, against a real system."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from tests.acceptance.nursery import Child, Nursery
from tests.acceptance.support import TICKER, Api, Footing, eventually, generic

IMAGE_PLUS = """import time
from voxloom.runner import Image2ImageRunner


class Runner(Image2ImageRunner):
    def inference(self, data, args):
        for step in range(3):
            self.set_progress(step / 3)
            time.sleep(0.05)
        print("added", args["add"])
        return data + args["add"]
"""
IMAGE_PLUS_TOML = """[project]
name = "image_plus"
version = "2.0.0"

[tool.voxloom]
algorithm_type = "Image2Image"
removable = true
additional_parameters = [
  { name = "add", description = "what is added", config = { type = "int", default = 1 } },
]
"""


class Cli:
    def __init__(self, footing: Footing, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self._nursery = nursery
        self.deployed = footing.deployed
        self.environment = {**os.environ, "VOXLOOM_URL": footing.url, "COLUMNS": "120", "NO_COLOR": "1"}

    def __call__(self, *words: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return self._nursery.run(*words, environment=self.environment, cwd=self.folder, timeout=timeout)

    def start(self, *words: str) -> Child:
        """What it says is in `log`, in the folder."""
        log = self.folder / "log"
        return self._nursery.begin(words, environment=self.environment, output=log, log=log, cwd=self.folder)


@pytest.fixture
def cli(system: Footing, tmp_path: Path, nursery: Nursery) -> Cli:
    return Cli(system, tmp_path, nursery)


@pytest.fixture
def image_plus(cli: Cli) -> str:
    """Deployed from a folder; once in each system."""
    if (content := (("image_plus", IMAGE_PLUS),)) in cli.deployed:
        return "image_plus"
    folder = cli.folder / "image_plus"
    folder.mkdir()
    (folder / "Runner.py").write_text(IMAGE_PLUS)
    (folder / "pyproject.toml").write_text(IMAGE_PLUS_TOML)
    done = cli("deploy", "image_plus")
    assert done.returncode == 0, done.stderr
    cli.deployed[content] = "image_plus"
    return "image_plus"


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".tif"])
def test_run_takes_a_stack_and_writes_a_stack(cli: Cli, image_plus: str, suffix: str) -> None:
    # Given a stack of images in a file
    stack = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)
    source, target = cli.folder / f"in{suffix}", cli.folder / f"out{suffix}"
    _write(source, stack)
    # When it is run from the command line
    done = cli("run", image_plus, str(source), "-p", "add=5", "-o", str(target))
    # Then the outputs are one stack again
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(_read(target), stack + 5)
    assert "COMPLETED" in done.stdout + done.stderr
    assert "added 5" in done.stdout + done.stderr


def _write(path: Path, stack: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, stack)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, stack, photometric="minisblack")
    else:
        with h5py.File(path, "w") as file:
            file["image"] = stack


def _read(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    if path.suffix == ".tif":
        return np.asarray(tifffile.imread(path))
    with h5py.File(path) as file:
        return np.asarray(file["image"][()])


def test_a_run_keeps_the_voxel_size_unit_and_axes_of_a_tiff(cli: Cli, image_plus: str) -> None:
    # Given a stack as ImageJ saves it, that says how large a voxel is
    about = {"axes": "ZYX", "unit": "micron", "spacing": 0.5}
    stack = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)
    tifffile.imwrite(cli.folder / "in.tif", stack, imagej=True, resolution=(5, 4), metadata=about)
    # When it is run, and its outputs are saved once more afterwards
    done = cli("run", image_plus, "in.tif", "-o", "out.tif")
    assert done.returncode == 0, done.stderr
    run = done.stderr.partition(", run ")[2].split()[0]
    later = cli("save", run, "later.ome.tif")
    assert later.returncode == 0, later.stderr
    # Then both say what the input said
    assert _told(cli.folder / "out.tif") == _told(cli.folder / "in.tif") == ("ZYX", "micron", 0.5, (5.0, 4.0))
    with tifffile.TiffFile(cli.folder / "later.ome.tif") as file:
        told = str(file.ome_metadata)
    assert all(f'{one}"' in told for one in ('PhysicalSizeX="0.2', 'PhysicalSizeY="0.25', 'PhysicalSizeZ="0.5'))


def _told(path: Path) -> tuple[str, str, float, tuple[float, float]]:
    with tifffile.TiffFile(path) as file:
        about = file.imagej_metadata or {}
        return file.series[0].axes, about["unit"], about["spacing"], file.pages.first.resolution


def test_what_the_algorithm_would_refuse_is_refused_before_it_is_sent(cli: Cli, image_plus: str, api: Api) -> None:
    np.save(cli.folder / "signed.npy", np.zeros((3, 8, 9), np.int16))
    newest = api.http.get("/api/v1/files", params={"limit": 1}).json()
    done = cli("run", image_plus, "signed.npy")
    assert done.returncode == 1
    assert "has the dtype int16" in done.stderr
    assert "Nothing was sent; convert it with .astype('float32')" in done.stderr
    assert api.http.get("/api/v1/files", params={"limit": 1}).json() == newest


def test_ls_shows_algorithms_and_runs(cli: Cli, image_plus: str, api: Api) -> None:
    run = api.run(api.deployed(generic("listed", "pass")))["execution_id"]
    listing = cli("ls").stdout
    assert image_plus in listing
    assert run[:8] in listing


def test_status_and_logs_of_a_run(cli: Cli, api: Api) -> None:
    run = api.run(api.deployed(generic("talker", "print('said so')")))["execution_id"]
    assert "COMPLETED" in cli("status", run).stdout
    assert "said so" in cli("logs", run).stdout


def test_logs_follow_a_run_to_its_end(cli: Cli, api: Api) -> None:
    body = "for n in range(10):\n    print('line', n)\n    time.sleep(0.05)"
    run = api.execute(api.deployed(generic("liner", body)))
    assert "line 9" in cli("logs", "-f", run).stdout


def test_stop_stops(cli: Cli, api: Api) -> None:
    run = api.execute(api.deployed(generic("ticker", TICKER)))
    assert cli("stop", run).returncode == 0
    assert api.wait(run)["status"] == "STOPPED"


def test_ctrl_c_during_a_run_stops_it_on_the_server(cli: Cli, api: Api) -> None:
    # Given a run that was started from the command line
    api.deploy(generic("ctrl_c", TICKER))
    np.save(cli.folder / "x.npy", np.zeros((4, 4, 4), np.float32))
    process = cli.start("run", "ctrl_c", "x.npy", "-o", "out.h5")
    listed = {"algorithm": "ctrl_c", "limit": "1"}

    def running() -> str:
        items = api.http.get("/api/v1/executions", params=listed).json()
        return items[0]["execution_id"] if items and items[0]["status"] == "RUNNING" else ""

    run = eventually(running, what="the run")
    # When Ctrl-C is pressed
    process.signal(signal.SIGINT)
    code = process.wait(120)
    # Then the run stops, and the command says so without a traceback
    assert api.wait(run)["status"] == "STOPPED"
    assert code == 130
    assert "Traceback" not in (cli.folder / "log").read_text()


def test_what_is_exported_deploys_again(cli: Cli, api: Api) -> None:
    api.deploy(generic("exported", "pass"))
    done = cli("export", "exported", "1", "-o", "exported.zip")
    assert done.returncode == 0, done.stderr
    assert "Deployed exported 1.0" in cli("deploy", "exported.zip").stdout


def test_rm_removes_what_rest_would_refuse(cli: Cli, api: Api) -> None:
    api.deploy(generic("kept", "pass", toml="removable = false"))
    assert cli("rm", "kept", "1", "--yes").returncode == 0
    assert api.http.get("/api/v0/algorithm/kept/1").status_code == 404


def test_doctor_is_content_with_a_running_system(cli: Cli) -> None:
    done = cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "no_such_algorithm", "x.npy", "-o", "out.h5"], "no_such_algorithm"),
        (["status", "00000000-0000-1000-8000-000000000000"], "00000000-0000"),
        (["deploy", "no/such/folder"], "no/such/folder"),
        (["run", "image_plus", "missing.npy", "-o", "out.h5"], "missing.npy"),
        (["rm", "no_such_algorithm", "1", "--yes"], "no_such_algorithm"),
        (["stop", "nonsense"], "nonsense"),
    ],
)
def test_errors_are_a_sentence_and_a_code_without_a_traceback(
    cli: Cli, image_plus: str, words: list[str], says: str
) -> None:
    np.save(cli.folder / "x.npy", np.zeros((4, 4)))
    done = cli(*words)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_failed_run_has_an_exit_code_and_its_reason(cli: Cli, api: Api) -> None:
    api.deploy(generic("cli_raises", "raise ValueError('not today')"))
    np.save(cli.folder / "x.npy", np.zeros((4, 4, 4)))
    done = cli("run", "cli_raises", "x.npy", "-o", "out.h5")
    assert done.returncode != 0
    assert "not today" in done.stderr + done.stdout


def test_without_a_server_the_next_step_is_said(cli: Cli) -> None:
    cli.environment["VOXLOOM_URL"] = "http://127.0.0.1:9"
    done = cli("ls")
    assert done.returncode != 0
    assert "voxloom up" in done.stderr
