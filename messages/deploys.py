"""Events of deploys (the subject is the deploy's id) and of algorithms (the algorithm's id)."""

from __future__ import annotations

from messages.base import Event
from voxloom.models import DeployOverrides, RunError


class DeployRequested(Event):
    """A zip with an algorithm lies in `deploy-store` under `source_key`. `path` is what the user called it.

    `merge`: a minor version that has the same content already, also an older one, is left as it is.
    """

    entities = ("deploy",)
    verb = "requested"
    source_key: str
    path: str
    overrides: DeployOverrides = DeployOverrides()
    merge: bool = False


class DeployStarted(Event):
    """The deployer looks into the zip; said again when it is tried again."""

    entities = ("deploy",)
    verb = "started"


class DeployCompleted(Event):
    """`changed` is false where module and assets equalled the latest minor version already stored."""

    entities = ("deploy",)
    verb = "completed"
    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str
    changed: bool
    warnings: list[str] = []


class DeployFailed(Event):
    """The algorithm cannot be used; nothing of it is kept."""

    entities = ("deploy",)
    verb = "failed"
    error: RunError
    log: str = ""


class AlgorithmDeleteRequested(Event):
    """Without `minor`: the algorithm whole. `regardless`: an operator's word, which `removable` does not bind."""

    entities = ("algorithm",)
    verb = "delete-requested"
    minor: str | None = None
    regardless: bool = False


class AlgorithmDeleted(Event):
    """Answers one delete request (`request_id` is that event's id)."""

    entities = ("algorithm",)
    verb = "deleted"
    request_id: str
    minor: str | None = None


class AlgorithmDeleteRefused(Event):
    """Answers one delete request (`request_id` is that event's id)."""

    entities = ("algorithm",)
    verb = "delete-refused"
    request_id: str
    error: RunError
