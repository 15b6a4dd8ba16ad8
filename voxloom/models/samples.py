"""Samples: what trainings learn from."""

from __future__ import annotations

from voxloom.models.times import Time
from voxloom.values import Value


class SampleRequest(Value):
    """Which files belong together: `files` has one entry per example, each with the same keys, and under each key the
    ids of its files."""

    files: list[dict[str, list[str]]]
    """One entry for each example, all with the same keys; under each key the ids of its files."""
    tags: list[str] = []
    """Kept in lower case, each once."""


class SampleResponse(Value):
    sample_id: str


class SampleRecord(Value):
    """What a training learns from. Tags are lower case, each once."""

    sample_id: str
    files: list[dict[str, list[str]]]
    tags: list[str] = []
    time_created: Time
    project: str = "default"
