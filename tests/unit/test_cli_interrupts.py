"""Ctrl-C while something is being started."""

from __future__ import annotations

import signal

import pytest

from voxloom.cli.interrupts import Interrupts


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_while_the_server_is_asked_comes_when_it_has_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with Interrupts() as interrupts:
        interrupts.hold()
        press()
        assert "as soon as the server has answered" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            interrupts.let_go()


def test_the_second_one_does_not_wait() -> None:
    with Interrupts() as interrupts:
        interrupts.hold()
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


@pytest.mark.parametrize("held_before", [False, True])
def test_at_any_other_time_it_comes_at_once(held_before: bool) -> None:
    with Interrupts() as interrupts:
        if held_before:
            interrupts.hold()
            interrupts.let_go()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_afterwards_it_is_handled_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_who_is_to_ignore_it_goes_on_to() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            press()
            interrupts.let_go()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
