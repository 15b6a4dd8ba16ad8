"""Names of contents: what has the same files has the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson


def canonical(files: Mapping[str, str]) -> bytes:
    """Files by path → sha256 as JSON; the same for the same files."""
    return orjson.dumps(dict(files), option=orjson.OPT_SORT_KEYS)


def digest_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(files)).hexdigest()
