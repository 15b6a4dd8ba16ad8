"""Pages of a list: how every list route of /api/v1 takes `limit` and `cursor`, and answers.

The contract, for a route that lists:

* its query model is a subclass of `PageQuery`, with the filters and `sort` of its own;
* an item's *position* is a tuple of ints, floats and strings that sorts the list and names one item only: what is
  sorted by, then the id. `None` sorts nowhere; take a value that does, such as "" or 0.0;
* what is in memory is cut by `page_of(items, position, query, order)`; what an index finds, `Catalog` does so, asks
  `position_of(query, order, int, str)` where to go on (None: at the beginning) and makes `Page(items, next_cursor)`
  itself, with `cursor_at(order, position of the last item)` where there is more;
* `order` names list and sort ("files:newest"): a cursor of another list or sort is refused, as is a made-up one, with
  422 `request_validation_error`. Filters are not in the cursor: a client gives them again with every page;
* the answer is `page_answer(request, page)`: a JSON list, `[]` where there is nothing, and where there is more the
  header `Link: </path?…&cursor=…>; rel="next"`. In its route it is `Many(Model)`.

A cursor says after which position to go on, not how many items came before. So an item that stays where it is is shown
once, whatever comes and goes meanwhile, and a cursor whose item is gone is still good, also at another gateway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from services.gateway.http.payloads import json_bytes
from voxloom.errors import InvalidInput
from voxloom.models import Value

MOST_ITEMS = 1000

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Position = tuple[int | float | str, ...]

_LARGEST = 1 << 63


class PageQuery(Value):
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS, description="Items of one page.")] = 100
    cursor: Annotated[str | None, Field(description="From the `Link` header of the page before; empty: no such.")] = (
        None
    )


@dataclass(frozen=True)
class Page(Generic[T]):
    items: list[T]
    next_cursor: str | None = None
    """None: this is the last page."""


def page_of(
    items: Iterable[T], position: Callable[[T], Position], query: PageQuery, order: str, *, descending: bool = False
) -> Page[T]:
    """The page that is asked for of what is in memory, sorted by `position`. Raises InvalidInput."""
    placed = sorted(((position(item), item) for item in items), key=lambda pair: pair[0], reverse=descending)
    after = position_of(query, order, *(type(part) for part in placed[0][0]) if placed else ())
    if after is not None:
        placed = [pair for pair in placed if (pair[0] < after if descending else pair[0] > after)]
    more = len(placed) > query.limit
    last = placed[query.limit - 1][0] if more else None
    return Page([item for _, item in placed[: query.limit]], cursor_at(order, last) if last is not None else None)


def page_answer(request: web.Request, page: Page[M]) -> web.Response:
    body = b",".join(item.__pydantic_serializer__.to_json(item) for item in page.items)
    return json_bytes(b"[%b]" % body, headers=_link(request, page.next_cursor))


def _link(request: web.Request, cursor: str | None) -> dict[str, str]:
    if cursor is None:
        return {}
    query = [(name, value) for name, value in request.query.items() if name != "cursor"]
    return {"Link": f'<{request.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'}


def cursor_at(order: str, position: Position) -> str:
    body = orjson.dumps(position)
    return base64.urlsafe_b64encode(_mark(order, body) + body).decode().rstrip("=")


def position_of(query: PageQuery, order: str, *shape: type) -> Position | None:
    """After which position the page begins; None: with the first. Raises InvalidInput for a cursor that `cursor_at` has
    not made for this order, and for one whose parts are not of these types (none given: of any)."""
    if not query.cursor:
        return None
    position = _unpacked(query.cursor, order)
    if position is None or (shape and tuple(type(part) for part in position) != shape):
        raise InvalidInput(
            "This cursor is not of this list and sort; take it from the page before, or leave it out to begin anew.",
            code="request_validation_error",
            details={"errors": [{"loc": ["cursor"], "msg": "must be the cursor of a page of this list"}]},
        )
    return position


def _unpacked(text: str, order: str) -> Position | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark, body = data[:4], data[4:]
        parts = orjson.loads(body) if mark == _mark(order, body) else None
    except (binascii.Error, ValueError):
        return None
    if not isinstance(parts, list) or not all(_is_part(part) for part in parts):
        return None
    return tuple(parts)


def _is_part(part: object) -> bool:
    return isinstance(part, float | str) or (isinstance(part, int) and -_LARGEST <= part < _LARGEST)


def _mark(order: str, body: bytes) -> bytes:
    return hashlib.blake2s(order.encode() + b"\0" + body, digest_size=4).digest()
