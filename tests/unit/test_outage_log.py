"""One outage is a few lines in the log, however many wait for its end, and however long that takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shared.outages import OWN_QUIET_SECS, Outage, Seldom, waiting
from voxloom.errors import BusUnavailable, StoreUnavailable, Unavailable

GONE = BusUnavailable("It does not answer.")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    """What the server's log would have."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.addFilter(Seldom(clock=clock))
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.levelname} {record.getMessage()}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    made = logging.getLogger("voxloom.test-outages")
    made.setLevel(logging.INFO)
    yield made
    made.handlers.clear()


@pytest.fixture
def lines(log: logging.Logger, clock: Clock) -> Lines:
    made = Lines(clock)
    log.addHandler(made)
    return made


@pytest.fixture
def outage(log: logging.Logger, clock: Clock) -> Outage:
    return Outage(log, "the broker is away", "the broker is back", BusUnavailable, clock=clock)


def test_an_outage_is_told_at_once_every_minute_and_at_its_end(outage: Outage, clock: Clock, lines: Lines) -> None:
    # Given a broker that is tried every two seconds, in vain for two and a half minutes
    for _ in range(75):
        outage.failed(GONE)
        clock.now += 2.0
    # When it comes back
    outage.over()
    outage.over()
    assert lines.said == [
        "WARNING the broker is away: It does not answer.",
        "WARNING the broker is away, for 60 s (31 tries) by now: It does not answer.",
        "WARNING the broker is away, for 2 min (61 tries) by now: It does not answer.",
        "INFO the broker is back, after 2 min (75 tries)",
    ]


def test_what_comes_and_goes_all_the_time_is_told_once_a_minute(outage: Outage, clock: Clock, lines: Lines) -> None:
    for _ in range(59):
        outage.failed(GONE)
        outage.over()
        clock.now += 1.0
    assert lines.said == [
        "WARNING the broker is away: It does not answer.",
        "INFO the broker is back, after 0 s (1 try)",
    ]


def test_an_outage_is_over_when_all_who_try_have_got_through(outage: Outage, lines: Lines) -> None:
    outage.failed(GONE, "publishes")
    outage.failed(GONE, "receives")
    outage.over("publishes")
    assert len(lines.said) == 1
    outage.over("receives")
    assert lines.said[1] == "INFO the broker is back, after 0 s (1 try)"


def test_who_waits_for_what_is_away_adds_no_line(
    outage: Outage, log: logging.Logger, clock: Clock, lines: Lines
) -> None:
    # Given an outage, and services that wait for its end, each with words of its own
    for second in range(300):
        outage.failed(GONE)
        log.warning("%d events wait: %s", second, GONE, extra=waiting(GONE))
        log.warning("no heartbeat: %s", GONE, extra=waiting(GONE))
        clock.now += 1.0
    assert len(lines.said) == 5
    assert all(line.startswith("WARNING the broker is away") for line in lines.said)


def test_who_waits_is_heard_where_nobody_else_tells_of_it_but_seldom(
    log: logging.Logger, clock: Clock, lines: Lines
) -> None:
    for _ in range(3):
        log.warning("events wait", extra=waiting(GONE))
        log.warning("records wait", extra=waiting(StoreUnavailable("It is away.")))
        log.warning("a bundle waits", extra=waiting(Unavailable("Something is away.")))
        clock.now += OWN_QUIET_SECS / 2
    assert lines.said == ["WARNING events wait", "WARNING records wait", "WARNING a bundle waits"] * 2


def test_other_lines_pass_as_often_as_they_are_said(outage: Outage, log: logging.Logger, lines: Lines) -> None:
    outage.failed(GONE)
    for _ in range(3):
        log.warning("something else")
    assert lines.said[1:] == ["WARNING something else"] * 3
