"""Limits of a project on a whole system that asks who people are, on every footing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.control.tokens import mint
from tests import closed
from tests.acceptance.support import HELD, Api, Footing, eventually, generic

LIMITS = "/api/v1/projects/default/limits"


@pytest.fixture
def api(new_system: Callable[..., Footing], monkeypatch: pytest.MonkeyPatch) -> Api:
    """Of an admin, in a project of a system that asks."""
    monkeypatch.setenv(closed.TOKEN, mint().text)
    return new_system().api()


def put(api: Api, **limits: Any) -> None:
    answer = api.http.put(LIMITS, json=limits)
    assert answer.status_code == 200, answer.text


def waits_for(api: Api, run: str) -> str:
    return str((api.http.get(f"/api/v1/executions/{run}").json()["waiting"] or {}).get("reason"))


def test_limits_hold_back_and_end_runs_and_count_at_once_when_they_change(api: Api, tmp_path: Path) -> None:
    # Given two slots, and a project that may have one run at a time
    held, end = api.deployed(generic("held", HELD)), tmp_path / "end"
    put(api, runs_at_once=1)
    runs = [api.execute(held, additional_parameters={"until": str(end)}) for _ in range(3)]
    # Then one runs, and the others say why they do not
    api.wait_for_status(runs[0], "RUNNING")
    eventually(lambda: [waits_for(api, run) for run in runs[1:]] == ["project_limit"] * 2, what="the reason")
    # When it may have two, then the second begins beside the first, and the third still waits
    put(api, runs_at_once=2)
    api.wait_for_status(runs[1], "RUNNING")
    assert (api.record(runs[0])["status"], waits_for(api, runs[2])) == ("RUNNING", "project_limit")
    end.touch()
    assert [api.wait(run)["status"] for run in runs] == ["COMPLETED"] * 3
    # And whatever takes longer than the project may is ended, with an error that says so
    put(api, max_wall_time=0.3)
    late = api.run(api.deployed(generic("endless", "while True: pass")))
    assert (late["status"], late["error"]["code"]) == ("FAILED", "wall_time")
