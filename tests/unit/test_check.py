"""What an author is told of an algorithm that cannot be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = {
    "a module that is not there": (
        "import helper\n",
        "No module named 'missing_here' (helper.py, line 2). Install its package",
    ),
    "an exception says where": ("x = 1\n\n{}['a']\n", "KeyError: 'a' (Runner.py, line 3)."),
    "a syntax error says where by itself": ("class Runner(:\n", "SyntaxError: invalid syntax (Runner.py, line 1)."),
}


@pytest.mark.parametrize(("source", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_its_place(tmp_path: Path, source: str, said: str) -> None:
    folder = tmp_path / "algorithm"
    folder.mkdir()
    (folder / "Runner.py").write_text(source)
    (folder / "helper.py").write_text("\nimport missing_here\n")
    report = tmp_path / "report"
    command = [sys.executable, "-m", "voxloom.runner.check", str(folder), str(report), str(4 << 30), "20"]
    subprocess.run(command, check=True)
    assert said in json.loads(report.read_text())["fault"]
