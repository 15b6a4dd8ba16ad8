"""How a run ends, as far as its author's code says so."""

from __future__ import annotations

from typing import Any, get_args

from voxloom.errors import InvalidInput
from voxloom.runner.exceptions import InvalidOutputs, RunMarkedFailed, TaskStoppedException, kind_of
from voxloom.values import RunStatus, format_time, utc_now

STATUSES: tuple[str, ...] = get_args(RunStatus)


class Ending:
    """What handlers have of it. Records are the server's; what is set here is what the author's code reads here."""

    def __init__(self) -> None:
        self.reported = 0.0
        """The progress that the author's code has reported last: what the record of a run that is stopped keeps."""
        self._progress = 0.0
        self._status = "RUNNING"
        self._outputs: list[str] | None = None
        self._failure: BaseException | None = None
        self._ended_at = ""

    @property
    def output_dataset_ids(self) -> list[str]:
        """What the run has given back; empty until it has completed."""
        return self._outputs or []

    @output_dataset_ids.setter
    def output_dataset_ids(self, output_dataset_ids: Any) -> None:
        """They are what the run comes to, unless it is marked as completed with others."""
        self._outputs = checked_outputs(output_dataset_ids)

    @property
    def status(self) -> str:
        """RUNNING, until the run is marked as something else."""
        return "FAILED" if self._failure is not None else self._status

    @status.setter
    def status(self, status: str) -> None:
        if status not in STATUSES:
            raise InvalidInput(f"{status!r} is no status of a run: use one of {', '.join(STATUSES)}.")
        self._status = status

    @property
    def time_completed(self) -> str:
        """When it was marked as completed, failed or stopped; empty before that."""
        return self._ended_at

    @time_completed.setter
    def time_completed(self, time_completed: str) -> None:
        self._ended_at = str(time_completed)

    def mark_as_completed(self, output_dataset_ids: Any) -> None:
        """Hands the run's outputs over. Raises InvalidOutputs unless they are a list of str."""
        self._outputs = checked_outputs(output_dataset_ids)
        self._mark("COMPLETED")

    def mark_as_failed(self, e: BaseException | str | None = None) -> None:
        """The run will end FAILED for this reason, whatever it still does. A stop is no failure and changes nothing."""
        if isinstance(e, TaskStoppedException):
            return
        if not isinstance(e, BaseException):
            e = RunMarkedFailed(e or "The algorithm has marked its run as failed, without a reason.")
        self._failure, self._outputs = e, None
        self._mark("FAILED")

    def mark_as_stopped(self) -> None:
        """Ends the run as STOPPED. Raises TaskStoppedException."""
        self._status, self._ended_at = "STOPPED", format_time(utc_now())
        raise TaskStoppedException

    def _mark(self, status: str) -> None:
        self._status, self._progress, self._ended_at = status, 1.0, format_time(utc_now())

    def given_outputs(self) -> list[str]:
        """What an execution has come to. Raises what it was marked as failed with, and InvalidOutputs for none."""
        self.raise_failure()
        if self._outputs is None:
            raise InvalidOutputs(
                "The run has given no outputs: where `run` is overridden, it must call super().run(...)."
            )
        return self._outputs

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def checked_outputs(outputs: Any) -> list[str]:
    """What `postprocess` returned, as a list; free text is as good as a file's id."""
    wish = "return a list of ids, for example what self.post_data(...) returns"
    if not isinstance(outputs, list | tuple):
        raise InvalidOutputs(f"postprocess returned {kind_of(outputs)}: {wish}.")
    for index, item in enumerate(outputs):
        if not isinstance(item, str):
            raise InvalidOutputs(f"postprocess returned a list whose item {index} is {kind_of(item)}: {wish}.")
    return list(outputs)
