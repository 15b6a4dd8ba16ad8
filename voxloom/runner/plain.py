"""Values as JSON has them: what authors report may hold numpy's numbers and arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from voxloom.errors import InvalidInput
from voxloom.runner.exceptions import kind_of

_DEEPEST = 50


class NotPlain(InvalidInput):
    code = "not_json"


def plain_dict(value: Any, what: str) -> dict[str, Any]:
    """A copy in which everything is JSON's. Numpy's numbers and arrays become numbers and lists; what is not finite
    becomes None, since JSON has no word for it. Raises NotPlain, a ValueError."""
    if not isinstance(value, Mapping):
        raise NotPlain(f"{what} must be a dict, not {kind_of(value)}.")
    return {_key(key, what): _plain(item, f"{what}[{key!r}]", 0) for key, item in value.items()}


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise NotPlain(f"{where} is nested too deeply, or contains itself.")
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    raise NotPlain(f"{where} is {kind_of(value)}, which JSON cannot hold: use numbers, text, lists and dicts.")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str | int):
        raise NotPlain(f"A key in {where} is {kind_of(key)}: keys are text.")
    return str(key)
