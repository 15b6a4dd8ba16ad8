# Generated from voxloom/client/_async/pages.py by `python -m voxloom.client._generate`; edit that file.

"""Lists that a server tells page by page, as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from voxloom.client._pages import next_cursor
from voxloom.client._problems import parse_list
from voxloom.client._sync.transport import Transport

M = TypeVar("M", bound=BaseModel)

_PAGE = 100


def pages(transport: Transport, path: str, model: type[M], query: Mapping[str, Any], limit: int | None) -> Iterator[M]:
    """The items, fetched as they are asked for; `limit` of them at most."""
    params = dict(query)
    left = limit
    while left is None or left > 0:
        params["limit"] = _PAGE if left is None else min(left, _PAGE)
        response = transport.request("GET", path, params=params)
        items = parse_list(model, response)
        yield from items[:left]
        left = None if left is None else left - len(items)
        params["cursor"] = next_cursor(response)
        if params["cursor"] is None:
            return
