"""What a runner process does with the frames it gets: load the algorithm once, run it again and again."""

from __future__ import annotations

import contextvars
import os
import queue
import resource
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from voxloom.errors import VoxloomError
from voxloom.runner import frames, threadlimits
from voxloom.runner.base import BaseRunner, benchmark, execute, make, train
from voxloom.runner.benchmarkhandler import BenchmarkHandler
from voxloom.runner.cards import CARD_FULL, full_card, is_full_card
from voxloom.runner.channel import Channel, ChannelClosed, die
from voxloom.runner.cleaning import Cleaner, Verdict
from voxloom.runner.details import details_of
from voxloom.runner.exceptions import TaskStoppedException, text_of
from voxloom.runner.handler import TaskHandler
from voxloom.runner.importing import ModuleUnusable, load_runner_class
from voxloom.runner.limits import DISK_FULL, NO_PROCESS, disk_full, is_disk_full, is_no_process, no_process
from voxloom.runner.link import WorkerLink
from voxloom.runner.output import Outbox, Output
from voxloom.runner.sessions import Sessions
from voxloom.runner.tempfolder import TempFolder
from voxloom.runner.traininghandler import TrainingHandler
from voxloom.values import RunError

_HOME = "/"
"""Where the process stands between runs, whose folders are removed."""
_IMPORT_FAILED = "algorithm_import_failed"
_OUT_OF_MEMORY = "out_of_memory"
_MAX_MESSAGE = 4000
"""Characters of an error that go into the record; the log has it whole."""

NOT_USED_AGAIN = "The next run gets a new process"

_HANDLERS: dict[str, type[TaskHandler]] = {
    "execution": TaskHandler,
    "training": TrainingHandler,
    "benchmark": BenchmarkHandler,
}

Outcome = Literal["completed", "failed", "stopped"]


class Given(NamedTuple):
    """What a run has come to: an execution's outputs, a benchmark's data."""

    outputs: list[str] = []
    data: dict[str, Any] = {}


class ImportFailed(Exception):
    """The algorithm cannot be imported, or is none. Its cause is what the author's code raised, if it was that."""


class Host:
    """The life of a runner process after its start."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._outbox = Outbox(
            lambda run, text: channel.send(frames.Logged(run=run, text=text)),
            lambda run, progress: channel.send(frames.Progress(run=run, progress=progress)),
            lambda run, state: channel.send(frames.State(run=run, state=state)),
        )
        self._output = Output(self._outbox)
        self._sessions = Sessions()
        self._temporary = TempFolder()
        self._runs: queue.SimpleQueue[WorkerLink | None] = queue.SimpleQueue()
        self._link: WorkerLink | None = None
        self._runner: BaseRunner | None = None
        self._cleaner = Cleaner()
        self._context = contextvars.copy_context()
        """As `load_assets` has left it; each run has a copy, and numpy's and decimal's ways to calculate with it."""

    def serve(self) -> None:
        """Returns when the worker has no further runs."""
        os.register_at_fork(after_in_child=self._disown)
        self._output.take_over()
        threading.Thread(target=self._read, name="voxloom-reader", daemon=True).start()
        try:
            self._channel.send(frames.Ready(pid=os.getpid()))
            while (link := self._runs.get()) is not None:
                self._send_end(self._serve_run(link))
        except ChannelClosed as error:
            die(error)

    def _send_end(self, ended: frames.Ended) -> None:
        try:
            self._channel.send(ended)
        except (frames.BrokenFrame, ValueError) as error:  # outputs without measure, or of no valid text
            why = RunError(
                type="InvalidOutputs", message=f"The outputs cannot be sent: {error}", code="invalid_outputs"
            )
            self._channel.send(ended.model_copy(update={"outcome": "failed", "outputs": [], "error": why}))

    def _disown(self) -> None:
        self._channel.disown()
        self._outbox.disown()

    # --- the reading thread -------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while True:
                self._take(self._channel.receive())
        except ChannelClosed as error:
            die(error)
        except frames.BrokenFrame as error:
            os.write(2, f"{error}\n".encode())
            die()

    def _take(self, frame: frames.ToRunner) -> None:
        if isinstance(frame, frames.Run):
            self._link = WorkerLink(frame, self._channel, self._outbox, self._sessions)
            self._runs.put(self._link)
        elif isinstance(frame, frames.Leave):
            self._runs.put(None)
        elif self._link is None:
            return
        elif isinstance(frame, frames.Answer):
            self._link.answer(frame)
        elif frame.run == self._link.task_id:
            self._link.stop()

    # --- the main thread ----------------------------------------------------------------------------------

    def _serve_run(self, link: WorkerLink) -> frames.Ended:
        frame = link.frame
        self._begin(frame)
        handler = _HANDLERS[frame.task](link)
        outcome, given, error = self._outcome_of(lambda: self._run(frame, handler))
        self._keep_session(link)
        link.close()
        verdict = self._clean(frame)
        self._output.end_run()
        os.chdir(_HOME)
        return frames.Ended(
            run=frame.run,
            outcome=outcome,
            outputs=given.outputs,
            data=given.data,
            progress=handler.reported,
            error=error,
            peak_memory_bytes=peak_memory(),
            log_dropped=self._outbox.dropped,
            reusable=self._is_reusable(frame, error) and not verdict.reasons,
            module_changed=verdict.module_changed,
        )

    def _clean(self, frame: frames.Run) -> Verdict:
        verdict = self._cleaner.clean(frame.scratch)
        self._output.use_streams()
        if verdict.reasons:
            self._outbox.log("INFO", f"{NOT_USED_AGAIN}: {'; '.join(verdict.reasons)}.")
        return verdict

    def _keep_session(self, link: WorkerLink) -> None:
        """A run that has come to its end does not fail because its items cannot be kept."""
        try:
            if link.session is not None:
                link.session.end()
        except (Exception, TaskStoppedException) as error:  # noqa: BLE001  # items are the author's, and may do anything
            self._outbox.log("WARNING", f"The session's items are kept in this process alone: {message_of(error)}")

    def _is_reusable(self, frame: frames.Run, error: RunError | None) -> bool:
        """What has been trained is another model than the one that was loaded."""
        fit = self._runner is not None and frame.task != "training"
        return fit and not (error and error.code in (_OUT_OF_MEMORY, CARD_FULL))

    def _begin(self, frame: frames.Run) -> None:
        self._outbox.begin(frame.run, frame.log_limit)
        self._output.use_streams()
        self._output.handler.folder = frame.module_dir
        os.chdir(frame.scratch)
        self._temporary.use(frame.scratch)
        # Nothing that asks for cards has been imported before the first run, and all of a process's runs have the same.
        os.environ["CUDA_VISIBLE_DEVICES"] = frame.visible_cards
        threadlimits.limit(frame.environment)
        reset_peak_memory()
        for note in frame.notes:
            self._outbox.log("WARNING", note)

    def _run(self, frame: frames.Run, handler: TaskHandler) -> Given:
        runner = self._runner or self._context.run(self._load, Path(frame.module_dir), handler)
        with warnings.catch_warnings():
            return self._context.copy().run(_perform, runner, frame, handler)

    def _load(self, folder: Path, handler: TaskHandler) -> BaseRunner:
        self._cleaner.begin(folder)
        runner = make(_import(folder), handler)
        self._cleaner.remember()
        self._runner = runner
        return runner

    def _outcome_of(self, work: Callable[[], Given]) -> tuple[Outcome, Given, RunError | None]:
        try:
            return "completed", work(), None
        except TaskStoppedException:
            return "stopped", Given(), None
        except BaseException as error:  # noqa: BLE001  # SystemExit, too: the run has failed, the process stays
            self._log_error(error)
            return "failed", Given(), run_error(error)

    def _log_error(self, error: BaseException) -> None:
        shown = error.__cause__ if isinstance(error, ImportFailed) and error.__cause__ is not None else error
        self._outbox.log("ERROR", self._output.traceback_of(shown))


def _perform(runner: BaseRunner, frame: frames.Run, handler: TaskHandler) -> Given:
    match frame.task:
        case "training":
            train(runner, handler, frame.sample_ids, frame.args)
            return Given()
        case "benchmark":
            return Given(data=benchmark(runner, handler, frame.args))
        case "execution":
            inputs = {"input_dataset_ids": list(frame.input_dataset_ids)}
            return Given(outputs=execute(runner, handler, inputs, frame.args))


def _import(folder: Path) -> type[BaseRunner]:
    try:
        return checked_class(load_runner_class(folder))
    except ModuleUnusable as error:
        raise ImportFailed(str(error)) from None
    except (Exception, SystemExit) as error:
        raise ImportFailed(f"The algorithm cannot be imported: {_described(error)}") from error


def checked_class(runner_class: type) -> type[BaseRunner]:
    """Raises ModuleUnusable for a class that cannot be run."""
    if not issubclass(runner_class, BaseRunner):
        raise ModuleUnusable("The class Runner in Runner.py has to derive from voxloom.Runner, or one of its family.")
    if missing := sorted(runner_class.__abstractmethods__):
        raise ModuleUnusable(f"The class Runner in Runner.py lacks {', '.join(missing)}: define every step of a run.")
    return runner_class


def run_error(error: BaseException) -> RunError:
    """What the record says of an exception that came out of a run."""
    try:
        details = details_of(error)
    except Exception:  # noqa: BLE001  # the author's code
        details = None
    return _run_error(error).model_copy(update={"details": details})


def _run_error(error: BaseException) -> RunError:
    name = type(error).__name__
    message = message_of(error) or name
    if isinstance(error, ImportFailed):
        cause = error.__cause__
        return RunError(type=type(cause).__name__ if cause else name, message=message, code=_IMPORT_FAILED)
    if isinstance(error, VoxloomError):
        return RunError(type=name, message=message, code=error.code, retryable=error.retryable)
    if is_full_card(error):
        return RunError(type=name, message=full_card(message), code=CARD_FULL)
    if is_no_process(error):
        return RunError(type=name, message=no_process(message), code=NO_PROCESS)
    if is_disk_full(error):
        return RunError(type=name, message=disk_full(message), code=DISK_FULL, retryable=True)
    if isinstance(error, MemoryError):
        message = message_of(error) or "The run needs more memory than it may have."
        return RunError(type=name, message=message, code=_OUT_OF_MEMORY)
    if isinstance(error, SystemExit):
        return RunError(type=name, message=f"The algorithm called sys.exit({message}).", code="runner_exited")
    return RunError(type=name, message=message, code="algorithm_error")


def message_of(error: BaseException) -> str:
    """What it says, fit to be sent: not endless, valid Unicode, and there even if the author's `__str__` is broken."""
    try:
        text = text_of(error)
    except Exception:  # noqa: BLE001  # the author's code
        return "(its message cannot be shown)"
    text = text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]} …"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {message_of(error)}"


# --- memory -----------------------------------------------------------------------------------------------


def reset_peak_memory() -> None:
    """Lets the peak start anew, where the system can; else a warm process reports the highest of all its runs."""
    if sys.platform == "linux":
        _write_if_allowed("/proc/self/clear_refs", "5")


def peak_memory() -> int:
    """The most resident memory, in bytes, since the last reset."""
    if sys.platform == "linux":
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _write_if_allowed(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return  # a container without /proc access: the peak is that of the process, which is still an upper bound
