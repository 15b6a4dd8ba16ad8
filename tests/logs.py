"""What systems have logged, shown with the test that failed on them: their folders may be gone when somebody asks."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

_ALARMING = re.compile(r"^\S+ (ERROR|CRITICAL) |Traceback|a service died")

MOST = 6000
"""Characters of each log: its end."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"end of {log}", tail_of(log)) for log in sorted(logs_of(item))]
    return report


def logs_of(item: pytest.Item) -> set[Path]:
    from tests.acceptance.support import Footing  # Much is imported with it, and few tests fail.

    given = dict(getattr(item, "funcargs", {}))
    folders = [value.folder for value in given.values() if isinstance(value, Footing)]
    return {log for folder in (*folders, *_own(given)) for log in folder.rglob("*.log")}


def _own(given: dict[str, object]) -> Iterator[Path]:
    own = given.get("tmp_path")
    if isinstance(own, Path):
        yield own


def alarming(text: str) -> list[str]:
    """The lines that tell of something wrong."""
    return [line for line in text.splitlines() if _ALARMING.search(line)]


def tail_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - MOST))
            return file.read().decode(errors="replace")
    except OSError as error:  # It is being removed, or nobody may read it.
        return str(error)
