"""Tries whether an algorithm can be loaded: `python -m voxloom.runner.check FOLDER REPORT MEMORY SECONDS [NOTES]`.

The folder is the algorithm's as it was deployed. What came of it is written to the file REPORT as JSON,
`{"fault": null, "input_schema": "ImageSchema"}` or `{"fault": "a sentence", "trace": "lines"}`; a process that ends
without a report has been ended by the algorithm's own code, or by a limit: MEMORY bytes of address space, SECONDS of
processor time. What the code prints goes to standard output and error, as always. NOTES is a file that says how long
libraries took (voxloom.runner.libraries). On SIGUSR1 it prints where it is.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import signal
import sys
import traceback
from pathlib import Path

from voxloom.runner import children, libraries
from voxloom.runner.importing import RUNNER, ModuleUnusable, load_runner_class

LONGEST_TRACE = 30
"""Lines; the last ones say what went wrong."""
LONGEST_LINE = 500
"""Characters; an exception may say anything."""


class Fault(Exception):
    """The algorithm cannot be loaded; a sentence for its author, and the traceback where there is one."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.trace = trace


def check(folder: Path) -> str:
    """Imports the algorithm, and makes a Runner of it. The schema that its inputs must fit, where the class leaves
    reading them to its family; else empty. Raises Fault."""
    try:
        runner = load_runner_class(folder)
    except ModuleUnusable as error:
        raise Fault(str(error)) from None
    except BaseException as error:  # noqa: BLE001 - an algorithm may raise anything, SystemExit too
        raise Fault(f"Runner.py cannot be imported: {_told(error, folder)}", _trace(error, folder)) from None
    _check_class(runner)
    _make(runner, folder)
    return input_schema_of(runner)


def _check_class(runner: type) -> None:
    from voxloom.runner import BaseRunner

    if not issubclass(runner, BaseRunner):
        raise Fault(
            f"The class {RUNNER} in Runner.py is no runner: derive it from voxloom.Runner or one of its family, "
            "for example voxloom.runner.Image2ImageRunner."
        )


def input_schema_of(runner: type) -> str:
    """`ImageSchema`, or nothing where the author reads inputs in a way of their own: what they take is not known."""
    from voxloom.runner.family import _FamilyRunner
    from voxloom.runner.schemas import ImageSchema

    if not issubclass(runner, _FamilyRunner) or runner.input_schema is not ImageSchema:
        return ""
    reading = ("run", "preprocess_base", "preprocess", "fetch_data", "_fetch_stack")
    own = any(getattr(runner, name) is not getattr(_FamilyRunner, name) for name in reading)
    return "" if own else ImageSchema.__name__


def _make(runner: type, folder: Path) -> None:
    from voxloom.runner import NoRun

    try:
        runner()
    except NoRun:
        return  # Its `__init__` calls the API, which works in a run only.
    except BaseException as error:  # noqa: BLE001 - as above
        raise Fault(f"{RUNNER}() cannot be made: {_told(error, folder)}", _trace(error, folder)) from None


def _told(error: BaseException, folder: Path) -> str:
    """What was raised and where, and, where that is known, what to do."""
    text = " ".join(str(error).split()).rstrip(".")[:300]
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{told}{_place(error, folder)}.{_advice(error)}"


def _place(error: BaseException, folder: Path) -> str:
    """The author's line that raised it; a SyntaxError says so itself."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"{folder}/")]
    if not frames or isinstance(error, SyntaxError):
        return ""
    return f" ({frames[-1].filename.removeprefix(f'{folder}/')}, line {frames[-1].lineno})"


def _advice(error: BaseException) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    return (
        " Install its package into the Python that the server runs in, or put the module into the algorithm's folder."
    )


def _trace(error: BaseException, folder: Path) -> str:
    """The last lines, with paths as the author knows them; never the values of variables."""
    lines = "".join(traceback.format_exception(error)).splitlines()[-LONGEST_TRACE:]
    return "\n".join(line[:LONGEST_LINE] for line in lines).replace(f"{folder}/", "")


def limit_process(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main(arguments: list[str]) -> None:
    folder, report, memory, seconds, *notes = arguments
    children.adopt()
    limit_process(int(memory), int(seconds))
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    if notes:
        libraries.watch(Path(folder), Path(notes[0]))
    verdict: dict[str, str | None] = {"fault": None}
    try:
        verdict["input_schema"] = check(Path(folder))
    except Fault as fault:
        verdict = {"fault": fault.message, "trace": fault.trace}
    Path(report).write_text(json.dumps(verdict), encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main(sys.argv[1:])
