"""What is shown with a test that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs import MOST, logs_of, tail_of


def test_a_test_that_fails_shows_the_logs_in_its_folder(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    log = tmp_path / "system" / "server.log"
    log.parent.mkdir()
    log.write_text("begin" + "." * MOST + "the end")
    assert logs_of(request.node) == {log}
    assert (tail_of(log).endswith("the end"), len(tail_of(log))) == (True, MOST)


def test_a_log_that_is_gone_says_so(tmp_path: Path) -> None:
    assert "No such file" in tail_of(tmp_path / "server.log")
