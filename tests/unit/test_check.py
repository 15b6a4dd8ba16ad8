"""What an author is told of an algorithm that cannot be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from voxloom.runner.check import input_schema_of

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


HEAD = "from voxloom.runner import *\nfrom voxloom.runner import DataSchema, Image2ImageRunner as I, ImageSchema\n"
KNOWN = {
    "a runner of the family": ("class Runner(I):\n def inference(self, data, args): return data", "ImageSchema"),
    "one that reads by itself": ("class Runner(I):\n def preprocess(self, given, args): return given", ""),
    "one with a schema of its own": ("class Mine(DataSchema): pass\nclass Runner(I):\n input_schema = Mine", ""),
    "one that takes masks": ("class Runner(Segmentation2SegmentationRunner): pass", ""),
    "any other": ("class Runner(BaseRunner):\n preprocess = inference = postprocess = lambda *_: []", ""),
}


@pytest.mark.parametrize(("source", "known"), KNOWN.values(), ids=KNOWN)
def test_the_schema_of_inputs_is_known_where_the_family_reads_them(source: str, known: str) -> None:
    scope: dict[str, object] = {}
    exec(HEAD + source, scope)
    runner = scope["Runner"]
    assert isinstance(runner, type)
    assert input_schema_of(runner) == known
