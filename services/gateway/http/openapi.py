"""The OpenAPI 3.1 document, made from the routes and the models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.gateway.http.problems import CONTENT_TYPE as PROBLEM_TYPE
from services.gateway.http.routing import Anything, Body, Many, Media, Route
from voxloom import __version__
from voxloom.models import Problem

_PLACE = re.compile(r"{(\w+)[^}]*}")
_REF = "#/components/schemas/{model}"
_ANYWHERE = {
    422: ("request_validation_error",),
    500: ("internal_error",),
    403: ("host_not_allowed",),
    503: ("bus_unavailable", "store_unavailable", "answer_timeout", "stopping", "server_busy"),
    507: ("storage_full",),
}
"""Problems that every route may answer with."""

_TAKING = {
    400: ("upload_incomplete",),
    408: ("upload_incomplete",),
    413: ("too_large",),
    415: ("unsupported_content_encoding",),
}
"""Those of every route that takes a body."""

_TEXT = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}
"""OpenAPI 3.1 needs no schema for bytes, but what makes clients from the document does."""

Schemas = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_PLACE.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Voxloom",
            "version": __version__,
            "description": "Deploy imaging algorithms, upload HDF5 files, run the one on the other.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": definitions},
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
    }


def _schemas(routes: Iterable[Route]) -> tuple[Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "validation"): None}
    for route in routes:
        if (model := _model(route.body)) is not None:
            wanted[model, "validation"] = None
        for body in route.answers.values():
            if (model := _model(body)) is not None:
                wanted[model, "serialization"] = None
    schemas, all_of_them = models_json_schema(list(wanted), ref_template=_REF)
    return {key: schemas[key] for key in wanted}, all_of_them.get("$defs", {})


def _model(body: Body) -> type[BaseModel] | None:
    if isinstance(body, Many):
        return body.item
    return body if isinstance(body, type) else None


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.tag],
        "operationId": _operation_id(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {**_answers(route, schemas), **_problems(route, schemas)},
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body, schemas, "validation")}
    return operation


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
    return [{"name": name, "in": "header", "required": False, "schema": {"type": "string"}} for name in route.headers]


def _answers(route: Route, schemas: Schemas) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, body in route.answers.items():
        answers[str(status)] = {"description": HTTPStatus(status).phrase}
        if body is not None:
            answers[str(status)]["content"] = _content(body, schemas, "serialization")
    return answers


def _problems(route: Route, schemas: Schemas) -> dict[str, Any]:
    problems: dict[int, tuple[str, ...]] = {}
    changing = {} if route.method == "GET" else {403: ("origin_not_allowed",)}
    taking = {} if route.body is None else _TAKING
    for status, codes in [*route.problems.items(), *_ANYWHERE.items(), *changing.items(), *taking.items()]:
        problems[status] = (*problems.get(status, ()), *codes)
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
