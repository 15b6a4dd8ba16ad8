"""The server's log: one line a record."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shared.telemetry import OneLineFormatter, configure_logging
from voxloom.errors import Misconfigured


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_record_is_one_line_with_its_level_also_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("voxloom.x").exception("it broke\nERROR forged")
    (line,) = capsys.readouterr().err.splitlines()
    assert " ERROR voxloom.x: it broke | ERROR forged | Traceback" in line


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING")
    logging.getLogger("voxloom.x").info("quiet")
    assert capsys.readouterr().err == ""


def test_configuring_again_does_not_say_things_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("voxloom.x").info("once")
    assert capsys.readouterr().err.count("once") == 1
    assert sum(isinstance(one.formatter, OneLineFormatter) for one in logging.getLogger().handlers) == 1


def test_a_level_there_is_not_is_refused() -> None:
    with pytest.raises(Misconfigured, match="LOUD"):
        configure_logging("LOUD")
