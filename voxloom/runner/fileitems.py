"""Files as authors have them: dicts of what a schema names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voxloom.errors import InvalidInput
from voxloom.imagemeta import Meta
from voxloom.runner import hdf5
from voxloom.runner.schemas import DataSchema, for_file, from_file, wanted_names


def read_item(
    file_id: str,
    path: Path,
    schema: type[DataSchema],
    keys: Sequence[str],
    allocate: hdf5.Allocate,
    metas: dict[str, Meta],
    warn: hdf5.Warn,
) -> dict[str, Any]:
    names = wanted_names(schema, keys)
    named = dict.fromkeys(names) if keys and names else {}  # a dataset that was named and is absent reads as None
    try:
        return from_file(schema, named | hdf5.read(path, names, allocate, warn, metas))
    except (ValidationError, InvalidInput) as error:
        error.add_note(f"while reading the file {file_id}{_contents(path)}")
        raise


def _contents(path: Path) -> str:
    try:
        return f", which holds {', '.join(hdf5.names_in(path)) or 'no dataset'}"
    except (InvalidInput, OSError, RuntimeError):  # it is the file that is broken: the error says so
        return ""


def encode_item(index: int, item: Any, schema: type[DataSchema]) -> dict[str, Any]:
    try:
        return {name: hdf5.encode(name, value) for name, value in for_file(schema, item).items()}
    except (ValidationError, InvalidInput) as error:
        error.add_note(f"in item {index} of post_data; nothing has been stored")
        raise
