"""Who did what, and a project that is removed, on a system that asks who people are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from shared.control import tokens
from tests import closed
from tests.acceptance.conftest import Make
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import eventually

RUNNER = """import time

from voxloom.runner import Image2ImageRunner


class Runner(Image2ImageRunner):
    def inference(self, data, args):
        time.sleep(args.get("secs", 0))
        return data
"""
PROJECT = '[project]\nname = "hold"\nversion = "1.0.0"\n\n[tool.voxloom]\nalgorithm_type = "Image2Image"\n'


def test_what_people_do_is_told_of_until_their_project_goes_with_all_that_it_owns(
    new_system: Make, nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a project with an algorithm, files, a run that is over and one that goes on
    monkeypatch.setenv(closed.TOKEN, token := tokens.mint().text)
    url = new_system().url
    here = {**os.environ, "NO_COLOR": "1", "VOXLOOM_URL": url}
    voxloom, elsewhere = (typed(nursery, {**here, "VOXLOOM_PROJECT": one}, tmp_path) for one in ("lab", "default"))
    (tmp_path / "hold").mkdir()
    (tmp_path / "hold" / "Runner.py").write_text(RUNNER)
    (tmp_path / "hold" / "pyproject.toml").write_text(PROJECT)
    np.save(tmp_path / "scan.npy", np.ones((2, 8, 8), np.float32))
    done(elsewhere("admin", "project", "add", "lab"))
    done(voxloom("admin", "member", "set", "lab", "tester", "manager"))
    done(voxloom("deploy", "hold"))
    done(voxloom("run", "hold", "scan.npy", "-o", "out.npy"))
    headers = {"Authorization": f"Bearer {token}", "Voxloom-Project": "lab"}
    with httpx.Client(base_url=url, headers=headers, timeout=60.0) as client:
        over = one_of(client, "/api/v1/executions?submitted_by=tester&status=COMPLETED")
        body = {"algorithm_id": over["algorithm_id"], "additional_parameters": {"secs": 600}}
        body["input_dataset_ids"] = [one_of(client, "/api/v1/files?kind=upload")["file_id"]]
        going = client.post("/api/v1/executions", json=body).raise_for_status().json()["execution_id"]
        eventually(lambda: client.get(f"/api/v1/executions/{going}").json()["status"] == "RUNNING")
        # Then records say who has asked for them, and v0 says what it has always said
        assert over["submitted_by"] == "tester"
        assert "submitted_by" not in client.get(f"/api/v0/executions/{going}").json()
    assert "hold" in done(voxloom("ls", "--by", "me"))
    # And it is not removed as it is
    refused = voxloom("admin", "project", "rm", "lab", "--yes")
    assert (refused.returncode, "1 runs unfinished" in refused.stderr) == (1, True), refused.stderr
    # When it is to go with all of that
    done(voxloom("admin", "project", "rm", "lab", "--all", "--yes"))
    # Then nobody is let in for it, and the audit has what was done
    assert voxloom("ls").returncode == 1
    told = done(elsewhere("audit", "--of", "lab", "--by", "tester"))
    for action in ("project.delete", "algorithm.deploy", "member.set", "project.set"):
        assert action in told, told


Type = Callable[..., subprocess.CompletedProcess[str]]


def typed(nursery: Nursery, environment: dict[str, str], folder: Path) -> Type:
    return lambda *words: nursery.run(*words, environment=environment, cwd=folder)


def done(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def one_of(client: httpx.Client, path: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.get(path).raise_for_status().json()
    return found[0]
