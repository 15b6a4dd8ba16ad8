"""`self.task_handler.logger`: takes the calls that both the standard library's and loguru's loggers take."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal

from voxloom.runner.importing import FOLDER_VARIABLE
from voxloom.runner.output import author_traceback

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_LEVELS: dict[str, Level] = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "SUCCESS": "INFO",
    "WARNING": "WARNING",
    "ERROR": "ERROR",
    "CRITICAL": "ERROR",
}


class RunLogger:
    """Writes to the run's log and never raises. Arguments fill `{}` or `%s` places, whichever the message has."""

    def __init__(self, write: Callable[[str, Level], None], *, with_traceback: bool = False) -> None:
        self._write = write
        self._with_traceback = with_traceback

    def debug(self, message: object, *args: Any, **kwargs: Any) -> None:
        self._log("DEBUG", message, args, kwargs)

    def info(self, message: object, *args: Any, **kwargs: Any) -> None:
        self._log("INFO", message, args, kwargs)

    success = info

    def warning(self, message: object, *args: Any, **kwargs: Any) -> None:
        self._log("WARNING", message, args, kwargs)

    def error(self, message: object, *args: Any, **kwargs: Any) -> None:
        self._log("ERROR", message, args, kwargs)

    critical = error

    def exception(self, message: object, *args: Any, **kwargs: Any) -> None:
        """As `error`, followed by the traceback of the exception that is being handled."""
        self._log("ERROR", message, args, {**kwargs, "exc_info": True})

    def log(self, level: str, message: object, *args: Any, **kwargs: Any) -> None:
        self._log(_LEVELS.get(str(level).upper(), "INFO"), message, args, kwargs)

    def bind(self, **_extra: Any) -> RunLogger:
        """For loguru's sake: a run's log has one form, which takes no further fields."""
        return self

    def opt(self, *, exception: Any = None, **_options: Any) -> RunLogger:
        return RunLogger(self._write, with_traceback=bool(exception))

    def _log(self, level: Level, message: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        wants_traceback = bool(kwargs.pop("exc_info", False)) or self._with_traceback
        text = _filled(str(message), args, kwargs)
        if wants_traceback and (error := sys.exception()) is not None:
            text = f"{text}\n{_traceback_of(error)}"
        self._write(text, level)


def _traceback_of(error: BaseException) -> str:
    """With the author's frames alone, where the author is known: in a run, as opposed to a bare class under test."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return author_traceback(error, folder)
    return "".join(traceback.format_exception(error)).rstrip()


def _filled(message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """A message whose places do not fit its arguments is worth more than an exception out of a logger."""
    if not args and not kwargs:
        return message
    try:
        return message.format(*args, **kwargs) if "{" in message else message % args
    except (LookupError, TypeError, ValueError):
        return f"{message} {args}" if args else message
