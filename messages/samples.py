"""Events of samples. The subject is the sample's id."""

from __future__ import annotations

from messages.base import Event


class SampleCreated(Event):
    """It can be trained on; its files do not expire."""

    entities = ("sample",)
    verb = "created"
    tags: list[str]
    file_count: int


class SampleDeleted(Event):
    """It is gone; its files live as long as other files, unless other samples refer to them."""

    entities = ("sample",)
    verb = "deleted"
