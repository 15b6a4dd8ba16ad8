"""What a server tells of its files: records, and what is inside."""

from __future__ import annotations

from typing import Any, Literal

from voxloom.models import Time, Value

FileKind = Literal["upload", "output"]
"""Who has made a file: a client, or a run."""


class FileSummary(Value):
    """A file in a list."""

    file_id: str
    size_bytes: int
    etag: str
    """Of the bytes, as in the header of a download; without quotes."""
    time_created: Time
    kind: FileKind
    project: str
    execution_id: str | None = None
    """The run that has written it."""
    attempt: int | None = None
    """Of that run."""
    expires_at: Time | None = None
    """It may be gone from then on; None: it stays. In lists only where `expiring_within` is asked for."""


class FileRecord(FileSummary):
    """One file."""

    state: Literal["available", "deleting"]
    """`available`, or `deleting`: a client has asked for that a moment ago."""
    sample_ids: list[str]
    """The samples that refer to it; while there are any, it cannot be deleted and does not expire."""
    expires: Time | None = None
    """It may be gone from then on; None: it stays, while samples or long runs use it or if files do not expire."""
    kept: bool = False
    """Somebody keeps it, or the run that has made it: it does not expire."""
    digest: str | None = None
    """`sha-256:<hex>` of the bytes. None: it is not known; an output's comes a moment after its run has ended."""


class Statistics(Value):
    """Of all values of a dataset that are numbers; None where there is none."""

    min: float | int | None = None
    max: float | int | None = None
    mean: float | None = None


class DatasetRecord(Value):
    """One dataset of a file."""

    name: str
    shape: list[int]
    dtype: str
    """A numpy dtype string; `str` for text of any length, `object` for what numpy has no type for."""
    chunks: list[int] | None = None
    """None: in one piece."""
    compression: list[str] = []
    """Its filters, in the order in which they were applied: gzip, lzf, shuffle and so on."""
    size_bytes: int
    """Of its values in memory."""
    stored_bytes: int
    """In the file."""
    attributes: dict[str, Any] = {}
    """Those that are small."""
    attributes_left_out: int = 0
    statistics: Statistics | None = None
    statistics_absent: str | None = None
    """Why there are none."""


class FileInfo(Value):
    """What is in a file."""

    file_id: str
    size_bytes: int
    datasets: list[DatasetRecord]
    """In the order of their names."""
    datasets_left_out: int = 0
    """More than could be told."""
