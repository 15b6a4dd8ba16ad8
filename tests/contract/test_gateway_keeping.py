"""Files and runs are kept and let go, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from services.gateway.views import runs
from shared.files import COLLECTION, bytes_key
from shared.objects.base import EXPIRING
from shared.objects.local import LocalObjectStore
from shared.records.store import RecordStore
from tests.contract.gateway_world import World, world_at
from tests.contract.gateway_world import client as client
from tests.contract.test_gateway_files import run_with_output, upload
from tests.named import run_named
from voxloom.ids import new_id
from voxloom.models import utc_now

Client = httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, answer_timeout=5.0) as world:
        yield world


async def keep(client: Client, path: str) -> httpx.Response:
    return await client.put(f"/api/v1/{path}/keep")


async def ended_run(client: Client, world: World, output: str) -> str:
    run = await run_with_output(client, world, output)
    await world.complete(run, outputs=[output])
    await world.settled()
    return run


async def expire_all(world: World) -> None:
    assert isinstance(world.store, LocalObjectStore)
    for collection in ("data-store", "execution-store"):
        await world.store.set_expiry(collection, 7)
    await world.store.sweep((utc_now() + timedelta(days=100)).timestamp())


async def test_a_kept_file_outlives_its_time_and_says_so(client: Client, world: World) -> None:
    kept, other = await upload(client), await upload(client)
    answer = (await keep(client, f"files/{kept}")).raise_for_status().json()
    assert (answer["kept"], answer["expires_at"], answer["file_count"]) == (True, None, 1)
    record = (await client.get(f"/api/v1/files/{kept}")).json()
    assert (record["kept"], record["expires"], record["expires_at"]) == (True, None, None)
    await expire_all(world)
    assert [(await client.get(f"/api/v0/files/{one}")).status_code for one in (kept, other)] == [200, 404]


async def test_a_file_that_is_let_go_says_when_it_goes(client: Client) -> None:
    file = await upload(client)
    await keep(client, f"files/{file}")
    released = (await client.delete(f"/api/v1/files/{file}/keep")).raise_for_status().json()
    record = (await client.get(f"/api/v1/files/{file}")).json()
    assert released["kept"] is record["kept"] is False
    assert released["expires_at"] == record["expires_at"] is not None


async def test_a_kept_run_keeps_its_record_and_its_outputs(client: Client, world: World) -> None:
    run = await ended_run(client, world, output := new_id())
    answer = (await keep(client, f"executions/{run}")).raise_for_status().json()
    assert (answer["kept"], answer["record"], answer["log"], answer["file_count"]) == (True, True, True, 1)
    await expire_all(world)
    state = await RecordStore(world.store).load_run(run)
    assert state is not None
    assert state.ended
    assert await world.store.tags(COLLECTION, bytes_key(output)) == {}
    assert (await client.get(f"/api/v1/files/{output}")).json()["kept"]


async def test_only_the_newer_routes_say_that_a_run_is_kept(client: Client, world: World) -> None:
    run = await ended_run(client, world, new_id())
    before = (await client.get(f"/api/v1/executions/{run}")).json()
    await keep(client, f"executions/{run}")
    after = (await client.get(f"/api/v1/executions/{run}")).json()
    assert (before["kept"], before["expires_at"] is None) == (False, False)
    assert (after["kept"], after["expires_at"]) == (True, None)
    v0 = [(await client.get(f"/api/v0/executions/{run}")).json(), *(await client.get(ALL)).json()]
    assert [{"kept", "expires_at"} & record.keys() for record in v0] == [set(), set()]


ALL = "/api/v0/execute-algorithm/all"


async def test_a_run_that_is_let_go_expires(client: Client, world: World) -> None:
    run = await ended_run(client, world, output := new_id())
    await keep(client, f"executions/{run}")
    released = (await client.delete(f"/api/v1/executions/{run}/keep")).raise_for_status().json()
    assert (released["kept"], released["expires_at"] is None) == (False, False)
    assert await world.store.tags(COLLECTION, bytes_key(output)) == EXPIRING
    await expire_all(world)
    assert await RecordStore(world.store).load_run(run) is None


async def test_a_run_that_goes_on_cannot_be_kept(client: Client, world: World) -> None:
    run = await run_with_output(client, world, new_id())
    answer = await keep(client, f"executions/{run}")
    assert (answer.status_code, answer.json()["code"]) == (409, "execution_not_ended")


@pytest.mark.parametrize("kind", ["files", "executions", "trainings"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_is_not_there_is_404_and_leaves_nothing(
    client: Client, world: World, kind: str, method: str
) -> None:
    unknown = run_named("gone")  # No id of ours: a young one would be waited for.
    answer = await client.request(method, f"/api/v1/{kind}/{unknown}/keep")
    assert answer.status_code == 404
    assert [one.key for one in (await world.store.list(COLLECTION, prefix="kept")).items] == []


async def test_deleting_the_records_of_all_leaves_what_is_kept(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "VIEW_SECS", 0.01)  # There is no recorder that says what becomes of the other one.
    kept, other = await ended_run(client, world, new_id()), await ended_run(client, world, new_id())
    await keep(client, f"executions/{kept}")
    (await client.delete(ALL)).raise_for_status()
    await world.settled()
    answers = [await client.get(f"/api/v1/executions/{one}") for one in (kept, other)]
    assert [one.status_code for one in answers] == [200, 404]


async def test_a_kept_run_is_deleted_where_somebody_says_so(client: Client, world: World) -> None:
    run = await ended_run(client, world, new_id())
    await keep(client, f"executions/{run}")
    (await client.delete(f"/api/v1/executions/{run}")).raise_for_status()
    await RecordStore(world.store).delete_runs([run])
    assert await RecordStore(world.store).load_run(run) is None
    assert (await client.get(f"/api/v1/executions/{run}")).status_code == 404


async def expiring(client: Client, **query: float | str) -> list[str]:
    answer = await client.get("/api/v1/files", params=query)
    return [item["file_id"] for item in answer.raise_for_status().json()]


async def test_what_expires_soon_is_listed_the_first_to_go_first_without_what_is_held(client: Client) -> None:
    first, kept, in_sample, last = [await upload(client) for _ in range(4)]
    await keep(client, f"files/{kept}")
    await client.post("/api/v1/samples", json={"files": [{"image": [in_sample]}], "tags": []})
    assert await expiring(client, expiring_within=6.9) == []
    found = await expiring(client, expiring_within=7.1)
    assert kept not in found
    assert [one for one in found if one != in_sample] in ([first, last], sorted((first, last)))


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "1e300", "soon"])
async def test_days_that_mean_nothing_are_422(client: Client, days: str) -> None:
    answer = await client.get("/api/v1/files", params={"expiring_within": days})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_validation_error")


async def test_a_kept_run_stays_in_lists_when_its_time_is_over(client: Client, world: World) -> None:
    kept, other = await ended_run(client, world, new_id()), await ended_run(client, world, new_id())
    await keep(client, f"executions/{kept}")
    both = {item["execution_id"] for item in (await client.get("/api/v1/executions")).json()}
    world.gateway._clock._start += timedelta(days=100).total_seconds()
    await world.gateway._forget_expired()
    left = {item["execution_id"] for item in (await client.get("/api/v1/executions")).json()}
    assert (both, left) == ({kept, other}, {kept})
