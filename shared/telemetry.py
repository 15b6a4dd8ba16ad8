"""What the server says of itself: its log."""

from __future__ import annotations

import logging
import sys

from shared.outages import Seldom
from voxloom.errors import Misconfigured
from voxloom.models import utc_now

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class OneLineFormatter(logging.Formatter):
    """`time LEVEL logger: text`, one line a record: of a traceback or a text with line breaks, the lines are joined
    by ` | `, so that no user text can pretend to be a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        time = utc_now().isoformat(timespec="milliseconds")
        return f"{time} {record.levelname} {record.name}: " + " | ".join(text.splitlines())


def configure_logging(level: str = "INFO") -> None:
    """Sends all records of at least `level` to stderr as text. Calling it again changes the level. Raises
    Misconfigured for a level there is not."""
    name = level.upper()
    if name not in LEVELS:
        raise Misconfigured(f"There is no log level {level!r}; use one of {', '.join(LEVELS)}.")
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, OneLineFormatter)]:
        root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    if name != "DEBUG":
        handler.addFilter(Seldom())
    root.addHandler(handler)
    root.setLevel(name)
