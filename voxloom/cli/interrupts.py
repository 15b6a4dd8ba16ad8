"""Ctrl-C while something is being started: what the server has begun, and has not told yet, could not be stopped."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

import typer

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended."""


class Interrupts:
    """In this block Ctrl-C raises KeyboardInterrupt, as ever. Between `hold` and `let_go` the first one waits, and the
    second one raises."""

    def __init__(self) -> None:
        self._holding = False
        self._waiting = False

    def __enter__(self) -> Interrupts:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:  # In the background of a script Ctrl-C is not meant for us.
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._before)

    def hold(self) -> None:
        """From here on the server is asked."""
        self._holding = True

    def let_go(self) -> None:
        """It has answered. Raises the KeyboardInterrupt that has waited for it."""
        self._holding = False
        if self._waiting:
            raise KeyboardInterrupt

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._waiting or not self._holding:
            raise KeyboardInterrupt
        self._waiting = True
        typer.echo("Stops as soon as the server has answered; Ctrl-C once more to leave it alone.", err=True)
