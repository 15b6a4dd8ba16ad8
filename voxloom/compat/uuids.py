"""Ids under the name that Compox has for them."""

from __future__ import annotations

import uuid

from voxloom.ids import new_id


def generate_uuid(version: int = 1) -> str:
    """A new id of that version, 1 or 4. Raises ValueError for others."""
    if version not in (1, 4):
        raise ValueError(f"There are ids of version 1 and 4 here, not of {version}.")
    return new_id() if version == 1 else str(uuid.uuid4())
