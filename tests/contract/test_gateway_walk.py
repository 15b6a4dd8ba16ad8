"""Every route of the app, walked by callers who lack a right or are of another project.

The walk goes over the app's router: what is mounted beside the table is walked, too, and a new route that the tables
here do not know fails.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import httpx
import pytest
from aiohttp import web

from messages.trainings import TrainingCheckpointSaved
from services.gateway.app import ROUTES
from services.gateway.context import CONTEXT
from services.gateway.http.callers import Need
from services.gateway.http.front import CHANGES_RIGHTS, NEEDS
from shared import checkpoints
from shared.caller import LOCAL, Caller, Right
from tests.contract.gateway_world import HDF5, World, eventually
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway import ZIP
from tests.unit.training_samples import checkpoint_of
from voxloom.ids import new_id

ALL: frozenset[Right] = frozenset(get_args(Right))
ANNA = Caller("anna", "lab1", ALL)
BOB = Caller("bob", "lab2", ALL - {"admin"})
"""Who may do all in another project, but is no admin of the server."""
CARL = Caller("carl", "default", frozenset(("read", "run")))
"""One of `default`, on a server where others are not."""

ENTITIES = {"execution", "training", "benchmark"}
SERVER_WIDE = {"/metrics", "/api/v1/stats", "/api/v1/queues", "/api/v1/workers", "/api/v1/dead-letters"}
OPEN = {"/", "/livez", "/readyz", "/openapi.json", "/docs", "/api/v1/login"}
"""Whoever asks may have these."""


@dataclass
class Things:
    """What lab1 has: one of each kind, by the names that paths have for it."""

    ids: dict[str, str]
    tokens: set[str] = field(default_factory=set)

    @property
    def words(self) -> set[str]:
        """Whatever would tell of them."""
        return {*self.ids.values(), *self.tokens, "lab1"} - {"1"}


@pytest.fixture(autouse=True)
def as_told(world: World) -> None:
    """Who asks is who the request says that it is: later on a token will."""
    known = {caller.principal: caller for caller in (ANNA, BOB, CARL, LOCAL)}

    def caller_of(request: web.Request) -> Caller:
        name, _, rights = request.headers.get("Test-Caller", "local").partition(":")
        caller = known[name]
        return caller if not rights else Caller(name, caller.project, frozenset(rights.split(",")) & ALL)  # type: ignore[arg-type]

    app_of(world)[CONTEXT].caller_of = caller_of


def app_of(world: World) -> web.Application:
    assert world.gateway._runner is not None
    return world.gateway._runner.app


@asynccontextmanager
async def asking(world: World, caller: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.gateway.url, timeout=60, headers={"Test-Caller": caller}) as client:
        yield client


@pytest.fixture
async def anna(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(world, "anna") as client:
        yield client


@pytest.fixture
async def bob(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(world, "bob") as client:
        yield client


@pytest.fixture
async def things(world: World, anna: httpx.AsyncClient) -> Things:
    """One of each kind; the runs go on, so that they could be stopped."""
    algorithm = await world.deploy(project="lab1", name="Secret")
    deploy = (await ok(anna.post("/api/v1/algorithms", content=ZIP))).json()["deploy_id"]
    file = (await ok(anna.post("/api/v0/files", content=HDF5))).json()["file_id"]
    sample = (await ok(anna.post("/api/v1/samples", json={"files": [{"image": [file]}], "tags": ["hidden"]}))).json()
    body: dict[str, Any] = {"algorithm_id": algorithm}
    execution = (await ok(anna.post("/api/v1/executions", json={**body, "input_dataset_ids": [file]}))).json()
    training = (await ok(anna.post("/api/v1/trainings", json={**body, "training_data": [sample["sample_id"]]}))).json()
    benchmark = (await ok(anna.post("/api/v0/benchmark-algorithm", json=body))).json()
    checkpoint = await save_checkpoint(world, algorithm, training["training_id"])
    await world.start(execution["execution_id"])
    ids = {
        "algorithm_id": algorithm,
        "deploy_id": deploy,
        "file_id": file,
        "checkpoint_id": checkpoint,
        "dead_letter_id": new_id(),
        "major": "1",
        **NOBODYS_ACCESS,
        **sample,
        **execution,
        **training,
        **benchmark,
    }
    return Things(ids, {"Secret", "hidden"})


async def ok(sent: Any) -> httpx.Response:
    answer: httpx.Response = await sent
    assert answer.status_code == 200, answer.text
    return answer


async def save_checkpoint(world: World, algorithm: str, training: str) -> str:
    facts = {"project": "lab1", "training_id": training, "algorithm_id": algorithm, "algorithm_name": "Secret"}
    checkpoint = checkpoint_of({"files/w": "0" * 64}, **facts)
    await checkpoints.save(world.store, checkpoint)
    await world.bus.publish(TrainingCheckpointSaved(subject=training, project="lab1", checkpoint=checkpoint))
    return checkpoint.checkpoint_id


# --- the walk -----------------------------------------------------------------------------------------------------


def routes(world: World) -> list[tuple[str, str]]:
    """Method and path of all that the app answers to."""
    found = [(one.method, one.resource.canonical) for one in app_of(world).router.routes() if one.resource is not None]
    return sorted({("GET" if method == "HEAD" else method, path) for method, path in found})


def filled(path: str, ids: dict[str, str]) -> str:
    """The name of a file is its id, that of an algorithm is another."""
    file = path.startswith("/api/v1/files/")
    return re.sub(r"{(\w+)}", lambda name: ids["file_id"] if file and name[1] == "name" else ids[name[1]], path)


Body = Callable[[dict[str, str]], dict[str, Any]]
BODIES: dict[tuple[str, str], Body] = {
    ("POST", "/api/v0/execute-algorithm"): lambda ids: {
        "algorithm_id": ids["algorithm_id"],
        "input_dataset_ids": [ids["file_id"]],
    },
    ("POST", "/api/v1/executions"): lambda ids: {
        "algorithm_id": ids["algorithm_id"],
        "input_dataset_ids": [],
        "checkpoint_id": ids["checkpoint_id"],
    },
    ("POST", "/api/v0/train-algorithm"): lambda ids: {
        "algorithm_id": ids["algorithm_id"],
        "training_data": [ids["sample_id"]],
    },
    ("POST", "/api/v1/trainings"): lambda ids: {
        "algorithm_id": ids["algorithm_id"],
        "training_data": [ids["sample_id"]],
    },
    ("POST", "/api/v0/benchmark-algorithm"): lambda ids: {"algorithm_id": ids["algorithm_id"]},
    ("POST", "/api/v0/sample"): lambda ids: {"files": [{"image": [ids["file_id"]]}]},
    ("POST", "/api/v1/samples"): lambda ids: {"files": [{"image": [ids["file_id"]]}]},
}
"""What names things of others in a body."""
QUERIES: dict[tuple[str, str], Body] = {
    ("GET", "/api/v1/files"): lambda ids: {"sample_id": ids["sample_id"]},
    ("GET", "/api/v1/checkpoints"): lambda ids: {"training_id": ids["training_id"]},
    ("GET", "/api/v1/algorithms"): lambda ids: {"project": "lab1"},
    ("GET", "/api/v1/executions"): lambda ids: {"project": "lab1"},
    ("GET", "/api/v1/trainings"): lambda ids: {"algorithm": ids["algorithm_id"]},
    ("GET", "/api/v1/deploys"): lambda ids: {"project": "lab1"},
}
"""What names them in a query."""
TAKES_BYTES = {("POST", "/api/v0/files"), ("POST", "/api/v1/algorithms")}
SIGNED = "/signed/"
NEWS = "/api/v1/events"


def test_every_route_says_what_it_needs(world: World) -> None:
    needs = app_of(world)[NEEDS]
    assert set(routes(world)) == set(needs)


ABOUT_RIGHTS = ("/api/v1/tokens", "/api/v1/principals", "/api/v1/projects", "/api/v1/login")


def test_every_route_that_changes_who_may_do_what_says_so(world: World) -> None:
    about = {(one.method, one.path) for one in ROUTES if one.tag == "Access" or one.path.startswith(ABOUT_RIGHTS)}
    assert app_of(world)[CHANGES_RIGHTS] == {(method, path) for method, path in about if method != "GET"}


def test_what_is_for_all_and_what_is_for_admins(world: World) -> None:
    by_need: dict[Need, set[str]] = {}
    for (_, path), need in app_of(world)[NEEDS].items():
        by_need.setdefault(need, set()).add(path)
    assert {path for path in by_need["nothing"] if not path.startswith(SIGNED)} == OPEN
    assert by_need["admin"] >= SERVER_WIDE


async def test_who_lacks_the_right_is_told_which_and_gets_nothing(world: World, things: Things) -> None:
    wrong: list[str] = []
    for (method, path), need in sorted(app_of(world)[NEEDS].items()):
        if need in ("nothing", "identity"):
            continue
        async with asking(world, f"anna:{','.join(sorted(ALL - {need}))}") as client:
            answer = await client.request(method, filled(path, {**things.ids, "name": "Secret"}))
        said = answer.status_code, answer.json().get("code"), answer.json().get("details", {}).get("right")
        if said != (403, "forbidden", need):
            wrong.append(f"{method} {path}: {said}")
    assert wrong == []


async def test_what_is_another_projects_is_as_if_it_were_not_there(
    world: World, things: Things, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    before = await seen_by(anna, things)
    wrong: list[str] = []
    # When a caller of another project asks for all that there is, by its very names
    for method, path in routes(world):
        if path.startswith(SIGNED) or path in (*OPEN, NEWS) or (method, path) in TAKES_BYTES:
            continue
        theirs = await ask(bob, method, path, {**things.ids, "name": "Secret"})
        nobodys = await ask(bob, method, path, NOBODYS)
        # Then they get what they get for names that nobody has
        if theirs != nobodys:
            wrong.append(f"{method} {path}: {theirs} and not {nobodys}")
        if told := [word for word in things.words if word in theirs[1] and word not in NOBODYS.values()]:
            wrong.append(f"{method} {path} tells of {told}")
    assert wrong == []
    # And nothing has changed
    assert await seen_by(anna, things) == before


NOBODYS_ACCESS = {"principal_id": "nobody", "project_id": "nothing", "token_id": "0" * 12}
"""An open server keeps nothing of who may do what; test_gateway_access.py walks what a closed one has of it."""
NOBODYS = {
    **NOBODYS_ACCESS,
    **{f"{one}_id": new_id() for one in (*ENTITIES, "algorithm", "deploy", "file", "sample", "checkpoint")},
    "dead_letter_id": new_id(),
    "major": "1",
    "name": "Nobodys",
}


async def ask(client: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]) -> tuple[int, str]:
    """Status and text, without the names that were sent."""
    at = method, path
    body = BODIES[at](ids) if at in BODIES else None
    query = QUERIES[at](ids) if at in QUERIES else None
    async with client.stream(method, filled(path, ids), json=body, params=query) as answer:
        endless = answer.headers.get("Content-Type", "").startswith("text/event-stream")
        text = "news" if endless else (await answer.aread()).decode(errors="replace")
    for name, value in sorted(ids.items()):
        if name != "major":
            text = text.replace(value, f"<{name}>")
    return answer.status_code, re.sub(r'"(trace_id|instance|url)":"[^"]*"', "", text)


async def seen_by(client: httpx.AsyncClient, things: Things) -> dict[str, Any]:
    """What its owner sees of it."""
    paths = {
        "/api/v1/algorithms/{algorithm_id}",
        "/api/v1/deploys/{deploy_id}",
        "/api/v1/files/{file_id}",
        "/api/v1/samples/{sample_id}",
        "/api/v1/checkpoints/{checkpoint_id}",
        "/api/v1/executions/{execution_id}",
        "/api/v1/trainings/{training_id}",
        "/api/v1/benchmarks/{benchmark_id}",
    }
    return {path: (await ok(client.get(filled(path, things.ids)))).json() for path in paths}


async def test_lists_of_another_project_are_empty(
    things: Things, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    lists = ("algorithms", "deploys", "files", "samples", "checkpoints", "executions", "trainings")
    mine = {one: len((await ok(anna.get(f"/api/v1/{one}"))).json()) for one in lists}
    theirs = {one: (await ok(bob.get(f"/api/v1/{one}"))).json() for one in lists}
    assert (min(mine.values()) > 0, theirs) == (True, {one: [] for one in lists})


async def test_deleting_all_records_deletes_those_of_ones_own_project(
    world: World, things: Things, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await world.complete(things.ids["execution_id"])
    await world.settled()
    await ok(bob.delete("/api/v0/execute-algorithm/all"))
    await world.settled()
    record = await ok(anna.get(f"/api/v1/executions/{things.ids['execution_id']}"))
    assert record.json()["status"] == "COMPLETED"


async def test_news_are_of_ones_own_project(world: World, things: Things, bob: httpx.AsyncClient) -> None:
    # Given one who follows all that is new from the beginning of the stream on
    algorithm = await world.deploy(project="lab2", name="Own")
    async with bob.stream("GET", NEWS, headers={"Last-Event-ID": "1"}) as stream:
        own = await ok(bob.post("/api/v1/executions", json={"algorithm_id": algorithm, "input_dataset_ids": []}))
        # Then the first that is told is their own
        async with asyncio.timeout(60.0):
            told = await anext(line async for line in stream.aiter_lines() if line.startswith("data: "))
    assert json.loads(told.removeprefix("data: "))["execution_id"] == own.json()["execution_id"]


async def test_a_right_name_of_another_project_does_not_count_as_ones_own(
    world: World, things: Things, bob: httpx.AsyncClient
) -> None:
    """Two projects may have algorithms of the same name, and each finds its own."""
    own = await world.deploy(project="lab2", name="Secret")
    found = await ok(bob.get("/api/v0/algorithm/Secret/1"))
    assert found.json()["algorithm_id"] == own != things.ids["algorithm_id"]


async def test_what_was_seen_for_one_is_not_remembered_for_another(
    world: World, things: Things, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    async def is_known() -> bool:
        return (await anna.get(f"/api/v0/files/{things.ids['file_id']}")).status_code == 200

    await eventually(is_known)
    algorithm = await world.deploy(project="lab2", name="Own")
    body = {"algorithm_id": algorithm, "input_dataset_ids": [things.ids["file_id"]]}
    answer = await bob.post("/api/v1/executions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "input_datasets_not_found")
