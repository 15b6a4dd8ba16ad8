"""What is known of a deploy, as a fold over its events, and what REST shows of it."""

from __future__ import annotations

from typing import TypeVar

from messages.base import Event, Subject
from messages.deploys import DeployCompleted, DeployFailed, DeployRequested, DeployStarted
from shared.records.kinds import RecordKind, RecordState, earliest
from voxloom.models import DeployRecord, DeployStatus, Moment, RunError, format_time

_E = TypeVar("_E", bound=Event)


class DeployState(RecordState):
    """All that is kept of one deploy."""

    deploy_id: Subject
    path: str = ""
    requested: Moment | None = None
    asked: DeployRequested | None = None
    """While it has not ended."""
    submitted_by: str | None = None
    started: Moment | None = None
    completed: DeployCompleted | None = None
    failed: DeployFailed | None = None

    @property
    def identity(self) -> str:
        return self.deploy_id

    @property
    def request(self) -> DeployRequested | None:
        return self.asked

    @property
    def status(self) -> DeployStatus:
        if self.completed is not None:
            return DeployStatus.COMPLETED
        if self.failed is not None:
            return DeployStatus.FAILED
        return DeployStatus.RUNNING if self.started else DeployStatus.PENDING

    @property
    def ended(self) -> bool:
        return self.completed is not None or self.failed is not None

    @property
    def error(self) -> RunError | None:
        return self.failed.error if self.failed and not self.completed else None


def fold_deploy(state: DeployState | None, event: Event) -> DeployState:
    """The state after one more event of the same deploy, in whatever order they come. One that was delivered twice may
    end twice: the first success counts."""
    state = state or DeployState(deploy_id=event.subject, project=event.project)
    match event:
        case DeployRequested():
            asked = None if state.ended else event
            told = {"path": event.path, "requested": event.time, "submitted_by": event.actor}
            return state.model_copy(update={**told, "asked": asked})
        case DeployStarted():
            return state.model_copy(update={"started": earliest(state.started, event.time)})
        case DeployCompleted():
            return state.model_copy(update={"completed": _first(state.completed, event), "asked": None})
        case DeployFailed():
            return state.model_copy(update={"failed": _first(state.failed, event), "asked": None})
        case _:
            return state


def _first(known: _E | None, new: _E) -> _E:
    return new if known is None else min(known, new, key=lambda event: (event.time, event.id))


def deploy_record(state: DeployState) -> DeployRecord:
    """What REST shows of it."""
    done = state.completed
    ended = done or state.failed
    return DeployRecord(
        deploy_id=state.deploy_id,
        status=state.status,
        path=state.path,
        algorithm_id=done.algorithm_id if done else None,
        algorithm_name=done.algorithm_name if done else None,
        algorithm_major_version=done.algorithm_major_version if done else None,
        algorithm_minor_version=done.algorithm_minor_version if done else None,
        time_started=format_time(state.requested) if state.requested else "",
        time_completed=format_time(ended.time) if ended else None,
        log=_log(state),
        error=state.error,
        warnings=done.warnings if done else [],
        changed=done.changed if done else None,
        project=state.project,
        submitted_by=state.submitted_by,
    )


def _log(state: DeployState) -> str:
    if state.completed is not None:
        return "\n".join(state.completed.warnings)
    if state.failed is not None:
        return state.failed.log or state.failed.error.message
    return ""


DEPLOY = RecordKind(
    "deploy",
    DeployState,
    fold_deploy,
    collection="deploy-store",
    field="deploys",
    expiry=lambda settings: settings.deploy_expire_days,
)
