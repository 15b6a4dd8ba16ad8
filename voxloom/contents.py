"""Names of contents: what has the same files has the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson

EXECUTABLE = "+x"
"""Follows the sha256 of a file that can be executed; equal bytes without that are another file."""


def marked(sha256: str, *, executable: bool) -> str:
    """What goes into the names of contents for one file."""
    return sha256 + EXECUTABLE if executable else sha256


def canonical(files: Mapping[str, str]) -> bytes:
    """Files by path → sha256, marked, as JSON; the same for the same files."""
    return orjson.dumps(dict(files), option=orjson.OPT_SORT_KEYS)


def digest_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(files)).hexdigest()
