"""Events of files. The subject is the file's id."""

from __future__ import annotations

import operator
from typing import Annotated

from pydantic import AfterValidator, Field

from messages.base import Event
from voxloom.models import DatasetInfo, RunError

MOST_NAME_BYTES = 900


def _checked_name(name: str) -> str:
    """Raises ValueError for what cannot be part of a key in the store."""
    if not name.strip() or "\0" in name or len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(f"must be text of 1 to {MOST_NAME_BYTES} bytes without NUL")
    return name


FileName = Annotated[str, AfterValidator(_checked_name)]
"""An id of ours, or what the user has called the file who has put it through a URL."""


class _FileEvent(Event):
    entities = ("file",)
    subject: FileName


class FileUploaded(_FileEvent):
    """The bytes lie in the store and nobody has looked at them yet."""

    verb = "uploaded"
    size: int
    etag: str
    staged: str = ""
    """Where in `data-store` the bytes lie, if not yet in their own place: somebody has put them through a URL."""


class FileCommitted(_FileEvent):
    """The file is readable HDF5 and can be used from now on; it never changes."""

    verb = "committed"
    size: int
    etag: str
    datasets: list[DatasetInfo]


class FileRejected(_FileEvent):
    """The file was refused, and its bytes are gone."""

    verb = "rejected"
    error: RunError


class FileDeleteRequested(_FileEvent):
    """Somebody wants the file gone."""

    verb = "delete-requested"
    expired: bool = Field(False, exclude_if=operator.not_)
    """Nobody wants that; its time is over. What somebody keeps stays."""


class FileDeleted(_FileEvent):
    """The file is gone, and its bytes with it."""

    verb = "deleted"


class FileDeleteRefused(_FileEvent):
    """The file stays: samples refer to it, or it was only to go as its time is over, and somebody keeps it."""

    verb = "delete-refused"
    sample_ids: list[str]
