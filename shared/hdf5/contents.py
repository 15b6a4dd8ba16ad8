"""What is in an open file: its datasets with how they are stored, small attributes, and statistics of small ones."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s

from shared.hdf5.inspector import Inspection
from voxloom.hdf5 import chunks, links, text
from voxloom.hdf5.filters import NAMES

MOST_DATASETS = 1000
"""That are told of one by one."""
MOST_ATTRIBUTES = 64
MOST_ATTRIBUTE_BYTES = 1024
MOST_COUNTED = 64 << 20
"""Bytes of values of which statistics are made, all datasets together."""
_TOO_LARGE = f"statistics are made of {MOST_COUNTED} bytes of a file at most; look at slices"


def describe(file: Any, size: int, limit: int) -> dict[str, Any]:
    """`size`: of the file in bytes; `limit`: bytes that its datasets may declare. Raises Refused."""
    found = Inspection(file, size, limit).named()
    left = MOST_COUNTED
    datasets = []
    seen: dict[int, dict[str, Any]] = {}
    for name, known in found[:MOST_DATASETS]:
        dataset = links.find_dataset(file, name)
        address = links.address(dataset)
        if address not in seen:
            seen[address], counted = _describe(h5py.Dataset(dataset), known, left)
            left -= counted
        datasets.append({**seen[address], "name": known["name"]})
    return {"datasets": datasets, "datasets_left_out": max(0, len(found) - MOST_DATASETS)}


def _describe(dataset: Any, known: dict[str, Any], left: int) -> tuple[dict[str, Any], int]:
    """With the bytes that statistics were made of."""
    size = 0 if dataset.shape is None else math.prod(dataset.shape) * dataset.id.get_type().get_size()
    why = _why_not(dataset, known["dtype"], size, left)
    attributes, others = _attributes(dataset.id)
    described = {
        **known,
        "chunks": None if dataset.chunks is None else list(map(int, dataset.chunks)),
        "compression": _filters(dataset.id.get_create_plist()),
        "size_bytes": size,
        "stored_bytes": int(dataset.id.get_storage_size()),
        "attributes": attributes,
        "attributes_left_out": others,
        "statistics": _statistics(chunks.read(dataset)) if why is None else None,
        "statistics_absent": why,
    }
    return described, size if why is None else 0


def _filters(plan: Any) -> list[str]:
    codes = [plan.get_filter(at)[0] for at in range(plan.get_nfilters())]
    return [NAMES.get(code, str(code)) for code in codes]


def _why_not(dataset: Any, dtype: str, size: int, left: int) -> str | None:
    """What keeps us from making statistics."""
    if dtype in ("str", "object") or np.dtype(dtype).kind not in "biuf" or np.dtype(dtype).subdtype:
        return "its values are no real numbers"
    if size == 0:
        return "it is empty"
    chunk = math.prod(dataset.chunks or ()) * np.dtype(dtype).itemsize
    return _TOO_LARGE if max(size, chunk) > left else None


def _statistics(values: Any) -> dict[str, float | int | None]:
    """Of the finite values."""
    array = np.asarray(values)
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return {"min": None, "max": None, "mean": None}
    mean = float(finite.mean(dtype=np.float64))
    least, greatest = finite.min().item(), finite.max().item()
    if array.dtype.kind == "f":
        least, greatest = float(least), float(greatest)
    return {"min": least + 0, "max": greatest + 0, "mean": mean if math.isfinite(mean) else None}


def _attributes(dataset: Any) -> tuple[dict[str, Any], int]:
    """Those that are small, and how many others there are."""
    count = h5a.get_num_attrs(dataset)
    told: dict[str, Any] = {}
    for index in range(min(count, MOST_ATTRIBUTES)):
        attribute = h5a.open(dataset, index=index)
        value = _value(attribute)
        if value is not None:
            told[attribute.name.decode(errors="replace")] = value
    return told, count - len(told)


def _value(attribute: Any) -> Any:
    """As JSON; None for what is too large for that, or no number and no text."""
    space, kind = attribute.get_space(), attribute.get_type()
    if space.get_simple_extent_type() == h5s.NULL or attribute.get_storage_size() > MOST_ATTRIBUTE_BYTES:
        return None
    if isinstance(kind, h5py.h5t.TypeStringID):
        return _text(attribute, kind) if attribute.shape == () else None
    try:
        dtype = np.dtype(attribute.dtype)
    except (TypeError, ValueError):
        return None
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        return None
    array = np.zeros(attribute.shape, dtype)
    attribute.read(array)
    return array.tolist() if np.isfinite(array).all() and dtype.itemsize <= 8 else None


def _text(attribute: Any, kind: Any) -> str | None:
    array = np.empty((), dtype=kind.dtype)
    attribute.read(array)
    value: Any = array[()]
    raw = value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
    return text.decoded(raw)[0] if len(raw) <= MOST_ATTRIBUTE_BYTES else None
