"""Records that earlier versions have made of odd events: they are passed over, and all others are read.

One of them must not keep a service from starting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.records.fold import RunState
from shared.records.ledger import Snapshot
from shared.records.registry import KINDS
from voxloom.ids import is_id
from voxloom.models import ExecutionSummary

_M = TypeVar("_M", bound=BaseModel)
_T = TypeVar("_T")
_ROWS = TypeAdapter(list[ExecutionSummary])
_ODD = {"string_pattern_mismatch", "string_too_long", "timezone_aware", "greater_than_equal", "less_than_equal"}
_log = logging.getLogger("voxloom.records")


def readable_snapshot(key: str, data: bytes) -> Snapshot:
    try:
        snapshot = Snapshot.model_validate_json(data)
    except ValidationError:
        snapshot = _sifted(key, orjson.loads(data))
    kept = {
        "runs": _named(key, snapshot.runs, lambda state: state.run),
        "rows": _named(key, snapshot.rows, lambda row: row.execution_id),
        "settled": _named(key, snapshot.settled, str),
        "deleted": _named(key, snapshot.deleted, str),
        "to_delete": _named(key, snapshot.to_delete, str),
    }
    return snapshot.model_copy(update=kept)


def readable_rows(key: str, data: bytes) -> list[ExecutionSummary]:
    return _named(key, _ROWS.validate_json(data), lambda row: row.execution_id)


def is_odd(error: ValidationError) -> bool:
    """Whether this is wrong in a way in which events may have been. What is wrong otherwise is damaged, or of a newer
    version: to pass it over would lose it."""
    return all(one["type"] in _ODD for one in error.errors(include_url=False, include_context=False))


def _sifted(key: str, data: dict[str, Any]) -> Snapshot:
    """Without what is odd of runs and other kinds. Raises ValidationError where something else is wrong."""
    models = {"runs": RunState} | {kind.field: kind.state for kind in KINDS}
    good = {field: _good(key, data.get(field, []), model) for field, model in models.items()}
    rest = orjson.dumps({**data, **{field: [] for field in good}})
    return Snapshot.model_validate_json(rest).model_copy(update=good)


def _named(key: str, items: list[_T], run_of: Callable[[_T], str]) -> list[_T]:
    """Those of runs that have an id: nobody can ask for the others, nor stop or delete them."""
    good = [item for item in items if is_id(run_of(item))]
    if len(good) < len(items):
        _warn(key, f"{len(items) - len(good)} runs whose ids are no UUIDs")
    return good


def _good(key: str, items: list[Any], model: type[_M]) -> list[_M]:
    found: list[_M] = []
    for item in items:
        try:
            found.append(model.model_validate_json(orjson.dumps(item)))
        except ValidationError as error:
            if not is_odd(error):
                raise
            _warn(key, str(error))
    return found


def _warn(key: str, what: str) -> None:
    _log.warning("%s: passed over, made of an odd event: %s", key, what)
