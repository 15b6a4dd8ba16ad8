"""A server that asks who people are, from its first admin to a run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing, eventually

RUNNER = """from voxloom.runner import Image2ImageRunner


class Runner(Image2ImageRunner):
    def inference(self, data, args):
        return data + 1
"""
PROJECT = '[project]\nname = "plus"\nversion = "1.0.0"\n\n[tool.voxloom]\nalgorithm_type = "Image2Image"\n'

Type = Callable[..., subprocess.CompletedProcess[str]]


def clean() -> dict[str, str]:
    """The environment, without how whoever runs the tests has their own server."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("VOXLOOM_")}, "NO_COLOR": "1"}


@pytest.fixture
def voxloom(nursery: Nursery, tmp_path: Path) -> Type:
    def typed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return nursery.run(*words, environment={**clean(), **environment}, cwd=tmp_path)

    return typed


@pytest.fixture
def plus(tmp_path: Path) -> Path:
    folder = tmp_path / "plus"
    folder.mkdir()
    (folder / "Runner.py").write_text(RUNNER)
    (folder / "pyproject.toml").write_text(PROJECT)
    np.save(tmp_path / "scan.npy", np.ones((2, 8, 8), np.uint16))
    return folder


def test_the_first_admin_deploys_and_runs_and_nobody_else_gets_in(
    closed_system: Footing, voxloom: Type, plus: Path, tmp_path: Path
) -> None:
    # Given a server that has its first admin
    made = voxloom("admin", "init", "--data", str(closed_system.data))
    assert made.returncode == 0, made.stderr
    token = (closed_system.data / "admin.token").read_text().strip()
    assert token not in made.stdout + made.stderr
    here = {"VOXLOOM_URL": closed_system.start().url}
    # When they deploy and run with their token
    for words in (("deploy", str(plus)), ("run", "plus", "scan.npy", "-o", "out.npy")):
        done = voxloom(*words, **here, VOXLOOM_TOKEN=token)
        assert done.returncode == 0, done.stderr
    # Then it is done; and who has no token is refused
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.full((2, 8, 8), 2))
    refused = voxloom("run", "plus", "scan.npy", **here)
    assert (refused.returncode, "VOXLOOM_TOKEN" in refused.stderr) == (1, True)
    # And the token is in no log
    assert token.split("_")[2] not in closed_system.log.read_text()


def test_what_an_admin_hands_out_is_good_for_what_they_say(
    closed_system: Footing, voxloom: Type, plus: Path, tmp_path: Path
) -> None:
    # Given somebody who may look, and no more
    voxloom("admin", "init", "--data", str(closed_system.data))
    first = (closed_system.data / "admin.token").read_text().strip()
    root = {"VOXLOOM_URL": closed_system.start().url, "VOXLOOM_TOKEN": first}
    for words in (("user", "add", "vera"), ("member", "set", "default", "vera", "viewer")):
        done = voxloom("admin", *words, **root)
        assert done.returncode == 0, done.stderr
    vera = {**root, "VOXLOOM_TOKEN": voxloom("token", "create", "--for", "vera", **root).stdout.strip()}
    # Then they see what there is, and put nothing in
    assert voxloom("ls", **vera).returncode == 0
    refused = voxloom("deploy", str(plus), **vera)
    assert (refused.returncode, "'deploy'" in refused.stderr) == (1, True)


def test_a_server_that_runs_keeps_its_folder_and_one_without_auth_does_not_start_on_it(
    closed_system: Footing, nursery: Nursery, voxloom: Type, tmp_path: Path
) -> None:
    # Given a server that runs, and to which nobody has a token
    url = closed_system.start().url
    assert httpx.get(f"{url}/api/v1/executions").status_code == 401
    # When somebody wants to be its admin meanwhile
    early = voxloom("admin", "init", "--data", str(closed_system.data))
    # Then they are told to stop it; and stopped, it is theirs, and never open again
    assert (early.returncode, "stop it" in early.stderr) == (2, True)
    closed_system.stop()
    assert voxloom("admin", "init", "--data", str(closed_system.data)).returncode == 0
    opened = voxloom("up", "--port", "0", "--data", str(closed_system.data))
    assert (opened.returncode, "VOXLOOM_AUTH=closed" in opened.stderr) == (2, True)


def test_ctrl_c_leaves_nothing_that_keeps_a_second_try_from_working(
    closed_system: Footing, nursery: Nursery, voxloom: Type, tmp_path: Path
) -> None:
    # Given tries that are interrupted, some before there is a token and some after that
    words, token = ["admin", "init", "--data", str(closed_system.data)], closed_system.data / "admin.token"
    for sign in (closed_system.data, closed_system.data / "objects" / "lock", token, token):
        if not token.exists():
            interrupt(nursery, words, tmp_path, sign)
    # When it is done once more, where there is no token yet
    if not token.exists():
        done = voxloom(*words)
        assert done.returncode == 0, done.stderr
    # Then the token lets in
    here = {"VOXLOOM_URL": closed_system.start().url, "VOXLOOM_TOKEN": token.read_text().strip()}
    assert voxloom("whoami", **here).returncode == 0


def interrupt(nursery: Nursery, words: list[str], folder: Path, sign: Path) -> None:
    """Types a command, and Ctrl-C as soon as there is that file or folder."""
    said, log = folder / "said", folder / "log"
    child = nursery.begin(words, environment=clean(), output=said, log=log, cwd=folder)
    eventually(lambda: sign.exists() or child.poll() is not None)
    child.signal(signal.SIGINT)
    child.wait(60)
