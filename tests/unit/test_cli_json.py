"""Every command can speak to programs; tests/acceptance/test_json_output.py sees that it says what is promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import TypeAdapter
from typer.testing import CliRunner

from voxloom.cli.answers import ANSWERS, LINES
from voxloom.cli.program import app
from voxloom.models import Problem

SERVERS = {"up", "serve", "asyncapi"}
"""They go on until they are stopped, or print a document anyway."""


def commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield " ".join([*before, name]), command


EVERY = {name: one for name, one in commands(typer.main.get_command(app)) if name not in SERVERS}


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_json_and_says_what_it_tells(name: str) -> None:
    assert "--json" in [option for parameter in EVERY[name].params for option in parameter.opts]
    assert name in {**ANSWERS, **LINES}


@pytest.mark.parametrize("model", {**ANSWERS, **LINES}.values(), ids=lambda model: str(model))
def test_what_is_told_has_a_schema(model: Any) -> None:
    assert TypeAdapter(model).json_schema()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["check", "nothing"], "invalid_input"),
        (["debug", "nothing"], "invalid_input"),
        (["bundle", "inspect", "nothing"], None),
        (["run", "smooth", "scan.npy", "-o", "out.png"], "invalid_input"),
        (["--url", "http://127.0.0.1:1", "status", "0"], "no_server"),
    ],
)
def test_an_error_is_a_problem_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, "--json"])
    problem = Problem.model_validate_json(done.stdout)
    assert (done.exit_code, done.stderr, problem.code if code else None) == (1, "", code)


def test_what_an_algorithm_prints_does_not_stand_among_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["new", "mine"])
    runner = tmp_path / "mine" / "Runner.py"
    runner.write_text(f"print('imported')\n{runner.read_text()}")
    done = CliRunner().invoke(app, ["debug", "mine", "--json"])
    assert done.stderr.startswith("imported")
    assert json.loads(done.stdout)["code"] == "invalid_shape"
