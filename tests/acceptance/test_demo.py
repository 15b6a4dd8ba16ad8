"""`make demo`, without make: the program in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SECS = 240.0
Demo = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_demo(tmp_path: Path) -> Demo:
    """Starts the demo with everything it writes below `tmp_path`."""
    (tmp_path / "tmp").mkdir()

    def start(*flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.demo", "--output", str(tmp_path / "output"), *flags],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that were told about this folder."""
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


def test_the_demo_leaves_results_and_a_picture_and_nothing_else(tmp_path: Path, start_demo: Demo) -> None:
    demo = start_demo()
    said, _ = demo.communicate(timeout=SECS)
    assert demo.returncode == 0, said
    assert said.count("COMPLETED") == 2
    with h5py.File(tmp_path / "output" / "threshold_segmentation.h5") as file:
        assert file["mask"].shape == (9, 256, 256)
    with Image.open(tmp_path / "output" / "side-by-side.png") as picture:
        assert picture.size == (896, 912)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, start_demo: Demo) -> None:
    np.save(tmp_path / "large.npy", np.zeros((24, 512, 512), np.uint16))
    demo = start_demo("--data", str(tmp_path / "large.npy"))
    assert demo.stdout is not None
    assert any("2-D Gaussian" in line for line in demo.stdout)  # the run's first log line: it is under way
    assert processes_of(tmp_path / "tmp") != []
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=SECS)
    assert demo.returncode == 130, said
    assert processes_of(tmp_path / "tmp") == []


def test_a_wrong_file_ends_the_demo_with_one_sentence(tmp_path: Path, start_demo: Demo) -> None:
    (tmp_path / "broken.tif").write_bytes(b"no picture at all")
    demo = start_demo("--data", str(tmp_path / "broken.tif"))
    said, _ = demo.communicate(timeout=SECS)
    assert demo.returncode == 1
    assert said.startswith(f"{tmp_path / 'broken.tif'} cannot be read as TIFF")
    assert said.count("\n") == 1
