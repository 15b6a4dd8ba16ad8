"""Every route there is, with everything that a path and a query may hold: always an answer of ours, never a failure."""

from __future__ import annotations

import asyncio
import json
import re
import types
import typing
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import httpx
import pytest
import pytest_asyncio
from pydantic import BaseModel

from services.gateway.app import ROUTES
from services.gateway.http.routing import Route
from tests.contract.gateway_world import World, client_of, world_at
from tests.each import each
from voxloom.ids import is_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

Client = httpx.AsyncClient

PLACES = [
    "%2F",
    "..%2F..%2Fetc%2Fpasswd",
    "a%2Fb",
    "~",
    "~root",
    "%2E%2E",
    "%00",
    "a%00b",
    "x" * 10_000,
    "%C3%A4%E2%82%AC%F0%9F%92%A5",
    "%FF%FE",
    "%ED%A0%80",
    "%0D%0AX-Mine:%201",
    "%20",
    "-1",
    "9" * 400,
    "%25n",
    "{name}",
    "*",
    "'%3B--",
]
"""For each of a path's variables, as they go over the wire."""

WRONG = ["x", "", "-1", "1e999", "9" * 40, "%00", "%FF", "%ED%A0%80", "nan", "[]", "x" * 10_000, "%F0%9F%92%A5"]
"""For a query's values."""

ROUTES_WITH_PLACES = [route for route in ROUTES if "{" in route.path]
ROUTES_WITH_QUERY = [route for route in ROUTES if route.query is not None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_at(tmp_path_factory.mktemp("world"), answer_timeout=5.0) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(world: World) -> AsyncIterator[Client]:
    async with client_of(world) as client:
        yield client


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


async def ask(world: World, method: str, target: str) -> tuple[int, str, dict[str, Any]]:
    """Status, content type and body of a request whose target goes over the wire just as it is."""
    url = httpx.URL(world.gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    length = "Content-Length: 2\r\n" if method == "POST" else ""
    body = "{}" if method == "POST" else ""
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n{body}".encode())
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        refused = int(head.split()[1]) >= 400
        content = await asyncio.wait_for(reader.read(), 60) if refused else b""  # Some answers never end.
    finally:
        writer.close()
    kind = re.search(rb"(?i)content-type: ([^\r;]*)", head)
    said: dict[str, Any] = json.loads(content) if kind and kind[1].endswith(b"json") and refused else {}
    return int(head.split()[1]), kind[1].decode() if kind else "", said


def faults(status: int, kind: str, said: dict[str, Any]) -> str:
    """What is wrong with a refusal; nothing when all is well."""
    if not 400 <= status < 500:
        return f"{status}"
    if kind != "application/problem+json" or not said.get("detail") or not said.get("code"):
        return f"{status} without a sentence: {kind} {said}"
    return ""


@each("route", ROUTES_WITH_PLACES, ids=named)
async def test_whatever_a_path_names_is_refused_with_a_sentence(world: World, route: Route) -> None:
    wrong = {}
    for place in PLACES:
        target = place.join(re.split(r"\{\w+\}", route.path))
        if fault := faults(*await ask(world, route.method, target)):
            wrong[place[:40]] = fault
    assert {place: fault for place, fault in wrong.items() if not may_be(route, place, fault)} == {}


def may_be(route: Route, place: str, fault: str) -> bool:
    """Names that are as good as any: a URL may be had for them, and a record that is not there be deleted."""
    if route.path == "/api/v0/execute-algorithm/{execution_id}":
        return fault == "200"
    return route.path.endswith("/upload-url") and fault == "200"


@each("route", ROUTES_WITH_QUERY, ids=named)
async def test_whatever_a_query_says_is_taken_or_refused_with_a_sentence(world: World, route: Route) -> None:
    assert route.query is not None
    path = re.sub(r"\{\w+\}", "none", route.path)
    wrong = {}
    for name, value, must_fail in queries(route.query):
        status, kind, said = await ask(world, route.method, f"{path}?{name}={value}")
        fault = faults(status, kind, said)
        if fault and (must_fail or status >= 400):
            wrong[f"{name}={value[:40]}"] = fault
    assert wrong == {}


def queries(model: type[BaseModel]) -> Iterator[tuple[str, str, bool]]:
    """Names with values, and whether they mean nothing at all there: text where a number has to be, say."""
    for name, field in model.model_fields.items():
        strict = not is_text(field.annotation)
        for value in WRONG:
            yield name, value, strict and value in ("x", "[]", "%00", "%F0%9F%92%A5")


def is_text(kind: Any) -> bool:
    """Whether any text is a good value; times and choices are none."""
    if get_origin(kind) in (types.UnionType, typing.Union, list, typing.Annotated):
        return any(is_text(one) for one in get_args(kind))
    if get_origin(kind) is Literal or kind is datetime:
        return False
    return kind is str


async def test_wherever_a_wrong_body_goes_it_is_refused_with_a_sentence(world: World) -> None:
    wrong = {}
    for route in ROUTES:
        if route.method == "POST" and isinstance(route.body, type):
            answer = await ask(world, "POST", re.sub(r"\{\w+\}", "none", route.path))
            if (fault := faults(*answer)) and answer[0] != 200:
                wrong[named(route)] = fault
    assert wrong == {}


@each("token", ["", " ", "x", "../../etc", "a/b", "~", "\x00", "\ud800", "x" * 10_000, "💥", "%00", 7, [], {}, True])
async def test_a_session_token_that_is_none_is_refused_or_makes_a_run(client: Client, world: World, token: Any) -> None:
    body = {"algorithm_id": await world.deploy(), "input_dataset_ids": [], "session_token": token}
    answer = await client.post("/api/v0/execute-algorithm", content=json.dumps(body))
    if answer.status_code == 200:
        record = (await client.get(f"/api/v0/executions/{answer.json()['execution_id']}")).json()
        assert is_id(record["session_token"]) or record["session_token"] == token
    else:
        assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)
