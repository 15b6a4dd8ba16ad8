"""What commands print with `--json`, where it is no record of the server's."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from voxloom.bundles import Packed
from voxloom.filemodels import FileInfo, FileRecord, FileSummary
from voxloom.keepmodels import KeepRecord
from voxloom.models import (
    AlgorithmRecord,
    AuditEntry,
    CheckpointRecord,
    DeadLetterPage,
    DeadLetterRecord,
    DeployRecord,
    ExecutionRecord,
    ExecutionSummary,
    LimitsRecord,
    MemberRecord,
    PrincipalRecord,
    ProjectRecord,
    QueueReport,
    Replayed,
    RetentionRecord,
    TokenMade,
    TokenRecord,
    TrainingRecord,
    TrainingSummary,
    WhoAmI,
    WorkerRecord,
)


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Version(Answer):
    version: str


class Made(Answer):
    """Of `new`."""

    name: str
    algorithm_type: str
    folder: str
    files: list[str]


class Checked(Answer):
    """Of `check`, where it can be deployed."""

    name: str
    version: str
    algorithm_type: str
    warnings: list[str]


class Array(Answer):
    dtype: str
    shape: list[int]


class DebugOutput(Answer):
    datasets: dict[str, Array | str]
    """What is no array, as Python shows it, cut short."""
    file: str | None
    """Where it was saved."""


class LogEntry(Answer):
    level: str
    text: str


class Debugged(Answer):
    outputs: list[DebugOutput]
    ids: list[str]
    """What `postprocess` has returned."""
    log: list[LogEntry]


class Ran(Answer):
    execution: ExecutionRecord
    saved: list[str]
    """Paths."""


class Listed(Answer):
    algorithms: list[AlgorithmRecord]
    executions: list[ExecutionSummary]


class Line(Answer):
    """One of a log."""

    line: str


class Done(Answer):
    """What was done, to which thing."""

    what: str
    said: str


class Removed(Answer):
    """`left`: why these ids could not be removed."""

    kind: str
    removed: list[str]
    left: dict[str, str]


class Saved(Answer):
    execution_id: str
    saved: list[str]


class FileMade(Answer):
    file: str


class BundleMade(Answer):
    file: str
    encrypted: bool
    algorithms: list[Packed]


class BundleInside(Answer):
    bytes: int
    protection: str
    algorithms: list[Any] | None
    """Each as in `BundleMade`, or `{"error": why it cannot be used}`. None: encrypted, and the key is not there."""


class Outcome(Answer):
    """Of one algorithm of a bundle: added, there already, goes on, or refused and why."""

    algorithm: str
    version: str
    outcome: str
    algorithm_id: str
    why: str


class FindingTold(Answer):
    what: str
    seen: str
    next_step: str | None
    """What to do; None: it is well."""
    weak: bool = False
    """It is a choice of the settings that leaves something open to others; `well` does not go by it."""


class Examined(Answer):
    well: bool
    findings: list[FindingTold]


class LoggedIn(Answer):
    """Of `login`. `principal_id`: null where the token does not say."""

    server: str
    principal_id: str | None
    expires_at: str


class PasswordSet(Answer):
    """Of `passwd`. `password`: one that was made up; there is no other copy."""

    principal_id: str
    password: str | None = Field(None, repr=False)


class FirstAdmin(Answer):
    """Of `admin init`."""

    principal_id: str
    project_id: str
    file: str
    """Where their token is."""
    expires_at: str


class KeepTold(KeepRecord):
    """Of one of the things that were named."""

    id: str


class Info(FileRecord, FileInfo):
    """A file's record, and what is in it."""


ANSWERS: dict[str, Any] = {
    "new": Made,
    "check": Checked,
    "debug": Debugged,
    "deploy": DeployRecord,
    "run": Ran,
    "train": TrainingRecord,
    "ls": Listed,
    "ls files": list[FileSummary],
    "ls trainings": list[TrainingSummary],
    "info": Info,
    "status": ExecutionRecord,
    "stop": Done,
    "save": Saved,
    "export": FileMade,
    "rm": Done | Removed,
    "keep": list[KeepTold],
    "release": list[KeepTold],
    "queues": QueueReport,
    "workers": list[WorkerRecord],
    "dead list": DeadLetterPage,
    "dead show": DeadLetterRecord,
    "dead replay": Replayed,
    "bundle keygen": FileMade,
    "bundle build": BundleMade,
    "bundle inspect": BundleInside,
    "bundle import": list[Outcome],
    "login": LoggedIn,
    "logout": Done,
    "passwd": PasswordSet,
    "whoami": WhoAmI,
    "token create": TokenMade,
    "token list": list[TokenRecord],
    "token revoke": Done,
    "audit": list[AuditEntry],
    "admin init": FirstAdmin,
    "admin user list": list[PrincipalRecord],
    "admin user add": PrincipalRecord,
    "admin user disable": PrincipalRecord,
    "admin user enable": PrincipalRecord,
    "admin user remove": Done,
    "admin user link": Done,
    "admin user unlink": Done,
    "admin user logout": Done,
    "admin project list": list[ProjectRecord],
    "admin project add": ProjectRecord,
    "admin project rm": Done,
    "admin member list": list[MemberRecord],
    "admin member set": MemberRecord,
    "admin member remove": Done,
    "admin limits": LimitsRecord,
    "admin retention": RetentionRecord,
    "doctor": Examined,
    "version": Version,
}
"""By command: what its one document is."""
LINES: dict[str, Any] = {"checkpoints": CheckpointRecord, "logs": Line}
"""Of these each line is one."""
