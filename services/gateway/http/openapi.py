"""The OpenAPI 3.1 document, made from the routes and the models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.docstrings import field_docs
from services.gateway.http.examples import Example, news_text
from services.gateway.http.problems import CONTENT_TYPE as PROBLEM_TYPE
from services.gateway.http.routing import Anything, Body, Chapter, Many, Media, Route
from voxloom import __version__
from voxloom.models import Problem

_PLACE = re.compile(r"{(\w+)[^}]*}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NONE = re.compile(r"\bNone\b")
_REF = "#/components/schemas/{model}"
ANYWHERE = {
    422: ("request_validation_error",),
    500: ("internal_error",),
    403: ("host_not_allowed", "address_not_allowed"),
    503: ("bus_unavailable", "store_unavailable", "answer_timeout", "stopping", "server_busy"),
    507: ("storage_full",),
}
"""Problems that every route may answer with."""

ASKING = {
    400: ("project_required",),
    401: ("token_missing", "token_invalid", "token_expired", "token_revoked", "principal_disabled"),
    403: ("forbidden", "project_not_allowed"),
    503: ("control_unavailable",),
}
"""Those of every route for which one says who one is, on a server that asks."""

TAKING = {
    400: ("upload_incomplete",),
    408: ("upload_incomplete",),
    413: ("too_large",),
    415: ("unsupported_content_encoding",),
}
"""Those of every route that takes a body."""

HEADERS = {
    "Idempotency-Key": "A text of your choice: the request can be [sent again](#sending-again) without harm.",
    "Repr-Digest": "The SHA-256 of the file, by RFC 9530; bytes that differ are refused.",
    "Content-Digest": "As `Repr-Digest`.",
    "Range": "Which part of the bytes is wanted.",
    "If-Range": "The part only if the `ETag` is this one, else all.",
    "If-None-Match": "An `ETag`: what is the same still is not sent again (304).",
    "Last-Event-ID": "The id of the last event that was heard; the answer begins after it.",
}
"""What the headers are for that make a difference."""

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token, on a server that asks who you are."},
    "basic": {"type": "http", "scheme": "basic", "description": "The token as password; the user is `token`."},
}
"""How to say who one is. A server that asks nobody takes requests without, too."""

_TEXT = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}
"""OpenAPI 3.1 needs no schema for bytes, but what makes clients from the document does."""

Schemas = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def document(routes: Sequence[Route], chapters: Sequence[Chapter] = ()) -> dict[str, Any]:
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(told_path(route), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Voxloom",
            "version": __version__,
            "description": "Deploy imaging algorithms, upload HDF5 files, run the one on the other.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": definitions, "securitySchemes": SCHEMES},
        "security": [{}, *({name: list[str]()} for name in SCHEMES)],
        "tags": _tags(routes, chapters),
    }


def told_path(route: Route) -> str:
    return _PLACE.sub(r"{\1}", route.path)


def _tags(routes: Sequence[Route], chapters: Sequence[Chapter]) -> list[dict[str, str]]:
    told = [{"name": chapter.tag, "description": plain(chapter.text)} for chapter in chapters]
    tags = dict.fromkeys(route.tag for route in routes)
    return [*told, *({"name": tag} for tag in tags if tag not in {chapter.tag for chapter in chapters})]


def plain(text: str) -> str:
    """Without links: they are good in the folder of the documents only."""
    return _LINK.sub(r"\1", text)


def _schemas(routes: Iterable[Route]) -> tuple[Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "validation"): None}
    for route in routes:
        if (model := model_of(route.body)) is not None:
            wanted[model, "validation"] = None
        for body in route.answers.values():
            if (model := model_of(body)) is not None:
                wanted[model, "serialization"] = None
    schemas, all_of_them = models_json_schema(list(wanted), ref_template=_REF)
    definitions = all_of_them.get("$defs", {})
    for (name, field), told in told_of_fields(model for model, _ in wanted).items():
        if field in (fields := definitions.get(name, {}).get("properties", {})):
            fields[field] = {**fields[field], "description": plain(told)}
    return {key: schemas[key] for key in wanted}, definitions


def told_of_fields(models: Iterable[type[BaseModel]]) -> dict[tuple[str, str], str]:
    """What the source says of fields, by model and field; in the words of JSON."""
    return {key: _NONE.sub("null", told) for key, told in field_docs(models).items()}


def model_of(body: Body) -> type[BaseModel] | None:
    if isinstance(body, Many):
        return body.item
    return body if isinstance(body, type) else None


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        **({"description": plain(route.description)} if route.description else {}),
        "tags": [route.tag],
        "operationId": _operation_id(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {**_answers(route, schemas), **_problems(route, schemas)},
    }
    if route.body is not None:
        sent = [one.sent for one in route.examples if one.sent is not None]
        content = _content(route.body, schemas, "validation")
        operation["requestBody"] = {"required": True, "content": _with_example(content, sent)}
    return operation


def _with_example(content: dict[str, Any], examples: Sequence[Any]) -> dict[str, Any]:
    return {name: {**one, "example": examples[0]} for name, one in content.items()} if examples else content


def _operation_id(route: Route) -> str:
    words = [route.method.lower(), *re.findall(r"\w+", route.path)]
    return "_".join(word for word in words if word != "api")


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACE.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(mode="validation", ref_template=_REF)
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    return [
        _parameter(name, _inlined(one, definitions), name in required) for name, one in schema["properties"].items()
    ]


def _parameter(name: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    """A parameter that was not sent is absent, never null."""
    parameter: dict[str, Any] = {"name": name, "in": "query", "required": required}
    if description := schema.pop("description", None):
        parameter["description"] = description
    choices = [one for one in schema.pop("anyOf", []) if one.get("type") != "null"]
    if len(choices) == 1:
        schema.update(choices[0])
    if schema.get("default", ...) is None:
        del schema["default"]
    return {**parameter, "schema": schema}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """With every reference replaced by what it names: parameters have no place for definitions."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": plain(HEADERS[name]),
            "schema": {"type": "string"},
        }
        for name in route.headers
    ]


def _answers(route: Route, schemas: Schemas) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, body in route.answers.items():
        answers[str(status)] = {"description": HTTPStatus(status).phrase}
        if body is not None:
            answered = [whole(body, one) for one in route.examples if one.answer is not None and status == 200]
            answers[str(status)]["content"] = _with_example(_content(body, schemas, "serialization"), answered)
    return answers


def whole(body: Body, example: Example) -> Any:
    """The answer with all that the server would say. Raises pydantic's ValidationError where it could not say it."""
    match body:
        case Many(item=model):
            return [_whole(model, one) for one in example.answer]
        case type() as model:
            return example.answer if example.complete else _whole(model, example.answer)
    return example.answer if isinstance(example.answer, str) else news_text(example.answer)


def _whole(model: type[BaseModel], answer: Any) -> Any:
    return model.model_validate(answer).model_dump(mode="json")


def _problems(route: Route, schemas: Schemas) -> dict[str, Any]:
    problems: dict[int, tuple[str, ...]] = {}
    changing = {} if route.method == "GET" else {403: ("origin_not_allowed",)}
    taking = {} if route.body is None else TAKING
    asking = {} if route.needs == "nothing" else ASKING
    for some in (route.problems, ANYWHERE, changing, taking, asking):
        for status, codes in some.items():
            problems[status] = tuple(dict.fromkeys((*problems.get(status, ()), *codes)))
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}",
            "content": {PROBLEM_TYPE: {"schema": schemas[Problem, "validation"]}},
        }
        for status, codes in sorted(problems.items())
    }


def _content(body: Body, schemas: Schemas, mode: JsonSchemaMode) -> dict[str, Any]:
    match body:
        case Media(content_type=content_type, text=text):
            return {content_type: {"schema": _TEXT if text else _BINARY}}
        case Anything(content_type=content_type):
            return {content_type: {}}
        case tuple():
            return {one.content_type: {"schema": _BINARY} for one in body}
        case Many(item=item):
            return {"application/json": {"schema": {"type": "array", "items": schemas[item, mode]}}}
        case None:
            return {}
        case model:
            return {"application/json": {"schema": schemas[model, mode]}}
