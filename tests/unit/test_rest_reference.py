"""docs/rest.md is what the routes say, and its examples are what they would take and give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_origin

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from services.gateway.app import CHAPTERS, ROUTES
from services.gateway.http import openapi
from services.gateway.http.examples import Example, News, command_of, shown, wrapped
from services.gateway.http.routing import EVENT_STREAM, Many, Route
from services.gateway.reference.__main__ import TARGET, main
from services.gateway.reference.document import document
from services.gateway.reference.tables import anchor, default, kind, table
from services.gateway.routes import examples
from tests.each import each
from tests.unit.rest_examples import Asked, asked_by
from voxloom.models import ExecutionRecord

EXAMPLES = [(route, example) for route in ROUTES for example in route.examples]


def named(one: tuple[Route, Example]) -> str:
    return f"{one[0].method} {one[0].path}"


def route_of(path: str, method: str = "GET") -> Route:
    return next(one for one in ROUTES if (one.method, one.path) == (method, path))


@pytest.fixture(scope="module")
def text() -> str:
    return document()


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, Any]]:
    """Of the OpenAPI document, by method and path."""
    paths = openapi.document(ROUTES, CHAPTERS)["paths"]
    return {f"{method.upper()} {path}": one for path, methods in paths.items() for method, one in methods.items()}


# --- the document -----------------------------------------------------------------------------------------


def test_the_document_is_up_to_date(text: str) -> None:
    assert TARGET.read_text() == text, "run `python -m services.gateway.reference`"


def test_the_check_says_so_when_it_is_not(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "rest.md"
    monkeypatch.setattr("services.gateway.reference.__main__.TARGET", target)
    target.write_text("# REST\n")
    assert (main(["--check"]), target.read_text()) == (1, "# REST\n")
    assert (main([]), main(["--check"])) == (0, 0)
    assert capsys.readouterr().out == f"outdated: {target}\nwritten: {target}\n"


def test_every_route_has_a_chapter_and_every_chapter_routes() -> None:
    assert {chapter.tag for chapter in CHAPTERS} == {route.tag for route in ROUTES}


def test_every_link_within_the_document_leads_to_a_heading(text: str) -> None:
    headings = {anchor(one) for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - headings == set()


def test_the_contents_name_every_heading(text: str) -> None:
    headings = [anchor(one) for one in re.findall(r"^###? (.+)$", text, re.MULTILINE)]
    contents = re.findall(r"^ *\* \[[^\]]*\]\(#([^)]+)\)", text, re.MULTILINE)
    assert contents == [one for one in headings if one != "contents"]


def test_every_parameter_field_and_error_of_a_route_is_in_the_document(text: str) -> None:
    said = {name for route in ROUTES for names in (route.headers, *route.problems.values()) for name in names}
    said |= {name for route in ROUTES for model in models_of(route) for name in model.model_fields}
    assert {name for name in said if f"`{name}`" not in text} == set()


def models_of(route: Route) -> list[type[BaseModel]]:
    bodies = (route.body, route.query, *route.answers.values())
    return [model for body in bodies if (model := openapi.model_of(body)) is not None]


def test_every_parameter_of_a_query_says_what_it_is_for(operations: dict[str, Any]) -> None:
    parameters = [(name, one) for name, operation in operations.items() for one in operation["parameters"]]
    assert [(name, one["name"]) for name, one in parameters if one["in"] != "path" and "description" not in one] == []


def test_the_openapi_document_has_no_links_to_other_documents(operations: dict[str, Any]) -> None:
    assert re.findall(rb"\]\([^)]*\)", orjson.dumps(operations)) == []


# --- the examples -----------------------------------------------------------------------------------------


def check_answer(route: Route, example: Example) -> None:
    """Raises AssertionError and ValidationError for what the route would never say."""
    body = route.answers[example.status]
    if example.answer is None:
        assert openapi.model_of(body) is None or "$(" in example.command, "what comes back is not shown"
    elif body is EVENT_STREAM:
        assert example.answer
        assert all(isinstance(one, News) and one.data for one in example.answer)
    else:
        model = openapi.model_of(body)
        assert model is not None
        for one in example.answer if isinstance(body, Many) else [example.answer]:
            check_names(one, model.model_validate(one).model_dump(mode="json"))


def check_names(given: Any, dumped: Any) -> None:
    """Names that a model does not know are not in what it dumps."""
    match given:
        case dict():
            assert given.keys() <= dumped.keys(), given.keys() - dumped.keys()
            for name, value in given.items():
                check_names(value, dumped[name])
        case list():
            for one, other in zip(given, dumped, strict=True):
                check_names(one, other)
        case value:
            assert value == dumped


def check_asked(asked: Asked) -> None:
    """Raises AssertionError and ValidationError for what no route would take."""
    route = next((one for one in ROUTES if asked.fits(one)), None)
    assert route is not None, asked
    if asked.query:
        assert route.query is not None, asked
        check_query(route.query, asked.query)
    if asked.body is not None:
        assert isinstance(route.body, type)
        sent = orjson.loads(asked.body)
        assert sent.keys() <= route.body.model_fields.keys()
        route.body.model_validate(sent)


def check_query(model: type[BaseModel], query: Mapping[str, list[str]]) -> None:
    assert query.keys() <= model.model_fields.keys(), query.keys() - model.model_fields.keys()
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    model.model_validate({name: values if name in lists else values[0] for name, values in query.items()})


@each("one", EXAMPLES, ids=named)
def test_the_answer_of_an_example_is_one_that_the_route_gives(one: tuple[Route, Example]) -> None:
    check_answer(*one)


@each("one", EXAMPLES, ids=named)
def test_the_command_of_an_example_asks_its_route_for_what_this_takes(one: tuple[Route, Example]) -> None:
    route, example = one
    asked = list(asked_by(command_of(example)))
    assert any(call.fits(route) for call in asked)
    for call in asked:
        check_asked(call)


@each(
    "command",
    [
        "curl -s $U/api/v1/nothing",
        "curl -s -X PUT $U/api/v0/files",
        "curl -s '$U/api/v1/files?kinds=output'",
        "curl -s '$U/api/v1/files?kind=picture'",
        'curl -s -d \'{"algorithm_id":"a"}\' $U/api/v0/execute-algorithm',
        'curl -s -d \'{"algorithm_id":"a","input_dataset_ids":[],"prio":1}\' $U/api/v0/execute-algorithm',
    ],
)
def test_a_command_that_no_route_takes_is_found(command: str) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check_asked(next(asked_by(command)))


@each(
    "example",
    [
        replace(examples.EXECUTION, answer={**examples.EXECUTION.answer, "colour": "red"}),
        replace(examples.EXECUTION, answer={**examples.EXECUTION.answer, "status": "SLEEPING"}),
        replace(examples.EXECUTION, answer={"execution_id": "1"}),
        replace(examples.EXECUTION, answer=None),
    ],
)
def test_an_answer_that_no_route_gives_is_found(example: Example) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check_answer(route_of("/api/v1/executions/{execution_id}"), example)


def test_the_record_in_an_event_is_one() -> None:
    [status] = [one for one in examples.EXECUTION_EVENTS.answer if one.name == "status"]
    check_names(status.data, ExecutionRecord.model_validate(status.data).model_dump(mode="json"))


def test_openapi_has_the_examples(operations: dict[str, Any]) -> None:
    operation = operations["POST /api/v0/execute-algorithm"]
    sent = operation["requestBody"]["content"]["application/json"]["example"]
    answered = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert (sent, answered) == (examples.EXECUTE.sent, examples.EXECUTE.answer)


def test_openapi_says_what_the_docstring_of_the_handler_says(operations: dict[str, Any]) -> None:
    operation = operations["POST /api/v0/files"]
    assert "a file that is marked as open for writing: close it, or `h5clear -s FILE`." in operation["description"]


# --- pieces -----------------------------------------------------------------------------------------------


@each(
    "row",
    [
        ("GET /api/v1/files/{name}/upload-url", "get-apiv1filesnameupload-url"),
        ("GET /openapi.json", "get-openapijson"),
        ("GET /", "get-"),
        ("DELETE /api/v0/files/{file_id}", "delete-apiv0filesfile_id"),
        ("Queues, workers, dead letters", "queues-workers-dead-letters"),
    ],
)
def test_an_anchor_is_as_github_makes_it(row: tuple[str, str]) -> None:
    heading, name = row
    assert anchor(heading) == name


@each(
    "row",
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
        ({"enum": ["png", "npy"]}, "`png` or `npy`"),
        ({"enum": ["a", "b", "c"]}, "`a`, `b` or `c`"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "integer, 1 to 1000"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 8784}, "number, more than 0, at most 8784"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 1 << 63}, "integer, at least 0"),
        ({"$ref": "#/components/schemas/Waiting"}, "`Waiting`"),
        ({}, "any"),
    ],
)
def test_a_type_is_told_in_words(row: tuple[dict[str, Any], str]) -> None:
    schema, words = row
    assert kind(schema) == words


@each(
    "row",
    [
        ({"default": 100}, False, "`100`"),
        ({"default": 0.0}, False, "`0`"),
        ({"default": False}, False, "`false`"),
        ({"default": "newest"}, False, "`newest`"),
        ({"default": None}, False, ""),
        ({"default": []}, False, ""),
        ({}, True, "required"),
    ],
)
def test_a_default_is_told_as_one_would_send_it(row: tuple[dict[str, Any], bool, str]) -> None:
    schema, required, words = row
    assert default(schema, required) == words


def test_a_table_has_a_line_under_its_head() -> None:
    assert table(("a", ""), [("`x`", "an x"), ("`y`", "")]) == "| a | |\n| --- | --- |\n| `x` | an x |\n| `y` | |"


def test_long_json_is_wrapped_after_commas_that_are_in_no_string() -> None:
    text = orjson.dumps({"a": "x, y" * 25, "b": 'he said "a,b"', "c": [1] * 40}).decode()
    lines = wrapped(text)
    assert lines[0].endswith('y",')
    assert "".join(line.removeprefix(" ") for line in lines) == text
    assert max(map(len, lines)) <= 120


def test_a_long_answer_is_cut_where_nothing_is_lost() -> None:
    answer = {"execution_id": "f57abb05-e57d-11f1-ad8b-21750256c1e7", "log": "x" * 80}
    assert shown(answer, partial=True) == '{"execution_id":"f57abb05-…","log":"' + "x" * 80 + '",…}'


def test_ids_in_a_command_are_variables_of_the_shell() -> None:
    assert command_of(Example("curl -d '{sent}' $U/x", sent={"a": "1-2"}, variables={"1-2": "A"})) == (
        """curl -d '{"a":"'$A'"}' $U/x"""
    )
