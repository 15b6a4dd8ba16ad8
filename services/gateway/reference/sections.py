"""What the document says of one route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from services.docstrings import models_in
from services.gateway.http import openapi
from services.gateway.http.examples import Example, command_of, shown
from services.gateway.http.routing import Anything, Body, Many, Media, Route
from services.gateway.reference.tables import anchor, code, codes, default, kind, table
from voxloom.models import ResponseMessage
from voxloom.values import RunError

Schema = Mapping[str, Any]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def link_to(route: Route) -> str:
    return f"[{name_of(route)}](#{anchor(name_of(route))})"


class Sections:
    """One section for each route. What was said of one is not said again of the next: that refers to it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        whole = openapi.document(routes)
        self._paths: Mapping[str, Mapping[str, Schema]] = whole["paths"]
        self._schemas: Mapping[str, Schema] = whole["components"]["schemas"]
        self._said: dict[tuple[object, ...], Route] = {}
        self._told: dict[type[BaseModel], Route] = {}

    def of(self, route: Route) -> Iterator[str]:
        yield f"### {name_of(route)}"
        yield f"{route.summary}."
        if route.examples:
            model = openapi.model_of(route.answers[200])
            yield "\n".join(["```", *(_shown(one, model) for one in route.examples), "```"])
        said = (route.description or route.handler, route.query, route.body, tuple(route.headers))
        before = self._said.setdefault(said, route)
        if before is not route:
            yield f"As {link_to(before)}."
        else:
            yield from filter(None, [route.description, *self._taken(route)])
        yield from self._given(route)

    # --- what comes in ------------------------------------------------------------------------------------

    def _taken(self, route: Route) -> Iterator[str]:
        operation = self._paths[openapi.told_path(route)][route.method.lower()]
        if route.query is not None:
            rows = [_parameter(one) for one in operation["parameters"] if one["in"] == "query"]
            yield table(("query", "type", "default", ""), rows)
        if route.headers:
            yield f"[Headers](#headers): {codes(route.headers)}."
        model = openapi.model_of(route.body)
        if model is not None and (first := self._told.setdefault(model, route)) is not route:
            yield f"Body: {code(model.__name__)}, as in {link_to(first)}."
        elif model is not None:
            schema = self._schemas[model.__name__]
            required = schema.get("required", ())
            rows = [_row(name, one, name in required) for name, one in schema["properties"].items()]
            yield table(("body", "type", "default", ""), rows)
        elif route.body is not None:
            yield f"Body: {_kind_of(route.body)}."

    # --- what goes out ------------------------------------------------------------------------------------

    def _given(self, route: Route) -> Iterator[str]:
        for model in dict.fromkeys(map(openapi.model_of, route.answers.values())):
            if model is not None and self._told.setdefault(model, route) is route:
                yield f"{code(model.__name__)} has {codes(model.model_fields)}."
                rows = [(code(name), told) for name, told in _told_of(model)]
                if rows:
                    yield table(("answer", ""), rows)
        answers = ", ".join(f"{status} {self._answer(route, body)}".strip() for status, body in route.answers.items())
        errors = "; ".join(f"{status} {codes(some)}" for status, some in sorted(route.problems.items()))
        yield f"Answer: {answers}." + (f" Errors: {errors}." if errors else "")

    def _answer(self, route: Route, body: Body) -> str:
        model = openapi.model_of(body)
        first = self._told.get(model, route) if model not in (None, ResponseMessage) else route
        return _kind_of(body) + (f", as in {link_to(first)}" if first is not route else "")


def _shown(example: Example, model: type[BaseModel] | None) -> str:
    command = "\n".join(f"$ {line}" for line in command_of(example).splitlines())
    if example.answer is None:
        return command
    return f"{command}\n{shown(example.answer, partial=is_partial(example, model))}"


def is_partial(example: Example, model: type[BaseModel] | None) -> bool:
    """Whether a record has more fields than are shown."""
    if example.complete or model is None:
        return not example.complete
    one = example.answer[0] if isinstance(example.answer, list) else example.answer
    return bool(model.model_fields.keys() - one.keys())


def _parameter(one: Schema) -> tuple[str, ...]:
    schema = {**one["schema"], "description": one.get("description", "")}
    if schema.get("type") != "array":
        return _row(one["name"], schema, one["required"])
    name, _, *rest = _row(one["name"], schema, one["required"])
    return name, f"{kind(schema['items'])}, repeatable", *rest


def _row(name: str, schema: Schema, required: bool) -> tuple[str, ...]:
    return code(name), kind(schema), default(schema, required), schema.get("description", "")


def _kind_of(body: Body) -> str:
    match body:
        case None:
            return ""
        case Many(item=item):
            return f"list of {code(item.__name__)}"
        case Media(content_type=content_type) | Anything(content_type=content_type):
            return code(content_type)
        case tuple():
            return " or ".join(map(_kind_of, body))
        case model:
            return code(model.__name__)


def _told_of(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, str]]:
    """What is said of its fields, and of those of the records in it."""
    told = openapi.told_of_fields([model])
    for name, field in model.model_fields.items():
        if (model.__name__, name) in told:
            yield within + name, told[model.__name__, name]
        for inner in dict.fromkeys(models_in(field.annotation)):
            if inner is not RunError:  # The same in all records: told of once, in words.
                yield from _told_of(inner, f"{within}{name}.")
