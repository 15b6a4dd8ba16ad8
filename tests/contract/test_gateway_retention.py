"""How long a project keeps what it has: no longer than the server, and nothing goes that is held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.context import CONTEXT
from services.gateway.operations.retention import let_go, overdue
from services.gateway.views import runs as view
from shared import keeping
from shared.control.objects import Retention
from shared.files import COLLECTION, bytes_key
from shared.objects.base import EXPIRING
from tests.contract.closed_world import Closed, closed_at
from tests.contract.gateway_world import HDF5, eventually
from voxloom.models import RetentionDays, utc_now

LAB1 = "/api/v1/projects/lab1/retention"
NOW = utc_now()


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with closed_at(tmp_path, answer_timeout=20.0) as closed:
        yield closed


async def later(closed: Closed, days: float) -> None:
    """What is done after so many days."""
    assert closed.world.gateway._runner is not None
    await let_go(closed.world.gateway._runner.app[CONTEXT], utc_now() + timedelta(days=days))


async def upload(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/v0/files", content=HDF5)).json()["file_id"])


async def there(client: httpx.AsyncClient, *files: str) -> list[bool]:
    return [(await client.get(f"/api/v0/files/{one}")).status_code == 200 for one in files]


async def put(closed: Closed, name: str, **days: Any) -> tuple[int, Any]:
    async with closed.asking(name) as client:
        answer = await client.put(LAB1, json=days)
        return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("root", 200, None), ("max", 200, None), ("mia", 403, "forbidden"), ("olga", 404, "project_not_found")],
)
async def test_managers_say_it_and_members_see_it(closed: Closed, name: str, status: int, code: str | None) -> None:
    assert await put(closed, name, file_days=2.0) == (status, code)
    async with closed.asking("vera") as vera:
        told = (await vera.get(LAB1)).json()
    assert (told["file_days"], told["server"]["file_days"]) == (2.0 if status == 200 else None, 7.0)


@pytest.mark.parametrize("days", [0, -1, 0.5, 1e300, "2", True, []])
async def test_what_is_no_number_of_days_is_refused(closed: Closed, days: object) -> None:
    assert await put(closed, "max", file_days=days) == (422, "request_validation_error")


async def test_nothing_is_kept_for_longer_than_by_the_server(closed: Closed) -> None:
    assert await put(closed, "max", execution_days=31.0) == (422, "retention_too_long")
    assert await put(closed, "max", execution_days=30.0) == (200, None)


async def test_files_of_that_project_go_and_say_when(closed: Closed) -> None:
    await put(closed, "max", file_days=2.0)
    async with closed.asking("mia") as mia, closed.asking("olga") as olga:
        mine, theirs = await upload(mia), await upload(olga)
        said = (await mia.get(f"/api/v1/files/{mine}")).json()
        assert said["expires_at"] < said["time_created"].replace("2026", "2027")
        await later(closed, 1.9)
        assert await there(mia, mine) == [True]
        await later(closed, 2.1)
        assert (await there(mia, mine), await there(olga, theirs)) == ([False], [True])


async def test_what_is_held_stays(closed: Closed) -> None:
    await put(closed, "max", file_days=2.0)
    async with closed.asking("mia") as mia:
        loose, kept, sampled, needed = [await upload(mia) for _ in range(4)]
        await mia.put(f"/api/v1/files/{kept}/keep")
        await mia.post("/api/v1/samples", json={"files": [{"image": [sampled]}]})
        await closed.world.store.set_tags(COLLECTION, bytes_key(sampled), {})  # as ingest does
        algorithm = await closed.world.deploy(project="lab1", name="Own")
        body = {"algorithm_id": algorithm, "input_dataset_ids": [needed]}
        assert (await mia.post("/api/v1/executions", json=body)).status_code == 200
        await later(closed, 50)
        assert await there(mia, loose, kept, sampled, needed) == [False, True, True, True]


async def test_records_go_but_those_that_are_kept(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "VIEW_SECS", 0.01)  # There is no recorder that says what becomes of the other ones.
    await put(closed, "max", execution_days=3.0)
    async with closed.asking("mia") as mia:
        algorithm = await closed.world.deploy(project="lab1", name="Own")
        runs = [await run(mia, algorithm) for _ in range(3)]
        over, kept, going_on = runs
        for one in (over, kept):
            await closed.world.start(one)
            await closed.world.complete(one)
        await closed.world.settled()
        assert (await mia.put(f"/api/v1/executions/{kept}/keep")).status_code == 200
        await later(closed, 2.9)
        assert await statuses(mia, *runs) == [200, 200, 200]
        await later(closed, 3.1)

        async def is_gone() -> bool:
            return await statuses(mia, over) == [404]

        await eventually(is_gone)
        assert await statuses(mia, kept, going_on) == [200, 200]


async def run(client: httpx.AsyncClient, algorithm: str) -> str:
    body = {"algorithm_id": algorithm, "input_dataset_ids": []}
    return str((await client.post("/api/v1/executions", json=body)).json()["execution_id"])


async def statuses(client: httpx.AsyncClient, *runs: str) -> list[int]:
    return [(await client.get(f"/api/v1/executions/{one}")).status_code for one in runs]


async def test_a_file_that_goes_just_now_is_not_kept(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "DECIDED_SECS", 0.01)
    async with closed.asking("mia") as mia:
        file = await upload(mia)
        await closed.world.store.put(COLLECTION, f"deleting/{file}", b"")
        answer = await mia.put(f"/api/v1/files/{file}/keep")
        assert (answer.status_code, answer.json()["code"]) == (409, "file_being_deleted")
        assert (await mia.get(f"/api/v1/files/{file}")).json()["kept"] is False
        assert await closed.world.store.tags(COLLECTION, bytes_key(file)) == EXPIRING


async def test_who_keeps_once_more_what_is_kept_takes_that_from_nobody(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "DECIDED_SECS", 0.01)
    async with closed.asking("mia") as mia:
        file = await upload(mia)
        (await mia.put(f"/api/v1/files/{file}/keep")).raise_for_status()
        await closed.world.store.put(COLLECTION, f"deleting/{file}", b"")  # It will come upon the note.
        assert (await mia.put(f"/api/v1/files/{file}/keep")).status_code == 409
        assert await keeping.is_kept(closed.world.store, f"kept/{file}")


async def test_the_audit_has_what_went_once_for_each_pass(closed: Closed) -> None:
    await put(closed, "max", file_days=2.0, execution_days=3.0)
    async with closed.asking("mia") as mia, closed.asking("max") as manager:
        for _ in range(3):
            await upload(mia)
        over = await run(mia, await closed.world.deploy(project="lab1", name="Own"))
        await closed.world.start(over)
        await closed.world.complete(over)
        await closed.world.settled()
        for _ in range(2):  # The second time there is nothing left.
            await later(closed, 5)
        found = (await manager.get("/api/v1/audit", params={"actor": "system"})).json()
    told = [(one["action"], one["outcome"], one["project"], one["count"]) for one in found]
    assert sorted(told) == [("execution.expire", "done", "lab1", 1), ("file.expire", "done", "lab1", 3)]


# --- what is over its time ------------------------------------------------------------------------------------------

SERVER = RetentionDays(file_days=7.0, execution_days=30.0, training_days=None)


@pytest.mark.parametrize(
    ("days", "over"),
    [
        ({}, {}),
        ({"file_days": 2.0}, {"file": 2.0}),
        ({"file_days": 7.0}, {}),
        ({"file_days": 9.0, "training_days": 5.0}, {"training": 5.0}),
        ({"file_days": 1.0, "execution_days": 29.0, "training_days": 1000.0}, None),
    ],
)
def test_what_goes_before_the_server_removes_it(days: dict[str, float], over: dict[str, float] | None) -> None:
    kept = Retention(project="lab1", changed_at=NOW, changed_by="max", **days)
    found = {one.things: (NOW - one.before).total_seconds() / 86_400 for one in overdue(iter([kept]), SERVER, NOW)}
    assert found == ({"file": 1.0, "execution": 29.0, "training": 1000.0} if over is None else over)


def test_a_project_that_nobody_has_said_anything_of_goes_by_the_server() -> None:
    assert list(overdue(iter([]), SERVER, NOW)) == []
