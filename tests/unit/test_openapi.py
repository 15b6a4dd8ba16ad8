"""The OpenAPI document is valid, says what the routes promise, and is shown without help from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import validate
from referencing import Registry

from services.gateway.app import ROUTES
from services.gateway.http import openapi, openapi_page


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(ROUTES)


@pytest.fixture
def crawled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would look for anchors in the same schemas hundreds of times."""
    crawl = Registry.crawl
    known: dict[int, tuple[Registry[Any], Registry[Any]]] = {}

    def once(registry: Registry[Any]) -> Registry[Any]:
        if id(registry) not in known:
            known[id(registry)] = registry, crawl(registry)
        return known[id(registry)][1]

    monkeypatch.setattr(Registry, "crawl", once)


@pytest.mark.usefixtures("crawled_once")
def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_route_promises_problems_for_what_any_route_can_run_into(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all({"422", "500", "503"} <= operation["responses"].keys() for operation in operations)


def test_a_query_model_becomes_parameters_with_their_limits(document: dict[str, Any]) -> None:
    parameters = {one["name"]: one for one in document["paths"]["/api/v1/executions"]["get"]["parameters"]}
    limit = parameters["limit"]
    assert (limit["in"], limit["required"], limit["schema"]["maximum"]) == ("query", False, 1000)
    assert parameters["status"]["schema"]["items"]["enum"][0] == "PENDING"


def test_a_required_query_name_is_required(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/api/v0/deploy/local"]["post"]["parameters"]
    assert [one["name"] for one in parameters if one["required"]] == ["path"]


def test_no_parameter_may_be_null(document: dict[str, Any]) -> None:
    parameters = [
        one
        for methods in document["paths"].values()
        for operation in methods.values()
        for one in operation["parameters"]
    ]
    assert parameters
    assert not [one for one in parameters if "anyOf" in one["schema"] or one["schema"].get("default", ...) is None]


def test_bytes_have_a_schema_or_generated_clients_could_not_send_them(document: dict[str, Any]) -> None:
    binary = {"type": "string", "format": "binary"}
    upload = document["paths"]["/api/v0/files"]["post"]["requestBody"]["content"]
    deploy = document["paths"]["/api/v1/algorithms"]["post"]["requestBody"]["content"]
    download = document["paths"]["/api/v0/files/{file_id}"]["get"]["responses"]["200"]["content"]
    assert {name: one["schema"] for content in (upload, deploy, download) for name, one in content.items()} == {
        "application/octet-stream": binary,
        "application/zip": binary,
    }
    bodies = [
        content
        for methods in document["paths"].values()
        for operation in methods.values()
        for content in [operation.get("requestBody", {}).get("content", {})]
    ]
    assert all("schema" in one for content in bodies for one in content.values())


def test_times_say_that_they_are_times(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["ExecutionRecord"]["properties"]
    assert fields["time_started"]["anyOf"][0]["format"] == "date-time"
    assert fields["time_completed"]["anyOf"][0]["format"] == "date-time"
    plain = [
        (model, name)
        for model, schema in document["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
        if re.fullmatch(r"time|time_\w+|\w+_at|since|started|expires", name) and "date-time" not in str(field)
    ]
    assert plain == []


def test_the_page_for_people_loads_nothing_and_runs_nothing(document: dict[str, Any]) -> None:
    page = openapi_page.page(document).decode()
    assert not re.findall(r"<script|<link|src=|https?://", page)


def test_the_page_for_people_shows_every_route(document: dict[str, Any]) -> None:
    page = openapi_page.page(document).decode()
    assert [path for path in document["paths"] if f"<code>{path}</code>" not in page] == []
