"""What is sent twice under one `Idempotency-Key` happens once, whatever became of the first answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from messages.base import Event
from messages.deploys import DeployRequested
from messages.files import FileUploaded
from messages.records import RecordsDeleted
from messages.runs import RunRequested, Task
from services.gateway.http.idempotency import fingerprint_of
from shared.files import COLLECTION
from shared.objects.base import EXPIRING, list_all
from shared.records.fold import RunState
from shared.records.store import COLLECTION as RECORDS
from shared.records.store import DEPLOYS, RecordStore
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import eventually
from tests.contract.gateway_world import HDF5, World, client_of, world_at
from voxloom.ids import new_id
from voxloom.models import RunError

ZIP = b"PK\x03\x04" + bytes(100)
KEY = {"Idempotency-Key": "once"}

Client = httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, deploy_roots=[tmp_path / "algorithms"], answer_timeout=5.0) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with client_of(world, headers=KEY) as client:
        yield client


async def execute(client: Client, algorithm_id: str, **more: Any) -> httpx.Response:
    body = {"algorithm_id": algorithm_id, "input_dataset_ids": [], **more}
    return await client.post("/api/v0/execute-algorithm", json=body)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


REUSED = (422, "idempotency_key_reused")


def subjects(world: World, kind: type[Event]) -> set[str]:
    return {event.subject for event in world.heard if isinstance(event, kind)}


async def keys_under(world: World, collection: str, prefix: str) -> list[str]:
    return [item.key async for item in list_all(world.store, collection, prefix)]


class TestExecutions:
    async def test_the_same_request_gets_the_same_answer_and_runs_once(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        first, again = [await execute(client, algorithm_id) for _ in range(2)]
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert len((await client.get("/api/v1/executions")).json()) == 1

    async def test_no_record_is_looked_for_of_a_run_that_is_new(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On S3 that would be seven requests for each run."""
        algorithm_id, looked = await world.deploy(), list[str]()
        real = RecordStore.load_run

        async def noting(self: RecordStore, run: str, task: Task | None = None) -> RunState | None:
            looked.append(run)
            return await real(self, run, task)

        monkeypatch.setattr(RecordStore, "load_run", noting)
        assert (await execute(client, algorithm_id)).status_code == 200
        assert looked == []

    async def test_another_body_under_the_same_key_is_422(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        await execute(client, algorithm_id)
        assert refusal(await execute(client, algorithm_id, priority=1)) == REUSED

    async def test_the_same_body_written_in_another_way_is_the_same(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        one = await execute(client, algorithm_id, additional_parameters={"a": 1, "b": [2]}, priority=0)
        body = (
            f'{{"additional_parameters": {{"b":[2], "a":1}}, "input_dataset_ids":[],"algorithm_id":"{algorithm_id}"}}'
        )
        assert (await client.post("/api/v0/execute-algorithm", content=body)).json() == one.json()

    async def test_without_a_key_or_with_another_one_it_runs_again(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        runs = {(await execute(client, algorithm_id)).json()["execution_id"]}
        client.headers["Idempotency-Key"] = "another"
        runs.add((await execute(client, algorithm_id)).json()["execution_id"])
        del client.headers["Idempotency-Key"]
        runs |= {(await execute(client, algorithm_id)).json()["execution_id"] for _ in range(2)}
        assert len(runs) == 4

    async def test_duplicates_at_the_same_time_run_once(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        answers = await asyncio.gather(*(execute(client, algorithm_id) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        await world.settled()
        assert len((await client.get("/api/v1/executions")).json()) == 1

    async def test_different_bodies_at_the_same_time_run_one_of_them(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        answers = await asyncio.gather(*(execute(client, algorithm_id, priority=number) for number in range(10)))
        assert sorted(answer.status_code for answer in answers) == [200, *[422] * 9]

    async def test_a_refusal_is_not_kept(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        body = {"algorithm_id": algorithm_id, "input_dataset_ids": ["missing"]}
        assert (await client.post("/api/v0/execute-algorithm", json=body)).status_code == 404
        assert (await execute(client, algorithm_id)).status_code == 200

    async def test_the_answer_stays_when_the_algorithm_is_gone(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy(removable=True)
        first = await execute(client, algorithm_id)
        await client.delete(f"/api/v0/deploy/algorithm/{algorithm_id}")
        assert (await execute(client, algorithm_id)).json() == first.json()

    async def test_a_run_that_has_ended_is_not_asked_for_again(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        run = (await execute(client, algorithm_id)).json()["execution_id"]
        await world.complete(run)
        await client.get(f"/api/v1/executions/{run}", params={"wait": 10})
        world.heard.clear()
        await execute(client, algorithm_id)
        await world.settled()
        assert subjects(world, RunRequested) == set()

    @pytest.mark.parametrize("forgotten", [False, True])
    async def test_a_run_whose_record_was_deleted_is_run_anew_once_that_is_forgotten(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch, forgotten: bool
    ) -> None:
        # Given a run whose record was deleted
        algorithm_id = await world.deploy()
        run = (await execute(client, algorithm_id)).json()["execution_id"]
        await world.complete(run)
        await client.get(f"/api/v1/executions/{run}", params={"wait": 10})
        assert (await client.delete(f"/api/v1/executions/{run}")).status_code == 200
        # When nothing is left of it, and a while has passed
        if forgotten:
            await world.bus.publish(RecordsDeleted(subject=new_id(), runs=[run]))
            await world.settled()
            for module in ("operations.runs", "views.deletions"):
                monkeypatch.setattr(f"services.gateway.{module}.SETTLED_SECS", -1.0)
            world.gateway._view.trim()
        # Then the same request makes a run with an id of its own
        again = (await execute(client, algorithm_id)).json()["execution_id"]
        await world.settled()
        assert (again != run, subjects(world, RunRequested)) == (forgotten, {run, again})

    async def test_after_a_restart_the_key_still_counts(self, tmp_path: Path) -> None:
        answers = []
        for _ in range(2):
            async with world_at(tmp_path / "kept") as world, client_of(world, headers=KEY) as client:
                answers.append((await execute(client, await world.deploy())).json())
        assert answers[0] == answers[1]

    async def test_keys_expire_and_are_not_kept_in_the_clear(self, client: Client, world: World) -> None:
        await execute(client, await world.deploy())
        (key,) = await keys_under(world, RECORDS, "idempotency/")
        assert "once" not in key
        assert await world.store.tags(RECORDS, key) == EXPIRING

    @pytest.mark.parametrize("keys", [[""], ["x" * 256], ["a", "b"], ["a", "a"], [b"\xc5\x99"], ["a\tb"]])
    async def test_a_key_that_is_none_is_422(self, world: World, keys: list[str | bytes]) -> None:
        headers = httpx.Headers([(b"Idempotency-Key", key if isinstance(key, bytes) else key.encode()) for key in keys])
        async with client_of(world) as client:
            answer = await client.post("/api/v0/execute-algorithm", content=b"{}", headers=headers)
        assert refusal(answer) == (422, "request_validation_error")
        assert answer.json()["details"]["errors"][0]["loc"] == ["header", "Idempotency-Key"]


class TestFiles:
    async def upload(self, client: Client, body: bytes = HDF5) -> httpx.Response:
        return await client.post("/api/v0/files", content=body)

    async def test_the_same_bytes_are_one_file(self, client: Client, world: World) -> None:
        first, again = [await self.upload(client) for _ in range(2)]
        assert (first.status_code, first.json()) == (200, again.json())
        assert len(await keys_under(world, COLLECTION, "files/")) == 1

    async def test_other_bytes_under_the_same_key_are_422_and_leave_nothing(self, client: Client, world: World) -> None:
        await self.upload(client)
        assert refusal(await self.upload(client, HDF5 + b"more")) == REUSED
        assert len(await keys_under(world, COLLECTION, "files/")) == 1

    async def test_duplicates_at_the_same_time_are_one_file(self, client: Client, world: World) -> None:
        answers = await asyncio.gather(*(self.upload(client) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len(await keys_under(world, COLLECTION, "files/")) == 1

    async def test_what_was_refused_may_be_sent_again(self, client: Client, world: World) -> None:
        world.reject = RunError(type="X", message="no", code="invalid_hdf5_file")
        assert refusal(await self.upload(client)) == (422, "invalid_hdf5_file")
        world.reject = None
        assert (await self.upload(client)).status_code == 200

    async def test_a_file_that_is_gone_is_uploaded_anew(self, client: Client) -> None:
        first = (await self.upload(client)).json()["file_id"]
        await client.delete(f"/api/v0/files/{first}")
        again = (await self.upload(client)).json()["file_id"]
        assert again != first
        assert (await client.get(f"/api/v0/files/{again}")).content == HDF5

    async def test_a_file_nobody_has_looked_at_yet_is_not_stored_twice(self, tmp_path: Path) -> None:
        # Given an upload that nobody answered in time
        async with (
            world_at(tmp_path / "slow", answer_timeout=0.1) as world,
            client_of(world, headers=KEY) as client,
        ):
            world.silent = True
            assert refusal(await self.upload(client)) == (503, "answer_timeout")
            # When it is sent again
            world.silent = False
            answer = await self.upload(client)
            # Then the bytes that are there become the file
            assert answer.status_code == 200
            assert await keys_under(world, COLLECTION, "files/") == [f"files/{answer.json()['file_id']}"]

    async def test_a_key_of_another_operation_is_422_before_a_byte_is_read(self, client: Client, world: World) -> None:
        await execute(client, await world.deploy())
        assert refusal(await self.upload(client)) == REUSED


class TestDeploys:
    async def deploy(self, client: Client, body: bytes = ZIP, **query: Any) -> httpx.Response:
        return await client.post("/api/v1/algorithms", content=body, params=query)

    async def test_the_same_zip_is_one_deploy(self, client: Client, world: World) -> None:
        first, again = [await self.deploy(client) for _ in range(2)]
        assert (first.status_code, first.json()) == (200, again.json())
        assert len(subjects(world, DeployRequested)) == 1

    async def test_another_zip_or_other_overrides_are_422(self, client: Client) -> None:
        await self.deploy(client)
        assert refusal(await self.deploy(client, ZIP + b"more")) == REUSED
        assert refusal(await self.deploy(client, algorithm_name="Other")) == REUSED

    async def test_duplicates_at_the_same_time_are_one_deploy(self, client: Client, world: World) -> None:
        answers = await asyncio.gather(*(self.deploy(client) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["deploy_id"] for answer in answers}) == 1
        assert len(await keys_under(world, DEPLOYS, "sources/")) == 1

    async def test_who_did_not_wait_asks_again_for_the_end(self, client: Client, world: World) -> None:
        world.silent = True
        pending = await self.deploy(client, wait=0)
        assert (pending.status_code, pending.json()["status"]) == (202, "PENDING")
        asking = asyncio.create_task(self.deploy(client))
        await world.deploy(pending.json()["deploy_id"])
        assert (await asking).json()["deploy_id"] == pending.json()["deploy_id"]
        assert asking.result().json()["status"] == "COMPLETED"

    async def test_a_failure_of_the_algorithm_stays_what_it_is(self, client: Client, world: World) -> None:
        world.reject = RunError(type="X", message="no", code="algorithm_runner_not_found")
        first = await self.deploy(client)
        world.reject = None
        again = await self.deploy(client)
        assert (again.status_code, again.json()) == (400, first.json())

    async def test_a_failure_that_may_pass_is_tried_again(self, client: Client, world: World) -> None:
        world.reject = RunError(type="X", message="no", code="store_unavailable", retryable=True)
        assert (await self.deploy(client)).status_code == 503
        world.reject = None
        assert (await self.deploy(client)).json()["status"] == "COMPLETED"

    async def test_a_folder_is_deployed_once_though_it_has_changed(
        self, client: Client, world: World, tmp_path: Path
    ) -> None:
        folder = tmp_path / "algorithms" / "mine"
        folder.mkdir(parents=True)
        (folder / "Runner.py").write_text("class Runner: pass")
        first = await client.post("/api/v0/deploy/local", params={"path": str(folder)})
        (folder / "Runner.py").unlink()
        again = await client.post("/api/v0/deploy/local", params={"path": str(folder)})
        assert (first.status_code, first.json()) == (200, again.json())
        assert len(subjects(world, DeployRequested)) == 1


Dying = Callable[[str, str], AbstractContextManager[str]]


@pytest.fixture
def gateway_that_dies(tmp_path: Path, nursery: Nursery) -> Dying:
    """Gives the address of a gateway that dies around its first event of a kind."""

    @contextmanager
    def run(kind: str, moment: str) -> Iterator[str]:
        output = tmp_path / "output"
        process = nursery.begin(
            [str(tmp_path), kind, moment],
            module="tests.contract.gateway_process",
            environment=os.environ,
            output=output,
            log=tmp_path / "log",
            cwd=tmp_path,
        )
        try:
            yield eventually(lambda: output.exists() and output.read_text().rstrip(), what="its address")
            assert process.wait(60.0) == -9
        finally:
            process.signal(signal.SIGKILL)

    return run


@pytest.mark.parametrize("moment", ["before", "after"])
class TestKilled:
    """Between the key's write and the answer: before the event is published, and after."""

    async def test_a_run_is_asked_for_once(self, tmp_path: Path, gateway_that_dies: Dying, moment: str) -> None:
        async with world_at(tmp_path) as world:
            algorithm_id = await world.deploy()
        # Given a gateway that is killed while it answers
        with gateway_that_dies("execution.requested", moment) as url:
            async with httpx.AsyncClient(base_url=url, headers=KEY) as client:
                with pytest.raises(httpx.TransportError):
                    await execute(client, algorithm_id)
        # When the request is repeated, twice
        async with world_at(tmp_path) as world, client_of(world, headers=KEY) as client:
            answers = [(await execute(client, algorithm_id)).json()["execution_id"] for _ in range(2)]
            await world.settled()
            # Then there is one run, asked for by one event
            requested = [event for event in world.heard if isinstance(event, RunRequested)]
            assert [event.subject for event in requested] == answers[:1]
            assert answers[0] == answers[1]
            assert len((await client.get("/api/v1/executions")).json()) == 1

    async def test_a_file_is_stored_once(self, tmp_path: Path, gateway_that_dies: Dying, moment: str) -> None:
        with gateway_that_dies("file.uploaded", moment) as url:
            async with httpx.AsyncClient(base_url=url, headers=KEY) as client:
                with pytest.raises(httpx.TransportError):
                    await client.post("/api/v0/files", content=HDF5)
        async with world_at(tmp_path) as world, client_of(world, headers=KEY) as client:
            file_id = (await client.post("/api/v0/files", content=HDF5)).json()["file_id"]
            assert subjects(world, FileUploaded) == {file_id}
            assert await keys_under(world, COLLECTION, "files/") == [f"files/{file_id}"]

    async def test_a_zip_is_deployed_once(self, tmp_path: Path, gateway_that_dies: Dying, moment: str) -> None:
        with gateway_that_dies("deploy.requested", moment) as url:
            async with httpx.AsyncClient(base_url=url, headers=KEY) as client:
                with pytest.raises(httpx.TransportError):
                    await client.post("/api/v1/algorithms", content=ZIP)
        async with world_at(tmp_path) as world, client_of(world, headers=KEY) as client:
            answer = (await client.post("/api/v1/algorithms", content=ZIP)).json()
            assert answer["status"] == "COMPLETED"
            assert subjects(world, DeployRequested) == {answer["deploy_id"]}


def test_a_fingerprint_tells_operations_and_contents_apart_and_not_the_order_of_names() -> None:
    same = [fingerprint_of("a", {"x": 1, "y": 2}), fingerprint_of("a", {"y": 2, "x": 1})]
    others = [fingerprint_of("b", {"x": 1, "y": 2}), fingerprint_of("a", {"x": 1, "y": 3})]
    assert len({*same, *others}) == 3
