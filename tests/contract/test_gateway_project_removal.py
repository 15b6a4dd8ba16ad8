"""A project is removed, with all that it owns or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from messages.runs import RunStopped, RunStopRequested
from services.gateway.operations import project_removal, project_things
from services.gateway.service import Gateway
from shared.control.objects import Project
from shared.files import COLLECTION as FILES
from shared.objects.base import list_all
from tests.contract.closed_world import MADE, Closed, closed_at
from tests.contract.gateway_world import HDF5, World, eventually
from voxloom.errors import BusUnavailable
from voxloom.models import format_time, utc_now

LAB1 = "/api/v1/projects/lab1"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_removal, "SETTLE_SECS", 0.01)
    monkeypatch.setattr(project_removal, "PAUSE_SECS", 0.01)


@pytest.fixture
async def closed(tmp_path: Any) -> AsyncIterator[Closed]:
    async with closed_at(tmp_path, answer_timeout=20.0) as closed:
        # What the world says to find out what is heard is of a project of its own.
        assert await closed.status("root", "PUT", "/api/v1/projects/marks", json={}) == 200
        closed.world.headers["Voxloom-Project"] = "marks"
        yield closed


async def own(closed: Closed, name: str, project: str) -> dict[str, str]:
    """One of each kind, and a run that goes on."""
    algorithm = await closed.world.deploy(project=project, name="Own")
    async with closed.asking(name) as client:
        file = (await client.post("/api/v0/files", content=HDF5)).json()["file_id"]
        sample = (await client.post("/api/v1/samples", json={"files": [{"image": [file]}]})).json()["sample_id"]
        body = {"algorithm_id": algorithm, "input_dataset_ids": [file]}
        run = (await client.post("/api/v1/executions", json=body)).json()["execution_id"]
        over = (await client.post("/api/v1/executions", json=body)).json()["execution_id"]
        # The runs are known to the world before one of them ends
        await eventually(lambda: is_heard(closed.world, over))
        await closed.world.complete(over)
    return {"algorithms": algorithm, "files": file, "samples": sample, "executions": run}


async def is_heard(world: World, run: str) -> bool:
    return any(event.subject == run for event in world.heard)


@contextlib.asynccontextmanager
async def stopping(world: World) -> AsyncIterator[None]:
    """What is asked to stop does so."""
    done: set[str] = set()

    async def stop() -> None:
        while True:
            for event in list(world.heard):
                if isinstance(event, RunStopRequested) and event.subject not in done:
                    done.add(event.subject)
                    facts: dict[str, Any] = {"attempt": 1, "epoch": 1, "result": {}}
                    await world.bus.publish(RunStopped(subject=event.subject, project=event.project, **facts))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(stop())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def remove(closed: Closed, query: str = "", url: str = "") -> tuple[int, dict[str, Any]]:
    async with closed.asking("root", url=url, **{"Voxloom-Project": "lab1"}) as root:
        answer = await root.delete(LAB1 + query)
        return answer.status_code, answer.json()


async def is_shut(closed: Closed, url: str = "") -> bool:
    """Whether a member is refused."""
    async with closed.asking("mia", url=url, **{"Voxloom-Project": "lab1"}) as mia:
        answer = await mia.get("/api/v1/files")
        return (answer.status_code, answer.json()["code"]) == (403, "project_not_allowed")


async def test_what_still_owns_things_is_not_removed(closed: Closed) -> None:
    await own(closed, "max", "lab1")
    await closed.status("max", "POST", "/api/v1/tokens", json={"projects": ["lab1"]})
    status, said = await remove(closed)
    assert (status, said["code"]) == (409, "project_not_empty")
    assert {name: count for name, count in said["details"]["counts"].items() if count} == {
        "files": 1,
        "algorithms": 1,
        "runs_unfinished": 1,
        "records": 1,
        "samples": 1,
        "members": 3,
        "tokens": 1,
    }
    assert await closed.status("max") == 200


async def test_with_all_it_goes_and_nothing_of_others_does(closed: Closed) -> None:
    # Given two projects that own one of each kind
    await own(closed, "max", "lab1")
    others = await own(closed, "olga", "lab2")
    async with closed.asking("max") as max_:
        narrow = (await max_.post("/api/v1/tokens", json={"projects": ["lab1"]})).json()["token_id"]
    await closed.status("root", "PUT", f"{LAB1}/limits", json={"runs_at_once": 2})
    # When one is removed
    async with stopping(closed.world):
        assert (await remove(closed, "?all=true"))[0] == 200
    # Then nothing is left of it
    async with closed.asking("root", **{"Voxloom-Project": "lab2"}) as root:
        assert (await root.get(LAB1)).status_code == 404
        tokens = {one["token_id"]: one["principal_id"] for one in (await root.get("/api/v1/tokens")).json()}
    left = [item.key async for item in list_all(closed.world.store, FILES, "files/")]
    assert (narrow in tokens, left) == (False, [f"files/{others['files']}"])
    assert [key for key in await closed.control.etags() if "lab1" in key] == ["projects/lab1"]
    assert await is_shut(closed)
    # And its id is given to nobody
    async with closed.asking("root") as root:
        again = await root.put(LAB1, json={"name": "Again"})
    assert (again.status_code, again.json()["code"]) == (409, "project_removed")
    # And the other one has what it had
    async with closed.asking("olga") as olga:
        for kind, name in others.items():
            assert (await olga.get(f"/api/v1/{kind}/{name}")).status_code == 200, kind
    assert (await remove(closed, "?all=true"))[0] == 200  # whoever has not got the answer may ask again


async def test_who_follows_is_shown_out_and_nobody_else_let_in_before_anything_goes(closed: Closed) -> None:
    owned = await own(closed, "max", "lab1")
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        async with closed.asking("mia", url=other.url) as mia:
            path = f"/api/v1/executions/{owned['executions']}/events"
            async with mia.stream("GET", path) as stream:
                assert stream.status_code == 200
                removal = asyncio.create_task(remove(closed, "?all=true"))
                with contextlib.suppress(Exception):  # cut off, whichever way that is told
                    async for _ in stream.aiter_bytes():
                        pass
            # Its runs have not stopped yet
            assert (await is_shut(closed, url=other.url), removal.done()) == (True, False)
            async with stopping(closed.world):
                assert (await removal)[0] == 200
    finally:
        await other.stop()


async def test_what_was_interrupted_is_asked_again(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a removal that breaks off when the first thing goes
    await own(closed, "max", "lab1")

    async def broken(*_: Any) -> bool:
        raise BusUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(project_things, "remove_some", broken)
        assert (await remove(closed, "?all=true"))[0] == 503
    # Then it is closed to its members, and an admin sees that it is going
    assert await is_shut(closed)
    async with closed.asking("root") as root:
        shown = {one["project_id"]: one["removing"] for one in (await root.get("/api/v1/projects")).json()}
    assert shown == {"lab1": True, "lab2": False, "marks": False}
    # And it stays closed where somebody asks without `all`
    assert (await remove(closed))[1]["code"] == "project_not_empty"
    assert await is_shut(closed)
    # And another gateway does the rest
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        async with stopping(closed.world):
            assert (await remove(closed, "?all=true", url=other.url))[0] == 200
    finally:
        await other.stop()


async def test_an_empty_one_goes_without_all(closed: Closed) -> None:
    for name in ("vera", "mia", "max"):
        assert await closed.status("root", "DELETE", f"{LAB1}/members/{name}") == 200
    assert (await remove(closed))[0] == 200
    assert (await remove(closed))[1]["code"] == "project_not_found"


async def test_what_comes_meanwhile_keeps_an_empty_one(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vera", "mia", "max"):
        await closed.status("root", "DELETE", f"{LAB1}/members/{name}")
    find, calls = project_things.holdings, 0

    async def late(*words: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await find(*words)
        return found.model_copy(update={"files": 1}) if calls == 2 else found

    monkeypatch.setattr(project_things, "holdings", late)
    assert (await remove(closed))[1]["code"] == "project_not_empty"
    assert await closed.status("root", path=LAB1) == 200


async def test_what_does_not_end_is_told(tmp_path: Any) -> None:
    async with closed_at(tmp_path, answer_timeout=0.5) as closed:
        await own_run(closed)
        status, said = await remove(closed, "?all=true")
    assert (status, said["code"], said["details"]["counts"]["runs_unfinished"]) == (
        503,
        "project_removal_unfinished",
        1,
    )


async def own_run(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1")
    body = {"algorithm_id": algorithm, "input_dataset_ids": []}
    assert await closed.status("mia", "POST", json=body) == 200


@pytest.mark.parametrize("project", ["default", "system"])
async def test_what_everything_without_a_project_belongs_to_stays(closed: Closed, project: str) -> None:
    async with closed.asking("root") as root:
        answer = await root.delete(f"/api/v1/projects/{project}?all=true")
    assert (answer.status_code, answer.json()["code"]) == (409, "project_needed")


async def test_only_admins_remove_projects(closed: Closed) -> None:
    assert await closed.status("max", "DELETE", f"{LAB1}?all=true") == 403


def test_a_version_before_this_one_gives_no_right_by_a_project_that_goes() -> None:
    project = Project(id="lab1", **MADE)
    assert [project.in_state(state).format for state in ("there", "removing", "removed")] == [1, 2, 2]


async def test_it_is_in_the_audit(closed: Closed) -> None:
    async with stopping(closed.world):
        await remove(closed, "?all=true")
    async with closed.asking("root") as root:
        entries = (await root.get("/api/v1/audit", params={"action": "project.delete"})).json()
    assert [(one["subject"], one["actor"], one["outcome"]) for one in entries] == [("lab1", "root", "done")]
    assert entries[0]["time"] < format_time(utc_now())


@pytest.mark.parametrize(
    ("path", "body"),
    [("limits", {"weight": 2.0}), ("retention", {"file_days": 2.0}), ("members/mia", {"role": "viewer"})],
)
async def test_nothing_of_a_project_that_goes_is_changed_any_more(closed: Closed, path: str, body: Any) -> None:
    project = Project(id="lab1", **MADE).in_state("removing")
    await closed.control.put(project)
    await closed.world.gateway._control.read_anew()
    async with closed.asking("root") as root:
        answer = await root.put(f"{LAB1}/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "project_removed")
