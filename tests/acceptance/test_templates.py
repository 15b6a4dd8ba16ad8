"""What `voxloom new` makes does what its README says, on a server, on a real image, for each type."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing
from voxloom.templates import TYPES

ONCE = ("check", "debug")
"""A deploy looks at an algorithm as the one does; the other is run for each type by tests/unit/test_cli_local.py."""


def commands_of(readme: str) -> Iterator[list[str]]:
    """The lines of its block of commands; `python -m unittest` is run by tests/unit/test_cli_local.py."""
    (block,) = re.findall(r"```\n(.*?)```", readme, re.DOTALL)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "voxloom":
            yield words[1:]


def test_every_command_in_the_readme_of_a_new_algorithm_works(
    new_embedded: Callable[..., Footing], nursery: Nursery, tmp_path: Path
) -> None:
    # Given a server, and a stack of three images of 8 bits
    environment = {**os.environ, "VOXLOOM_URL": new_embedded().url, "NO_COLOR": "1"}
    stack = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", stack, photometric="minisblack")
    failed = []
    for kind in TYPES:
        # When an algorithm of each type is made, and its README is followed word by word
        name = f"my_{kind.lower()}"
        made = nursery.run("new", name, "--type", kind, "--trainable", environment=environment, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        for words in commands_of((tmp_path / name / "README.md").read_text()):
            if words[0] in ONCE and kind != TYPES[0]:
                continue
            typed = [word.replace("FILE", "../scan.tif") for word in words]
            done = nursery.run(*typed, environment=environment, cwd=tmp_path / name)
            if done.returncode:
                failed.append((kind, " ".join(typed), done.stderr[-300:]))
    # Then nothing fails, and what has come out is there
    assert failed == []
    outputs = [*tmp_path.glob("my_*/out.h5"), *tmp_path.glob("my_*/out")]
    assert sorted(place.parent.name for place in outputs) == sorted(f"my_{kind.lower()}" for kind in TYPES)
