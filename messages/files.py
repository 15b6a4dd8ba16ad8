"""Events of files. The subject is the file's id."""

from __future__ import annotations

from messages.base import Event
from voxloom.models import DatasetInfo, RunError


class FileUploaded(Event):
    """The bytes lie in the store and nobody has looked at them yet."""

    entity = "file"
    verb = "uploaded"
    size: int
    etag: str
    staged: str = ""
    """Where in `data-store` the bytes lie, if not yet in their own place: somebody has put them through a URL."""


class FileCommitted(Event):
    """The file is readable HDF5 and can be used from now on; it never changes."""

    entity = "file"
    verb = "committed"
    size: int
    etag: str
    datasets: list[DatasetInfo]


class FileRejected(Event):
    """The file was refused, and its bytes are gone."""

    entity = "file"
    verb = "rejected"
    error: RunError


class FileDeleteRequested(Event):
    """Somebody wants the file gone."""

    entity = "file"
    verb = "delete-requested"


class FileDeleted(Event):
    """The file is gone, and its bytes with it."""

    entity = "file"
    verb = "deleted"


class FileDeleteRefused(Event):
    """The file stays: samples refer to it."""

    entity = "file"
    verb = "delete-refused"
    sample_ids: list[str]
