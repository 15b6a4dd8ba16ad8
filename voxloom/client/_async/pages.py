"""Lists that a server tells page by page, as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from voxloom.client._async.transport import AsyncTransport
from voxloom.client._pages import next_cursor
from voxloom.client._problems import parse_list

M = TypeVar("M", bound=BaseModel)

_PAGE = 100


async def pages(
    transport: AsyncTransport, path: str, model: type[M], query: Mapping[str, Any], limit: int | None
) -> AsyncIterator[M]:
    """The items, fetched as they are asked for; `limit` of them at most."""
    params = dict(query)
    left = limit
    while left is None or left > 0:
        params["limit"] = _PAGE if left is None else min(left, _PAGE)
        response = await transport.request("GET", path, params=params)
        items = parse_list(model, response)
        for item in items[:left]:
            yield item
        left = None if left is None else left - len(items)
        params["cursor"] = next_cursor(response)
        if params["cursor"] is None:
            return
