"""What comes in, checked; what goes out, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from voxloom.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)

DEEPEST = 64
"""Levels of lists and objects in a body."""
_JSON = "application/json"


async def read_json(request: web.Request, model: type[M]) -> M:
    """The body, whatever its content type says. Raises InvalidInput (`request_validation_error`)."""
    refuse_encoded(request)
    raw = await request.read()
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _not_json(str(error)) from None
    # Few bodies have so many brackets; only of those the depth is worth a look.
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _deeper_than(data, DEEPEST):
        raise _not_json(f"it is nested more than {DEEPEST} levels deep")
    return _checked(model, data)


def refuse_encoded(request: web.Request) -> None:
    """Bodies come as they are: what a packed one grows to is known too late. Raises InvalidInput."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise InvalidInput(
            f"A body with Content-Encoding {encoding[:40]!r} is not taken; send it as it is.",
            code="unsupported_content_encoding",
            http_status=415,
        )


def read_query(request: web.Request, model: type[M]) -> M:
    """The query; a name that the model has a list for may be repeated. Raises InvalidInput."""
    query = request.query
    if not query:
        return _checked(model, {})
    repeated = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    return _checked(model, {name: query.getall(name) if name in repeated else query[name] for name in query})


def _checked(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors(include_url=False)]
        raise refused(errors) from None


def refused(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    said = "; ".join(f"{_where(error['loc'])}: {error['msg']}" for error in errors[:10])
    return InvalidInput(
        f"The request is not as it must be: {said}. Correct it and send it again.",
        code="request_validation_error",
        details={"errors": list(errors)},
    )


def _where(loc: Sequence[Any]) -> str:
    return ".".join(str(part) for part in loc) or "the body"


def _not_json(why: str) -> InvalidInput:
    return InvalidInput(
        f"The body is not JSON that can be used: {why}.",
        code="request_validation_error",
        details={"errors": [{"loc": [], "msg": why}]},
    )


def _deeper_than(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if levels == 0:
        return bool(inside)
    return any(_deeper_than(item, levels - 1) for item in inside)


def json_answer(value: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return json_bytes(value.__pydantic_serializer__.to_json(value), status=status, headers=headers)


def json_list(values: Sequence[BaseModel]) -> web.Response:
    return json_bytes(b"[%b]" % b",".join(value.__pydantic_serializer__.to_json(value) for value in values))


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type=_JSON)
