"""`voxloom new`, `check` and `debug`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import unittest
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from voxloom import testing
from voxloom.cli.program import app
from voxloom.manifest import read_folder
from voxloom.templates import TYPES

EVERY_TYPE = pytest.mark.parametrize("kind", TYPES)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def voxloom(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@EVERY_TYPE
@pytest.mark.parametrize("trainable", [False, True])
def test_a_new_algorithm_deploys_without_a_warning_and_passes_its_own_test(
    here: Path, kind: str, trainable: bool
) -> None:
    made = voxloom("new", "mine", "--type", kind, *(["--trainable"] if trainable else []))
    assert made.exit_code == 0, made.output
    manifest = read_folder(here / "mine")
    assert (manifest.name, manifest.algorithm_type, manifest.warnings) == ("mine", kind, [])
    scope: dict[str, object] = {"__file__": str(here / "mine" / "test_mine.py")}
    exec((here / "mine" / "test_mine.py").read_text(), scope)
    case = scope["Test"]
    assert isinstance(case, type)
    done = unittest.TextTestRunner(io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    assert (done.testsRun, done.errors, done.failures) == (1 + trainable, [], [])


@pytest.mark.parametrize(("runner", "said"), [("unittest", "OK"), ("pytest", "1 passed")])
def test_its_test_is_found(here: Path, runner: str, said: str) -> None:
    voxloom("new", "my-own", "--type", "Generic")
    done = subprocess.run(
        [sys.executable, "-m", runner], capture_output=True, text=True, timeout=120, cwd=here / "my-own", check=False
    )
    assert said in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "../x", "a/b", "1st", "nul\0", "~", "žluť", "x" * 101, "with space"])
def test_names_that_cannot_be_are_refused_and_nothing_is_made(here: Path, name: str) -> None:
    done = voxloom("new", name)
    assert (done.exit_code != 0, list(here.iterdir())) == (True, [])


def test_what_is_there_is_left_alone(here: Path) -> None:
    (here / "mine").mkdir()
    done = voxloom("new", "mine")
    assert (done.exit_code, "already" in done.output, list((here / "mine").iterdir())) == (1, True, [])


@pytest.mark.parametrize("packed", [False, True])
def test_a_good_algorithm_can_be_deployed(here: Path, packed: bool) -> None:
    voxloom("new", "mine", "--type", "Image2Segmentation")
    source = "mine"
    if packed:
        import shutil

        source = shutil.make_archive("mine", "zip", here / "mine")
    done = voxloom("check", source)
    assert (done.exit_code, done.output) == (0, "mine 1.0 (Image2Segmentation) can be deployed.\n")


@pytest.mark.parametrize(
    ("runner", "pyproject", "words"),
    [
        ("import nothing_of_that_name\nclass Runner: pass\n", None, "ModuleNotFoundError"),
        ("class Runner: pass\n", None, "is no runner"),
        ("raise SystemExit(3)\n", None, "cannot be imported"),
        ("import os; os._exit(3)\n", None, "exit code 3"),
        (None, "[project]\nname = 3\n", "name"),
        (None, "no toml", "pyproject"),
    ],
)
def test_what_cannot_is_said_with_the_reason(here: Path, runner: str | None, pyproject: str | None, words: str) -> None:
    voxloom("new", "mine")
    if runner is not None:
        (here / "mine" / "Runner.py").write_text(runner)
    if pyproject is not None:
        (here / "mine" / "pyproject.toml").write_text(pyproject)
    done = voxloom("check", "mine")
    assert (done.exit_code, words in done.output) == (1, True), done.output


def test_what_is_no_algorithm_is_said(here: Path) -> None:
    (here / "file").write_text("text")
    for source in ("nothing", "file"):
        done = voxloom("check", source)
        assert (done.exit_code, "There is no algorithm" in done.output) == (1, True)


def test_debugging_runs_it_here_and_saves_what_comes_out(here: Path) -> None:
    voxloom("new", "mine")
    np.save("scan.npy", np.ones((2, 4, 4), np.float32))
    done = voxloom("debug", "mine", "scan.npy", "-p", "factor=3", "-o", "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == ["output 0: image float32 (4, 4)", "output 1: image float32 (4, 4)"]
    with h5py.File(here / "out" / "1.h5") as file:
        assert float(file["image"][0, 0]) == 3.0


@EVERY_TYPE
def test_debugging_takes_files_apart_as_a_run_does(here: Path, kind: str) -> None:
    voxloom("new", "mine", "--type", kind)
    np.save("scan.npy", np.full((3, 8, 8), 200, np.uint8))
    done = voxloom("debug", "mine", "scan.npy", "-o", "out")
    assert done.exit_code == 0, done.output
    files = {"Image2Alignment": 2, "Generic": 1, "Undefined": 1}.get(kind, 3)
    assert len(list((here / "out").iterdir())) == files


def test_a_new_image_algorithm_does_not_wrap_around(here: Path) -> None:
    voxloom("new", "mine")
    (output, *_) = testing.run(here / "mine", np.full((1, 4, 4), 200, np.uint8))
    assert (output["image"].dtype, float(output["image"].max())) == (np.float32, 400.0)


def test_debugging_takes_one_dataset_of_several(here: Path) -> None:
    voxloom("new", "mine", "--type", "Image2Segmentation")
    with h5py.File("scan.h5", "w") as file:
        file["first"], file["second"] = np.zeros((2, 8, 8), np.float32), np.zeros((3, 8, 8), np.float32)
    asked = voxloom("debug", "mine", "scan.h5")
    assert (asked.exit_code, "--dataset" in asked.output) == (1, True)
    assert len(voxloom("debug", "mine", "scan.h5", "--dataset", "second").stdout.splitlines()) == 3


def test_debugging_checks_parameters_as_a_server_does(here: Path) -> None:
    voxloom("new", "mine")
    np.save("scan.npy", np.ones((2, 4, 4), np.float32))
    done = voxloom("debug", "mine", "scan.npy", "-p", "factor=-1")
    assert (done.exit_code, "factor" in done.output) == (1, True)


def test_debugging_warns_of_parameters_that_nobody_declares(here: Path) -> None:
    voxloom("new", "mine")
    np.save("scan.npy", np.ones((2, 4, 4), np.float32))
    done = voxloom("debug", "mine", "scan.npy", "-p", "facter=3")
    assert (done.exit_code, done.stderr.startswith("WARNING The algorithm declares no parameter 'facter'")) == (0, True)
    told = json.loads(voxloom("debug", "mine", "scan.npy", "-p", "facter=3", "--json").stdout)
    assert [line["level"] for line in told["log"]] == ["WARNING"]


@pytest.mark.parametrize("wrong", ["1 / 0", "open('nowhere')", "self.post_data([{'image': np.zeros((2, 2), 'i2')}])"])
def test_debugging_tells_what_the_algorithm_raises_with_its_own_lines(here: Path, wrong: str) -> None:
    voxloom("new", "mine")
    np.save("scan.npy", np.ones((2, 4, 4), np.float32))
    with (here / "mine" / "Runner.py").open("a") as file:
        file.write(f"\n    def inference(self, data, args):\n        return {wrong}\n")
    told = voxloom("debug", "mine", "scan.npy")
    assert (told.exit_code, "unexpected" in told.output) == (1, False)
    assert f"in inference\n    return {wrong}" in told.output
    problem = json.loads(voxloom("debug", "mine", "scan.npy", "--json").stdout)
    assert (problem["code"], "Runner.py" in problem["detail"]) == ("algorithm_error", True)


def test_debugging_makes_no_folder_with_the_name_of_a_file(here: Path) -> None:
    voxloom("new", "mine")
    np.save("scan.npy", np.ones((2, 4, 4), np.float32))
    done = voxloom("debug", "mine", "scan.npy", "-o", "out.tif")
    assert (done.exit_code, "takes a folder" in done.output, Path("out.tif").exists()) == (1, True, False)


def test_debugging_wants_an_algorithm(here: Path) -> None:
    done = voxloom("debug", "nowhere")
    assert (done.exit_code, "Runner.py" in done.output) == (1, True)


def test_what_a_new_algorithm_learns_is_used(here: Path) -> None:
    voxloom("new", "mine", "--trainable")
    (checkpoint,) = testing.train(here / "mine", [[{"image": [np.full((2, 2), 5.0, np.float32)]}]])
    assert checkpoint.assets == {"files/model.json": b'{"level": 5.0}'}
