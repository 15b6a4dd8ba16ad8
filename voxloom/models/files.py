"""Files and what is in them."""

from __future__ import annotations

from voxloom.values import Value


class DatasetInfo(Value):
    """One dataset of an HDF5 file: its path inside the file, shape, and numpy dtype string."""

    name: str
    shape: list[int]
    dtype: str


class FileUploadResponse(Value):
    file_id: str


class UrlResponse(Value):
    """A URL that is good for an hour, for whoever has it."""

    url: str
