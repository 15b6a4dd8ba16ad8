"""What comes in, checked; what goes out, as JSON."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from services.gateway.http.bodies import read_whole
from services.gateway.http.front import front_of
from shared.bodies import check_body
from shared.validation import refused
from voxloom.errors import InvalidInput
from voxloom.jsontext import brackets, is_deeper, without_escapes, without_strings
from voxloom.nearest import hint

M = TypeVar("M", bound=BaseModel)

DEEPEST = 64
"""Levels of lists and objects in a body."""
MOST_VALUES = 250_000
"""Values in a body. Each is an object in memory, and work for the loop; large data belongs into files."""
_JSON = "application/json"
_NAMED = 5


async def read_json(request: web.Request, model: type[M]) -> M:
    """The body, whatever its content type says. Raises InvalidInput (`request_validation_error`)."""
    check_body(request.headers)
    body = await read_whole(request)
    if (door := front_of(request).door) is not None:
        await door.ask_again(request)
    data = parse_json(body)
    if is_exact(request.path) and isinstance(data, dict):
        check_names(data, model.model_fields)
    return _checked(model, data)


def is_exact(path: str) -> bool:
    """Whether names that are not known are refused there: v0 has always ignored them, and its clients send some."""
    return path.startswith("/api/v1/")


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Raises InvalidInput (`request_validation_error`) for names that are not known: misspelt, perhaps."""
    unknown = [name for name in dict.fromkeys(given) if name not in known]
    if unknown:
        raise refused([{"loc": [name], "msg": f"is not known here{hint(name, known)}"} for name in unknown[:_NAMED]])


def parse_json(raw: bytes) -> Any:
    """What JSON says; raises InvalidInput also where it says too much. That is found out in C and, where it matters,
    before it is parsed: a body of the size that is allowed may have millions of values."""
    if _most_values(raw) > MOST_VALUES and _has_too_many_values(raw):
        raise _not_json(f"it has more than {MOST_VALUES} values; put large data into a file")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _not_json(str(error)) from None
    if is_deeper(raw, DEEPEST):
        raise _not_json(f"it is nested more than {DEEPEST} levels deep")
    return data


def _most_values(text: bytes) -> int:
    """JSON without strings has no more values than this; with strings, their commas and brackets are counted, too."""
    return 1 + text.count(b",") + brackets(text)


def _has_too_many_values(raw: bytes) -> bool:
    plain = without_escapes(raw)
    # Few values cannot have so many quotes, and splitting at so many would take long.
    return plain.count(b'"') > 4 * MOST_VALUES or _most_values(without_strings(plain)) > MOST_VALUES


def read_query(request: web.Request, model: type[M]) -> M:
    """The query; a name that the model has a list for may be repeated. Raises InvalidInput."""
    if not request.query_string:
        return cast(M, _unasked(model))
    query = request.query
    repeated = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    return _checked(model, {name: query.getall(name) if name in repeated else query[name] for name in query})


@functools.cache
def _unasked(model: type[BaseModel]) -> BaseModel:
    """What nobody has asked anything of; models of queries are frozen, so one will do."""
    return _checked(model, {})


def read_values(values: Mapping[str, Any], model: type[M]) -> M:
    """Parts of a path, say. Raises InvalidInput (`request_validation_error`)."""
    return _checked(model, values)


def _checked(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors(include_url=False)]
        raise refused(errors) from None


def _not_json(why: str) -> InvalidInput:
    return InvalidInput(
        f"The body is not JSON that can be used: {why}.",
        code="request_validation_error",
        details={"errors": [{"loc": [], "msg": why}]},
    )


def json_answer(value: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return json_bytes(value.__pydantic_serializer__.to_json(value), status=status, headers=headers)


def json_list(values: Sequence[BaseModel], *, without: set[str] | None = None) -> web.Response:
    """`without`: fields to leave out."""
    shown = (value.__pydantic_serializer__.to_json(value, exclude=without) for value in values)
    return json_bytes(b"[%b]" % b",".join(shown))


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type=_JSON)
