"""What existing clients rely on, each under its number in the list of such facts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from messages.records import RecordsDeleteRequested
from services.gateway.app import describe
from services.gateway.service import Gateway
from services.recorder.service import Recorder
from shared.records.store import RecordStore
from tests.contract.gateway_world import World, client_of, eventually, world_at
from tests.contract.gateway_world import client as client
from voxloom.ids import is_id

UNKNOWN = "00000000-0000-1000-8000-000000000000"
Client = httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, answer_timeout=5.0) as world:
        yield world


async def execute(client: Client, algorithm_id: str, path: str = "/api/v0/execute-algorithm", **more: Any) -> str:
    answer = await client.post(path, json={"algorithm_id": algorithm_id, "input_dataset_ids": [], **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["execution_id"])


async def ended(client: Client, world: World, algorithm_id: str) -> str:
    run = await execute(client, algorithm_id)
    await world.settled()
    await world.complete(run, log="done\n")
    assert (await client.get(f"/api/v1/executions/{run}?wait=10")).json()["status"] == "COMPLETED"
    return run


def said(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json().get("detail")


def code(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json().get("code")


class TestAnswers:
    @pytest.mark.parametrize(
        ("method", "path", "expected"),
        [
            ("GET", "/api/v0/nothing", (404, "http_404")),
            ("PUT", "/api/v0/algorithm/all", (405, "http_405")),
            ("POST", "/api/v0/execute-algorithm", (422, "request_validation_error")),
        ],
    )
    async def test_22_every_error_has_a_detail(
        self, world: World, method: str, path: str, expected: tuple[int, str]
    ) -> None:
        async with httpx.AsyncClient(base_url=world.gateway.url) as client:
            answer = await client.request(method, path, content=b"{" if method == "POST" else b"")
        assert code(answer) == expected
        assert answer.json()["detail"]

    async def test_24_details_name_what_was_not_found(self, client: Client) -> None:
        run = (await client.get(f"/api/v0/executions/{UNKNOWN}")).json()["details"]
        named = (await client.get("/api/v0/algorithm/None/1")).json()["details"]
        assert run == {"execution_id": UNKNOWN}
        assert named == {"algorithm_name": "None", "algorithm_major_version": "1"}

    @pytest.mark.parametrize("path", ["algorithm/all", "execute-algorithm/all"])
    async def test_25_unknown_query_names_are_ignored(self, client: Client, world: World, path: str) -> None:
        await world.deploy()
        plain, odd = [await client.get(f"/api/v0/{path}{query}") for query in ("", "?unheard_of=1")]
        assert (odd.status_code, odd.content) == (200, plain.content)

    async def test_25_no_content_type_is_needed_and_unknown_fields_are_ignored(
        self, client: Client, world: World
    ) -> None:
        body = b'{"algorithm_id":"%b","input_dataset_ids":[],"new":1}' % (await world.deploy()).encode()
        answer = await client.post("/api/v0/execute-algorithm", content=body)
        assert answer.status_code == 200


async def is_there(records: RecordStore, run: str) -> bool:
    return await records.load_run(run) is not None


async def is_forgotten(gateway: Gateway, run: str) -> bool:
    gateway._view.trim()
    return run not in gateway._view._deleted


class TestRecords:
    async def test_26_and_28_a_record_before_the_end(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        record = (await client.get(f"/api/v0/executions/{run}")).json()
        before = {name: record[name] for name in ("time_completed", "log", "output_dataset_ids", "progress")}
        assert before == {"time_completed": "", "log": "", "output_dataset_ids": [], "progress": 0.0}
        assert is_id(record["session_token"])

    async def test_23_a_record_that_was_deleted_is_gone(self, client: Client, world: World) -> None:
        run = await ended(client, world, await world.deploy())
        answer = await client.delete(f"/api/v0/execute-algorithm/{run}")
        assert said(answer) == (200, "Deleted execution record")
        for path in (f"/api/v0/executions/{run}", f"/api/v1/executions/{run}", f"/api/v1/executions/{run}/log"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/api/v1/executions")).json() == []

    async def test_23_all_that_have_ended_are_deleted_and_the_others_stay(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        done = [await ended(client, world, algorithm_id) for _ in range(2)]
        waiting = await execute(client, algorithm_id)
        answer = await client.delete("/api/v0/execute-algorithm/all")
        assert said(answer) == (200, "Deleted all execution records")
        assert [one["execution_id"] for one in (await client.get("/api/v1/executions")).json()] == [waiting]
        assert (await client.get(f"/api/v0/executions/{done[0]}")).status_code == 404

    async def test_deleting_no_record_is_200_on_v0_and_404_on_v1(self, client: Client) -> None:
        assert (await client.delete(f"/api/v0/execute-algorithm/{UNKNOWN}")).status_code == 200
        assert code(await client.delete(f"/api/v1/executions/{UNKNOWN}")) == (404, "execution_record_not_found")

    @pytest.mark.parametrize("path", ["/api/v0/execute-algorithm", "/api/v1/executions"])
    async def test_a_run_that_goes_on_keeps_its_record(self, client: Client, world: World, path: str) -> None:
        run = await execute(client, await world.deploy())
        assert code(await client.delete(f"{path}/{run}")) == (409, "execution_not_ended")
        assert (await client.get(f"/api/v1/executions/{run}")).status_code == 200

    async def test_another_gateway_hears_of_it(self, client: Client, world: World) -> None:
        run = await ended(client, world, await world.deploy())
        await world.bus.publish(RecordsDeleteRequested(subject=UNKNOWN, runs=[run]))
        await world.settled()
        assert (await client.get(f"/api/v1/executions/{run}")).status_code == 404

    async def test_gateways_and_recorder_forget_what_was_deleted(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a run that the recorder has written, and nobody who waits for what is said late
        for module in ("shared.records.ledger", "services.gateway.views.deletions"):
            monkeypatch.setattr(f"{module}.SETTLED_SECS", -1.0)
        recorder = Recorder(world.platform)
        await recorder.start()
        records = RecordStore(world.store)
        run = await ended(client, world, await world.deploy())
        await eventually(lambda: is_there(records, run))
        # When its record is deleted
        await client.delete(f"/api/v1/executions/{run}")
        await eventually(lambda: is_forgotten(world.gateway, run))
        await recorder._search_blocks()
        await recorder.stop()
        # Then the snapshot names it no more, and who begins with that knows nothing of it
        snapshot = await records.load_snapshot()
        assert snapshot is not None
        assert (snapshot.rows, snapshot.deleted, snapshot.to_delete) == ([], [], [])
        another = Gateway(world.platform)
        await another.start()
        assert (await is_forgotten(another, run), await another._view.find(run)) == (True, None)
        await another.stop()

    async def test_39_the_list_of_records_is_whole(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        runs = [await ended(client, world, algorithm_id) for _ in range(3)]
        await execute(client, algorithm_id)
        records = (await client.get("/api/v0/execute-algorithm/all")).json()
        assert [one["execution_id"] for one in records] == runs[::-1]
        assert {one["log"] for one in records} == {"done\n"}

    async def test_a_device_that_is_not_supported_is_refused_on_v1_and_warned_of_on_v0(
        self, client: Client, world: World
    ) -> None:
        algorithm_id = await world.deploy()
        wanted = {"algorithm_id": algorithm_id, "input_dataset_ids": [], "execution_device_override": "gpu"}
        assert code(await client.post("/api/v1/executions", json=wanted)) == (422, "request_validation_error")
        run = await execute(client, algorithm_id, execution_device_override="gpu")
        await world.settled()
        assert "gpu" in (world.request_of(run).work.device_warning or "")

    async def test_runs_start_and_stop_on_v1(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy(), "/api/v1/executions", execution_device_override=None)
        assert said(await client.post(f"/api/v1/executions/{run}/stop")) == (200, "Stop request posted successfully")


class TestLists:
    async def test_31_names_are_looked_up_in_exact_case_first_and_twice_the_same(
        self, client: Client, world: World
    ) -> None:
        ids = {name: await world.deploy(name=name) for name in ("Foo", "foo")}
        for name in ids:
            assert (await client.get(f"/api/v0/algorithm/{name}/1")).json()["algorithm_id"] == ids[name]
        assert (await client.get("/api/v0/algorithm/FOO/1")).status_code == 200
        first, second = [(await client.get("/api/v0/algorithm/all")).content for _ in range(2)]
        assert first == second

    async def test_algorithms_are_paged_and_found_by_id(self, client: Client, world: World) -> None:
        ids = [await world.deploy(name=name) for name in ("a", "B", "c")]
        seen, url = [], "/api/v1/algorithms?limit=2"
        while url:
            answer = await client.get(url)
            seen += [one["algorithm_id"] for one in answer.json()]
            url = answer.links["next"]["url"] if "next" in answer.links else ""
        assert seen == ids
        assert (await client.get(f"/api/v1/algorithms/{ids[1]}")).json()["algorithm_name"] == "B"
        assert [one["algorithm_name"] for one in (await client.get("/api/v1/algorithms?name=b")).json()] == ["B"]

    async def test_deploys_are_paged_and_found_by_id(self, client: Client) -> None:
        for name in ("a", "b", "c"):
            answer = await client.post(f"/api/v1/algorithms?algorithm_name={name}", content=b"PK\x03\x04" + bytes(9))
            assert answer.status_code == 200
        first = await client.get("/api/v1/deploys?limit=2")
        second = await client.get(first.links["next"]["url"])
        known = [one for one in first.json() + second.json() if one["algorithm_name"]]
        assert [one["algorithm_name"] for one in known] == ["c", "b", "a"]
        assert [one["algorithm_name"] for one in (await client.get("/api/v1/deploys?algorithm=B")).json()] == ["b"]
        assert (await client.get(f"/api/v1/deploys/{known[0]['deploy_id']}")).json() == known[0]

    @pytest.mark.parametrize("path", ["algorithms", "executions", "deploys"])
    async def test_a_made_up_cursor_is_422(self, client: Client, path: str) -> None:
        answer = await client.get(f"/api/v1/{path}?cursor=made-up")
        assert answer.status_code == 422
        assert "leave it out to begin anew" in answer.json()["detail"]


class TestServer:
    async def test_33_clients_find_the_server_by_a_tag(self, client: Client) -> None:
        root = (await client.get("/")).json()
        assert "compox" in root["tags"]
        assert root["cuda_available"] is None

    async def test_34_the_document_is_where_generators_look(self, client: Client) -> None:
        answer = await client.get("/openapi.json")
        assert answer.json()["openapi"].startswith("3.1")
        assert answer.content == describe().openapi  # which all answers of these tests are checked against
        assert (await client.get("/docs")).headers["content-type"].startswith("text/html")

    async def test_stats_say_how_runs_went(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        await ended(client, world, algorithm_id)
        await execute(client, algorithm_id)
        stats = (await client.get("/api/v1/stats")).json()
        assert (stats["submitted"], stats["ended"], stats["completed"]) == (2, 1, 1)
        assert [one["algorithm_name"] for one in stats["algorithms"]] == ["Denoise"]

    async def test_events_of_all_runs_go_on_where_a_client_left_off(self, world: World, client: Client) -> None:
        algorithm_id = await world.deploy()
        async with httpx.AsyncClient(base_url=world.gateway.url, timeout=10) as plain:
            async with plain.stream("GET", "/api/v1/events") as answer:
                run = await execute(client, algorithm_id)
                lines = answer.aiter_lines()
                first = [await anext(lines) for _ in range(4)]
            await world.start(run)
            seen = {"Last-Event-ID": first[0].partition(": ")[2]}
            async with plain.stream("GET", "/api/v1/events?project=default", headers=seen) as answer:
                lines = answer.aiter_lines()
                then = [await anext(lines) for _ in range(7)]
        assert '"status":"PENDING"' in first[2]
        assert ['"status":"STARTED"' in then[2], '"status":"RUNNING"' in then[6]] == [True, True]

    @pytest.mark.parametrize(("origin", "expected"), [("https://viewer.example", "true"), ("*", None)])
    async def test_35_credentials_are_a_setting_and_never_for_any_page(
        self, tmp_path: Path, origin: str, expected: str | None
    ) -> None:
        settings = {"cors_origins": [origin], "cors_credentials": True}
        async with world_at(tmp_path, **settings) as world, client_of(world) as client:
            answer = await client.get("/", headers={"Origin": "https://viewer.example"})
        assert answer.headers.get("Access-Control-Allow-Credentials") == expected
