"""The gateway over real HTTP, on a real bus and a real store. The other services speak through the tests."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from messages.deploys import AlgorithmDeleteRequested, DeployRequested
from messages.runs import Result, RunFailed, RunStateSet, RunStopRequested
from messages.workers import Lane, WorkerStarted
from services.gateway import service
from services.gateway.http.address import shown_host
from services.gateway.service import Gateway
from shared.files import COLLECTION, post
from shared.objects.base import list_all
from shared.objects.local import LocalObjectStore
from shared.records.ledger import Ledger
from shared.records.store import COLLECTION as RECORDS
from shared.records.store import DEPLOYS, RecordStore, log_key
from tests.contract.gateway_world import HDF5, World, client_of, eventually, platform_at, world_at
from tests.contract.gateway_world import client as client
from tests.unit.gateway_samples import completed, requested
from voxloom.errors import Misconfigured
from voxloom.ids import is_id, new_id
from voxloom.models import RunError, utc_now

ZIP = b"PK\x03\x04" + bytes(100)
UNKNOWN = "00000000-0000-1000-8000-000000000000"

Client = httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, deploy_roots=[tmp_path / "algorithms"], answer_timeout=5.0) as world:
        yield world


async def upload(client: Client, body: bytes = HDF5) -> str:
    answer = await client.post("/api/v0/files", content=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["file_id"])


async def execute(client: Client, algorithm_id: str, inputs: list[str] | None = None, **more: Any) -> str:
    body = {"algorithm_id": algorithm_id, "input_dataset_ids": inputs or [], **more}
    answer = await client.post("/api/v0/execute-algorithm", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["execution_id"])


async def record(client: Client, run: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/executions/{run}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def address(world: World) -> tuple[str, int]:
    url = httpx.URL(world.gateway.url)
    return url.host, url.port or 0


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestFiles:
    async def test_what_goes_in_comes_out(self, client: Client) -> None:
        answer = await client.get(f"/api/v0/files/{await upload(client)}")
        assert answer.content == HDF5
        assert answer.headers["Content-Length"] == str(len(HDF5))
        assert answer.headers["Accept-Ranges"] == "bytes"

    async def test_an_upload_without_length_and_type_is_taken(self, client: Client) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(HDF5), 1000):
                yield HDF5[start : start + 1000]

        answer = await client.post("/api/v0/files", content=pieces())
        assert (await client.get(f"/api/v0/files/{answer.json()['file_id']}")).content == HDF5

    async def test_what_is_no_hdf5_is_refused_and_leaves_nothing(self, client: Client, world: World) -> None:
        answer = await client.post("/api/v0/files", content=b"some text" * 1000)
        assert outcome(answer) == (422, "invalid_hdf5_file")
        assert [item.key async for item in list_all(world.store, COLLECTION)] == []

    async def test_the_reason_for_a_refusal_is_handed_on(self, client: Client, world: World) -> None:
        world.reject = RunError(type="X", message="It has external links; copy them in.", code="invalid_hdf5_file")
        answer = await client.post("/api/v0/files", content=HDF5)
        assert outcome(answer) == (422, "invalid_hdf5_file")
        assert "external links" in answer.json()["detail"]

    async def test_no_answer_from_ingest_is_503_and_may_be_tried_again(self, tmp_path: Path) -> None:
        async with world_at(tmp_path / "slow", answer_timeout=0.1) as world, client_of(world) as client:
            world.silent = True
            answer = await client.post("/api/v0/files", content=HDF5)
            assert outcome(answer) == (503, "answer_timeout")
            assert answer.json()["retryable"] is True

    async def test_a_file_over_the_limit_is_413(self, tmp_path: Path) -> None:
        async with world_at(tmp_path / "small", max_file_bytes=1000) as world, client_of(world) as client:
            assert (await client.post("/api/v0/files", content=HDF5)).status_code == 413

    async def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(self, world: World) -> None:
        with socket.create_connection(address(world)) as connection:
            head = f"POST /api/v0/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(HDF5) * 9}\r\n\r\n"
            await asyncio.to_thread(connection.sendall, head.encode() + HDF5)
        async with client_of(world) as client:
            await upload(client)  # Whatever came before is settled by now.

        async def one_file() -> bool:
            return len([item async for item in list_all(world.store, COLLECTION, "files/")]) == 1

        await eventually(one_file)

    @pytest.mark.parametrize(
        ("wanted", "part"),
        [("bytes=0-9", HDF5[:10]), ("bytes=-5", HDF5[-5:]), ("bytes=100-", HDF5[100:]), ("bytes=8-8", HDF5[8:9])],
    )
    async def test_a_range_gives_that_part(self, client: Client, wanted: str, part: bytes) -> None:
        answer = await client.get(f"/api/v0/files/{await upload(client)}", headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["Content-Range"].endswith(f"/{len(HDF5)}")

    async def test_a_range_beyond_the_end_is_416(self, client: Client) -> None:
        answer = await client.get(f"/api/v0/files/{await upload(client)}", headers={"Range": "bytes=999999-"})
        assert outcome(answer) == (416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{len(HDF5)}"

    async def test_who_has_the_bytes_gets_304(self, client: Client) -> None:
        path = f"/api/v0/files/{await upload(client)}"
        tag = (await client.get(path)).headers["ETag"]
        again = await client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")

    async def test_head_says_how_long_without_the_bytes(self, client: Client) -> None:
        answer = await client.head(f"/api/v0/files/{await upload(client)}")
        assert (answer.headers["Content-Length"], answer.content) == (str(len(HDF5)), b"")

    async def test_a_deleted_file_is_gone_also_as_an_input(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        file_id = await upload(client)
        assert (await client.delete(f"/api/v0/files/{file_id}")).json() == {"detail": "File deleted successfully"}
        assert outcome(await client.get(f"/api/v0/files/{file_id}")) == (404, "file_not_found")
        body = {"algorithm_id": algorithm_id, "input_dataset_ids": [file_id]}
        assert (await client.post("/api/v0/execute-algorithm", json=body)).status_code == 404

    @pytest.mark.parametrize("size", [3_000_001, 20_000_000])
    async def test_large_files_pass_unharmed(self, client: Client, size: int) -> None:
        body = HDF5 + os.urandom(size)
        assert (await client.get(f"/api/v0/files/{await upload(client, body)}")).content == body


class TestAlgorithms:
    async def test_nothing_deployed_is_404(self, client: Client) -> None:
        assert outcome(await client.get("/api/v0/algorithm/all")) == (404, "no_algorithms_found")

    async def test_filters_are_all_of_none_of_and_any_of(self, client: Client, world: World) -> None:
        await world.deploy(name="One", tags=["a", "b"], algorithm_type="Image2Image", supported_devices=["cpu"])
        await world.deploy(name="Two", tags=["b"], algorithm_type="Generic", supported_devices=["cpu", "gpu"])

        async def named(**query: Any) -> list[str]:
            answer = await client.get("/api/v0/algorithm/all", params=query)
            return [one["algorithm_name"] for one in answer.json()]

        assert await named() == ["One", "Two"]
        assert await named(positive_tag=["a", "b"]) == ["One"]
        assert await named(negative_tag="a") == ["Two"]
        assert await named(algorithm_type="image2IMAGE") == ["One"]
        assert await named(supported_devices=["GPU", "mps"]) == ["Two"]
        assert await named(positive_tag="nobody has it") == []

    async def test_exact_case_comes_first_then_any_case(self, client: Client, world: World) -> None:
        upper, lower = await world.deploy(name="Blur"), await world.deploy(name="blur")
        for name, found in (("Blur", upper), ("blur", lower)):
            assert (await client.get(f"/api/v0/algorithm/{name}/1")).json()["algorithm_id"] == found
        assert (await client.get("/api/v0/algorithm/BLUR/1")).status_code == 200

    async def test_two_looks_at_an_algorithm_are_byte_for_byte_the_same(self, client: Client, world: World) -> None:
        await world.deploy()
        one, two = [await client.get("/api/v0/algorithm/Denoise/1") for _ in range(2)]
        assert one.content == two.content


class TestDeploys:
    async def test_a_zip_is_deployed_and_its_record_says_so(self, client: Client, world: World) -> None:
        answer = await client.post("/api/v1/algorithms", content=ZIP, params={"algorithm_name": "Renamed"})
        assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
        asked = next(event for event in world.heard if isinstance(event, DeployRequested))
        assert await world.store.get(DEPLOYS, asked.source_key) == ZIP
        assert (await client.get("/api/v0/algorithm/Renamed/1")).status_code == 200

    async def test_without_waiting_it_is_pending(self, client: Client, world: World) -> None:
        world.silent = True
        answer = await client.post("/api/v1/algorithms", content=ZIP, params={"wait": 0})
        assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
        assert (await client.get(f"/api/v0/deploy/{answer.json()['deploy_id']}")).json() == answer.json()

    async def test_a_deploy_that_takes_longer_than_one_waits_goes_on(self, client: Client, world: World) -> None:
        world.silent = True
        answer = await client.post("/api/v1/algorithms", content=ZIP, params={"wait": 0.05})
        assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")

    async def test_a_failed_deploy_says_why_and_which_it_was(self, client: Client, world: World) -> None:
        world.reject = RunError(type="X", message="There is no Runner.py.", code="algorithm_runner_not_found")
        answer = await client.post("/api/v1/algorithms", content=ZIP)
        assert outcome(answer) == (400, "algorithm_runner_not_found")
        failed = await client.get(f"/api/v0/deploy/{answer.json()['details']['deploy_id']}")
        assert (failed.json()["status"], failed.json()["error"]["code"]) == ("FAILED", "algorithm_runner_not_found")

    @pytest.mark.parametrize("body", [b"", b"PK", b"no zip at all"])
    async def test_what_is_no_zip_is_refused_and_leaves_nothing(
        self, client: Client, world: World, body: bytes
    ) -> None:
        answer = await client.post("/api/v1/algorithms", content=body)
        assert outcome(answer) == (400, "invalid_deployment_zip")
        assert [item.key async for item in list_all(world.store, DEPLOYS)] == []

    async def test_a_folder_below_a_root_is_deployed(self, client: Client, world: World, tmp_path: Path) -> None:
        folder = tmp_path / "algorithms" / "mine"
        folder.mkdir(parents=True)
        (folder / "Runner.py").write_text("class Runner: pass")
        (folder / "pyproject.toml").write_text("[project]\nname='mine'\nversion='1.0'")
        answer = await client.post("/api/v0/deploy/local", params={"path": str(folder)})
        assert (answer.status_code, answer.json()["algorithm_name"]) == (200, "Denoise")

    @pytest.mark.parametrize("path", ["/etc", "/no/such/folder", "../..", "\0", "{root}/../other", "{root}/link"])
    async def test_a_path_outside_the_roots_is_refused_whether_it_exists_or_not(
        self, client: Client, tmp_path: Path, path: str
    ) -> None:
        root = tmp_path / "algorithms"
        root.mkdir()
        (root / "link").symlink_to("/etc")
        answer = await client.post("/api/v0/deploy/local", params={"path": path.format(root=root)})
        assert outcome(answer) == (403, "deploy_path_not_allowed")

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("missing", "deploy_path_not_found"),
            ("missing.zip", "deployment_zip_not_found"),
            ("text.txt", "invalid_deploy_path_type"),
            ("text.zip", "invalid_deployment_zip"),
        ],
    )
    async def test_what_cannot_be_deployed_from_a_root_is_400(
        self, client: Client, tmp_path: Path, name: str, code: str
    ) -> None:
        root = tmp_path / "algorithms"
        root.mkdir()
        for text in ("text.txt", "text.zip"):
            (root / text).write_text("text")
        answer = await client.post("/api/v0/deploy/local", params={"path": str(root / name)})
        assert outcome(answer) == (400, code)

    async def test_an_algorithm_is_removed_only_if_it_says_so(self, client: Client, world: World) -> None:
        kept, removable = await world.deploy(name="Kept"), await world.deploy(name="Gone", removable=True)
        assert outcome(await client.delete(f"/api/v0/deploy/algorithm/{kept}")) == (400, "algorithm_not_removable")
        answer = await client.delete(f"/api/v0/deploy/algorithm/{removable}")
        assert answer.json() == {"detail": "Algorithm removed"}
        assert outcome(await client.get("/api/v0/algorithm/Gone/1")) == (404, "algorithm_not_found")

    async def test_an_operator_removes_it_regardless(self, client: Client, world: World) -> None:
        await world.deploy(name="Kept")
        answer = await client.delete("/api/v1/algorithms/kept/1", params={"minor": "0"})
        assert answer.json() == {"detail": "Algorithm minor version 0 removed"}
        asked = next(event for event in world.heard if isinstance(event, AlgorithmDeleteRequested))
        assert (asked.minor, asked.regardless) == ("0", True)

    async def test_an_unknown_minor_version_cannot_be_removed(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy(removable=True)
        answer = await client.delete(
            f"/api/v0/deploy/algorithm/{algorithm_id}", params={"algorithm_minor_version": "9"}
        )
        assert outcome(answer) == (404, "minor_version_not_found")


class TestExecutions:
    async def test_a_record_can_be_read_at_once_and_has_the_values_of_a_beginning(
        self, client: Client, world: World
    ) -> None:
        run = await execute(client, await world.deploy(), additional_parameters={"sigma": 2})
        answer = (await client.get(f"/api/v0/executions/{run}")).json()
        assert (answer["status"], answer["progress"], answer["output_dataset_ids"]) == ("PENDING", 0.0, [])
        assert (answer["time_completed"], answer["log"], answer["additional_parameters"]) == ("", "", {"sigma": 2})
        assert answer["time_started"]
        assert is_id(answer["session_token"])

    async def test_defaults_are_filled_for_the_author_and_the_record_keeps_what_was_sent(
        self, client: Client, world: World
    ) -> None:
        declared = [{"name": "sigma", "config": {"type": "float", "default": 1.5}}]
        run = await execute(client, await world.deploy(additional_parameters=declared), additional_parameters=None)
        work = world.request_of(run).work
        assert (work.arguments, work.parameters) == ({"sigma": 1.5}, {})

    async def test_a_wrong_parameter_is_422(self, client: Client, world: World) -> None:
        declared = [{"name": "sigma", "config": {"type": "float", "default": 1.5}}]
        body = {
            "algorithm_id": await world.deploy(additional_parameters=declared),
            "input_dataset_ids": [],
            "additional_parameters": {"sigma": "much"},
        }
        answer = await client.post("/api/v0/execute-algorithm", json=body)
        assert outcome(answer) == (422, "request_validation_error")
        assert answer.json()["details"]["errors"][0]["loc"] == ["additional_parameters", "sigma"]

    async def test_a_parameter_that_is_not_declared_is_answered_with_a_warning(
        self, client: Client, world: World
    ) -> None:
        algorithm_id = await world.deploy(additional_parameters=[{"name": "sigma", "config": {"type": "float"}}])
        answers = []
        for name in ("sigma", "sigme"):
            body = {"algorithm_id": algorithm_id, "input_dataset_ids": [], "additional_parameters": {name: 1.0}}
            answers.append((await client.post("/api/v0/execute-algorithm", json=body)).json())
        said = ["The algorithm declares no parameter 'sigme' (did you mean 'sigma'?); it is passed on as it is."]
        assert [set(answers[0]), answers[1]["warnings"]] == [{"execution_id"}, said]
        assert world.request_of(answers[1]["execution_id"]).work.warnings == said

    @pytest.mark.parametrize("path", ["/api/v0/execute-algorithm", "/api/v1/executions"])
    async def test_a_strict_algorithm_refuses_what_it_does_not_declare(
        self, client: Client, world: World, path: str
    ) -> None:
        declared = [{"name": "sigma", "config": {"type": "float"}}]
        algorithm_id = await world.deploy(additional_parameters=declared, strict=True)
        body = {"algorithm_id": algorithm_id, "input_dataset_ids": [], "additional_parameters": {"sigme": 1.0}}
        answer = await client.post(path, json=body)
        assert outcome(answer) == (422, "request_validation_error")
        assert "'sigme' is not declared (did you mean 'sigma'?)" in answer.json()["detail"]

    async def test_a_field_that_is_not_known_is_refused_by_v1_and_ignored_by_v0(
        self, client: Client, world: World
    ) -> None:
        body = {"algorithm_id": await world.deploy(), "input_dataset_ids": [], "additional_parameter": {"sigma": 1.0}}
        answers = [await client.post(path, json=body) for path in ("/api/v0/execute-algorithm", "/api/v1/executions")]
        assert [answer.status_code for answer in answers] == [200, 422]
        assert "additional_parameter: is not known here (did you mean 'additional_parameters'?)" in answers[1].text

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/api/v1/executions?statuss=FAILED", 422),
            ("/api/v1/workers?statuss=FAILED", 422),
            ("/api/v0/checkpoint/all?statuss=FAILED", 404),
        ],
    )
    async def test_a_query_that_is_not_known_is_refused_by_v1_and_ignored_by_v0(
        self, client: Client, path: str, code: int
    ) -> None:
        answer = await client.get(path)
        assert (answer.status_code, "statuss: is not known here" in answer.text) == (code, code == 422)

    async def test_checks_come_in_the_order_that_clients_know(self, client: Client, world: World) -> None:
        # Given a request in which everything is wrong, when one thing after the other is put right
        algorithm_id = await world.deploy(
            additional_parameters=[{"name": "sigma", "config": {"type": "float", "default": 1.5}}]
        )
        body: dict[str, Any] = {
            "algorithm_id": "nope",
            "input_dataset_ids": ["missing"],
            "algorithm_minor_version": "9",
            "checkpoint_id": "none",
            "additional_parameters": {"sigma": "x"},
        }
        codes = []
        repairs: list[dict[str, Any]] = [
            {},
            {"input_dataset_ids": []},
            {"algorithm_id": algorithm_id},
            {"algorithm_minor_version": "0"},
            {"checkpoint_id": None},
        ]
        for repair in repairs:
            body.update(repair)
            codes.append((await client.post("/api/v0/execute-algorithm", json=body)).json()["code"])
        # Then each fault is told in its turn
        assert codes == [
            "input_datasets_not_found",
            "algorithm_not_found",
            "minor_version_not_found",
            "checkpoint_not_found",
            "request_validation_error",
        ]

    async def test_missing_inputs_are_named_once_each_in_their_order(self, client: Client, world: World) -> None:
        there = await upload(client)
        body = {"algorithm_id": "x", "input_dataset_ids": ["b", there, "a", "b", "nul\0"]}
        answer = await client.post("/api/v0/execute-algorithm", json=body)
        assert answer.json()["details"]["missing_dataset_ids"] == ["b", "a", "nul\0"]

    async def test_outputs_can_be_used_once_the_run_has_completed_and_not_before(
        self, client: Client, world: World, tmp_path: Path
    ) -> None:
        # Given a run that has posted a file
        algorithm_id = await world.deploy()
        run = await execute(client, algorithm_id)
        await world.start(run)
        (tmp_path / "out.h5").write_bytes(HDF5)
        output = new_id()
        await post(world.store, project="default", run=run, attempt=1, number=0, files=[(output, tmp_path / "out.h5")])
        assert (await client.get(f"/api/v0/files/{output}")).status_code == 404
        # When it completes
        await world.complete(run, outputs=[output])
        assert (await record(client, run, wait=10))["output_dataset_ids"] == [output]
        # Then the file can be read, and is an input
        assert (await client.get(f"/api/v0/files/{output}")).content == HDF5
        await execute(client, algorithm_id, [output])

    async def test_an_unsupported_device_runs_on_the_default_and_a_warning_is_passed_on(
        self, client: Client, world: World
    ) -> None:
        run = await execute(client, await world.deploy(), execution_device_override="gpu")
        work = world.request_of(run).work
        assert (work.devices, work.device_override) == (["cpu"], "gpu")
        assert "gpu" in (work.device_warning or "")

    async def test_a_body_without_content_type_and_with_unknown_fields_is_taken(
        self, client: Client, world: World
    ) -> None:
        body = {"algorithm_id": await world.deploy(), "input_dataset_ids": [], "extra": 1, "session_token": "mine"}
        request = client.build_request("POST", "/api/v0/execute-algorithm", content=json.dumps(body))
        request.headers.pop("Content-Type", None)
        run = (await client.send(request)).json()["execution_id"]
        assert (await record(client, run))["session_token"] == "mine"

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 300 + b"1" + b"}" * 300, b'{"algorithm_id": NaN}']
    )
    async def test_malformed_json_is_422(self, client: Client, body: bytes) -> None:
        answer = await client.post("/api/v0/execute-algorithm", content=body)
        assert outcome(answer) == (422, "request_validation_error")

    async def test_parameters_nested_beyond_reason_are_422(self, client: Client, world: World) -> None:
        deep = b'{"algorithm_id":"x","input_dataset_ids":[],"additional_parameters":{"a":' + b"[" * 300 + b"]" * 300
        answer = await client.post("/api/v0/execute-algorithm", content=deep + b"}}")
        assert outcome(answer) == (422, "request_validation_error")

    @pytest.mark.parametrize("number", ["1e999", "123456789012345678901234567890", "-0.0", "1e-400"])
    async def test_odd_numbers_do_not_break_anything(self, client: Client, world: World, number: str) -> None:
        body = (
            f'{{"algorithm_id":"{await world.deploy()}","input_dataset_ids":[],'
            f'"additional_parameters":{{"n":{number}}}}}'
        )
        answer = await client.post("/api/v0/execute-algorithm", content=body)
        assert answer.status_code in (200, 422)

    @pytest.mark.parametrize("path", ["/api/v0/execute-algorithm", "/api/v0/files", "/api/v1/algorithms"])
    async def test_a_packed_body_is_refused_before_it_can_grow(self, client: Client, path: str) -> None:
        answer = await client.post(path, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
        assert outcome(answer) == (415, "unsupported_content_encoding")

    async def test_a_json_body_over_the_limit_is_413(self, tmp_path: Path) -> None:
        async with world_at(tmp_path / "small", max_json_bytes=1000) as world, client_of(world) as client:
            answer = await client.post("/api/v0/execute-algorithm", content=b'"' + b"x" * 2000 + b'"')
            assert outcome(answer) == (413, "too_large")

    async def test_a_long_poll_answers_as_soon_as_the_run_has_ended(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        asking = asyncio.create_task(record(client, run, wait=60))
        await world.start(run)
        await world.complete(run)
        assert (await asyncio.wait_for(asking, 50))["status"] == "COMPLETED"

    async def test_a_long_poll_gives_the_record_as_it_is_when_its_time_is_over(
        self, client: Client, world: World
    ) -> None:
        assert (await record(client, await execute(client, await world.deploy()), wait=0.05))["status"] == "PENDING"

    @pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
    async def test_a_wait_that_cannot_be_is_422(self, client: Client, wait: str) -> None:
        answer = await client.get(f"/api/v1/executions/{UNKNOWN}", params={"wait": wait})
        assert outcome(answer) == (422, "request_validation_error")

    async def test_a_stop_is_passed_on_and_the_record_says_so(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        answer = await client.post(f"/api/v0/executions/{run}/stop")
        assert answer.json() == {"detail": "Stop request posted successfully"}
        assert (await record(client, run))["stop_requested"] is True

        async def asked() -> bool:
            return any(isinstance(event, RunStopRequested) for event in world.heard)

        await eventually(asked)

    async def test_what_has_ended_cannot_be_stopped(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.complete(run)
        await record(client, run, wait=10)
        answer = await client.post(f"/api/v0/executions/{run}/stop")
        assert outcome(answer) == (400, "execution_not_stoppable")
        assert answer.json()["details"] == {"execution_id": run, "status": "COMPLETED"}

    async def test_lists_page_by_link(self, client: Client, world: World) -> None:
        algorithm_id = await world.deploy()
        runs = [await execute(client, algorithm_id) for _ in range(5)]
        seen, url = [], "/api/v1/executions?limit=2&algorithm=denoise"
        while url:
            answer = await client.get(url)
            seen += [item["execution_id"] for item in answer.json()]
            url = answer.links["next"]["url"] if "next" in answer.links else ""
        assert seen == runs[::-1]

    async def test_an_empty_list_is_200(self, client: Client) -> None:
        answer = await client.get("/api/v1/executions", params={"status": "FAILED"})
        assert (answer.status_code, answer.json()) == (200, [])

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=1001", "limit=x", "status=DONE", "cursor=made-up", "sort=up", "since=x"]
    )
    async def test_a_wrong_query_is_422(self, client: Client, query: str) -> None:
        assert outcome(await client.get(f"/api/v1/executions?{query}")) == (422, "request_validation_error")


class TestWaiting:
    async def test_a_run_says_what_it_waits_for_and_has_not_started(self, tmp_path: Path) -> None:
        async with world_at(tmp_path, lease=600.0) as world, client_of(world) as client:
            # Given a worker with one slot, a run that it has, and two that wait
            algorithm_id = await world.deploy()
            lanes = [Lane(device_class="cpu", device="cpu", slots=1)]
            await world.bus.publish(WorkerStarted(subject="i1", worker_id="w", lanes=lanes))
            busy, first, second = [await execute(client, algorithm_id) for _ in range(3)]
            await world.start(busy)
            # When they are asked for
            told = [await record(client, run) for run in (busy, first, second)]
            old = (await client.get(f"/api/v0/executions/{first}")).json()
        # Then they say how many come first, and only what runs has started
        assert [one["waiting"] for one in told] == [
            None,
            {"reason": "others_first", "ahead": 0},
            {"reason": "others_first", "ahead": 1},
        ]
        assert [one["time_started"] is None for one in told] == [False, True, True]
        assert all(one["time_submitted"] for one in told)
        assert (old["time_started"], old["waiting"]) == (told[1]["time_submitted"], None)

    async def test_without_a_worker_there_is_no_device(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        assert (await record(client, run))["waiting"] == {"reason": "no_device", "ahead": 0}

    async def test_what_an_execution_says_of_itself_shows_and_stays(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.start(run)
        world.bus.announce(RunStateSet(subject=run, attempt=1, state={"found": 3}))

        async def shown() -> bool:
            return bool((await record(client, run))["state"] == {"found": 3})

        await eventually(shown)
        await world.complete(run, state={"found": 4})
        assert (await record(client, run, wait=10))["state"] == {"found": 4}

    async def test_a_row_of_a_list_says_why_its_run_has_failed(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        error = RunError(type="ValueError", message="too dark", code="algorithm_error")
        end = RunFailed(subject=run, attempt=1, epoch=1, worker_id="w", result=Result(error=error))
        await world.bus.publish(end)
        await world.settled()
        (row,) = (await client.get("/api/v1/executions")).json()
        assert (row["error"]["code"], row["error"]["message"]) == ("algorithm_error", "too dark")


class TestLogs:
    async def test_lines_show_while_it_runs(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.start(run)
        world.log(run, 0, "early\n")

        async def shown() -> bool:
            return (await client.get(f"/api/v1/executions/{run}/log")).text == "early\n"

        await eventually(shown)
        assert (await record(client, run))["log"] == "early\n"
        assert (await client.get(f"/api/v0/executions/{run}")).json()["log"] == "early\n"

    async def test_after_the_end_the_log_is_the_records(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.complete(run, log="all of it\n")
        assert (await record(client, run, wait=10))["log"] == "all of it\n"
        answer = await client.get(f"/api/v1/executions/{run}/log", headers={"Range": "bytes=0-2"})
        assert (answer.status_code, answer.text) == (206, "all")

    async def test_a_long_log_comes_from_the_store_and_the_record_points_to_it(
        self, client: Client, world: World
    ) -> None:
        run = await execute(client, await world.deploy())
        whole = "žluť\n" * 400_000
        await world.store.put(RECORDS, log_key(run, 1), whole.encode())
        await world.complete(run, log="head … tail\n", log_key=log_key(run, 1))
        shown = (await record(client, run, wait=10))["log"]
        assert shown.startswith("head … tail\n")
        assert f"/api/v1/executions/{run}/log" in shown
        assert (await client.get(f"/api/v1/executions/{run}/log")).text == whole

    async def test_a_log_of_up_to_a_mebibyte_is_whole_in_the_record(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.store.put(RECORDS, log_key(run, 1), b"line\n" * 100_000)
        await world.complete(run, log="ends", log_key=log_key(run, 1))
        assert (await record(client, run, wait=10))["log"] == "line\n" * 100_000


Told = tuple[str, dict[str, Any], str]


async def events_of(client: Client, run: str, **headers: str) -> AsyncIterator[Told]:
    """(event, data, id) of a run's stream."""
    kind = identifier = ""
    async with client.stream("GET", f"/api/v1/executions/{run}/events", headers=headers) as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                identifier = value
            elif name == "data":
                yield kind, json.loads(value), identifier
                identifier = ""


async def next_of(told: AsyncIterator[Told]) -> Told:
    return await asyncio.wait_for(anext(told), 10)


class TestEvents:
    async def test_a_run_is_told_from_its_beginning_to_its_end(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        told = events_of(client, run)
        seen = [await next_of(told)]
        await world.start(run)
        world.log(run, 0, "hello\n")
        world.progress(run, 0.5)
        seen += [await next_of(told) for _ in range(4)]
        await world.complete(run, log="hello\nbye\n")
        seen += [one async for one in told]
        statuses = [data["status"] for kind, data, _ in seen if kind == "status"]
        assert statuses == ["PENDING", "STARTED", "RUNNING", "COMPLETED"]
        assert "".join(data["text"] for kind, data, _ in seen if kind == "log") == "hello\nbye\n"
        assert [data["progress"] for kind, data, _ in seen if kind == "progress"] == [0.5, 1.0]
        assert seen[-1][0] == "status"

    async def test_offsets_grow_and_who_comes_back_is_told_only_what_is_new(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.start(run)
        told = events_of(client, run)
        _, data, identifier = await next_of(told)
        assert (data["status"], data["log"]) == ("RUNNING", "")
        again = events_of(client, run, **{"Last-Event-ID": identifier})
        await world.complete(run)
        kinds = [(kind, data.get("status")) async for kind, data, _ in again]
        assert kinds == [("progress", None), ("status", "COMPLETED")]
        assert [data["status"] async for kind, data, _ in told if kind == "status"] == ["COMPLETED"]

    async def test_who_comes_back_late_is_told_every_status_in_between(self, client: Client, world: World) -> None:
        # Given a client that has seen a run begin
        run = await execute(client, await world.deploy())
        await world.start(run)
        _, _, identifier = await next_of(events_of(client, run))
        # When it comes back after a second attempt and the end
        await world.start(run, attempt=2)
        await world.complete(run, attempt=2)
        assert (await record(client, run, wait=10))["status"] == "COMPLETED"
        again = events_of(client, run, **{"Last-Event-ID": identifier})
        # Then it misses nothing
        told = [(data["status"], int(at)) async for kind, data, at in again if kind == "status"]
        assert [status for status, _ in told] == ["STARTED", "RUNNING", "COMPLETED"]
        assert [at for _, at in told] == sorted({at for _, at in told} - {int(identifier)})

    async def test_who_has_seen_the_end_is_told_that_there_is_no_more(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.complete(run)
        *_, (_, _, identifier) = [one async for one in events_of(client, run)]
        answer = await client.get(f"/api/v1/executions/{run}/events", headers={"Last-Event-ID": identifier})
        assert answer.status_code == 204

    async def test_who_comes_with_an_id_of_a_broker_that_is_no_more_is_told_how_things_are(
        self, client: Client, world: World
    ) -> None:
        run = await execute(client, await world.deploy())
        await world.complete(run)
        told = [one async for one in events_of(client, run, **{"Last-Event-ID": "123456789"})]
        assert [data["status"] for kind, data, _ in told if kind == "status"] == ["COMPLETED"]

    async def test_a_new_attempt_begins_a_new_log(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.start(run)
        world.log(run, 0, "first try\n")
        told = events_of(client, run)
        assert [(await next_of(told))[0] for _ in range(2)] == ["status", "log"]
        await world.start(run, attempt=2)
        world.log(run, 0, "second try\n", attempt=2)
        await world.complete(run, attempt=2, log="second try\n")
        logs = [data async for kind, data, _ in told if kind == "log"]
        assert [(log["attempt"], log["offset"], log["text"]) for log in logs] == [(2, 0, "second try\n")]

    async def test_a_client_that_leaves_is_forgotten(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        async with client.stream("GET", f"/api/v1/executions/{run}/events") as stream:
            async for _ in stream.aiter_lines():
                break
        await world.start(run)
        await world.complete(run)
        assert (await record(client, run, wait=10))["status"] == "COMPLETED"


class TestLife:
    async def test_after_a_restart_the_view_is_as_before(self, tmp_path: Path) -> None:
        # Given runs of which one has ended
        async with world_at(tmp_path) as world, client_of(world) as client:
            algorithm_id = await world.deploy()
            ended, waiting = await execute(client, algorithm_id), await execute(client, algorithm_id)
            await world.complete(ended)
            before = [await record(client, ended, wait=10), await record(client, waiting)]
        # When the gateway starts again
        async with world_at(tmp_path) as world, client_of(world) as client:
            # Then it knows them as they were, at once
            assert [await record(client, ended), await record(client, waiting)] == before
            listed = (await client.get("/api/v1/executions")).json()
            assert [(one["execution_id"], one["status"]) for one in listed] == [
                (waiting, "PENDING"),
                (ended, "COMPLETED"),
            ]

    async def test_what_the_recorder_keeps_is_known_without_the_stream(self, tmp_path: Path) -> None:
        # Given a snapshot that is all that is left of two runs
        store = LocalObjectStore(tmp_path / "objects")
        await store.open()
        ended, waiting = new_id(), new_id()
        records, ledger = RecordStore(store), Ledger()
        ledger.apply(1, ledger.epoch, [requested(ended), completed(ended), requested(waiting, second=5)])
        states = ledger.to_store(10)
        await records.save_runs(states)
        ledger.stored(states)
        await records.save_snapshot(ledger.snapshot(utc_now()))
        await store.close()
        # When a gateway starts, then it lists both and finds both
        async with world_at(tmp_path, execution_expire_days=None) as world, client_of(world) as client:
            listed = (await client.get("/api/v1/executions")).json()
            assert [one["execution_id"] for one in listed] == [waiting, ended]
            assert [(await record(client, run))["status"] for run in (ended, waiting)] == ["COMPLETED", "PENDING"]

    async def test_a_stop_ends_long_polls_and_streams_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "SHUTDOWN_SECS", 600.0)
        async with world_at(tmp_path) as world, client_of(world) as client:
            run = await execute(client, await world.deploy())
            polling = asyncio.create_task(record(client, run, wait=60))
            told = events_of(client, run)
            await next_of(told)
            await asyncio.wait_for(world.gateway.stop(), 50)
            assert (await polling)["status"] == "PENDING"
            assert [one async for one in told] == []

    async def test_a_port_that_is_taken_is_one_sentence_that_names_it(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            async with platform_at(tmp_path, port=port) as platform:
                gateway = Gateway(platform)
                with pytest.raises(Misconfigured, match=str(port)):
                    await gateway.start()
                await gateway.stop()

    async def test_it_is_ready_and_not_ready_without_its_bus(self, client: Client, world: World) -> None:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        await world.bus.close()
        answer = await client.get("/readyz")
        assert outcome(answer) == (503, "not_ready")
        assert (await client.get("/livez")).status_code == 200

    async def test_a_bus_that_is_gone_is_503_not_500(self, client: Client, world: World) -> None:
        run = await execute(client, await world.deploy())
        await world.bus.close()
        answer = await client.post(f"/api/v0/executions/{run}/stop")
        assert outcome(answer) == (503, "bus_unavailable")

    async def test_metrics_tell_of_requests_runs_and_queues(self, client: Client, world: World) -> None:
        await execute(client, await world.deploy())
        text = (await client.get("/metrics")).text
        assert 'voxloom_http_requests_total{method="POST",route="/api/v0/execute-algorithm",status="200"} 1.0' in text
        assert 'voxloom_runs{status="PENDING"} 1.0' in text
        assert 'voxloom_bus_queue_waiting{queue="recorder"}' in text
        assert "process_resident_memory_bytes" in text

    async def test_metrics_answer_without_a_bus_with_what_was_known(self, client: Client, world: World) -> None:
        await client.get("/metrics")
        await world.bus.close()
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert 'voxloom_bus_queue_waiting{queue="recorder"}' in answer.text

    async def test_who_listens_everywhere_is_warned_and_told_where(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with platform_at(tmp_path, host="0.0.0.0", open_to=["10.0.0.0/8"]) as platform:
            gateway = Gateway(platform)
            await gateway.start()
            await gateway.stop()
        assert gateway.url.startswith(f"http://{shown_host('0.0.0.0')}:")
        assert f"Everybody in 10.0.0.0/8 who can reach {gateway.url} can run code" in caplog.text


class TestEverywhere:
    async def test_who_leaves_early_or_sends_garbage_leaves_no_error_in_the_log(
        self, client: Client, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given clients that stop in the middle of a download, an upload and a request, and one that sends no HTTP
        file_id = await upload(client, HDF5 + os.urandom(20_000_000))
        for data in (
            f"GET /api/v0/files/{file_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
            b"POST /api/v0/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + HDF5,
            b"POST /api/v0/execute-algorithm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n{",
            b"\x16\x03\x01\x02 no HTTP\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(*address(world))
            writer.write(data)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.2)
            writer.transport.abort()

        # When all of them are over
        async def over() -> bool:
            text = (await client.get("/metrics")).text
            left = (
                '"/api/v0/files/{file_id}",status="499"',
                '"/api/v0/execute-algorithm",status="400"',
                '"/api/v0/files",status="400"',
            )
            return all(one in text for one in left)

        await eventually(over)
        # Then the log has no error
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_the_root_can_be_found_by_clients(self, client: Client) -> None:
        answer = (await client.get("/")).json()
        assert "compox" in answer["tags"]
        assert answer["cuda_available"] is None

    async def test_unknown_paths_and_methods_are_problems(self, client: Client) -> None:
        assert outcome(await client.get("/api/v0/nothing")) == (404, "http_404")
        answer = await client.put("/api/v0/files")
        assert outcome(answer) == (405, "http_405")
        assert "POST" in answer.headers["Allow"]
        assert answer.headers["Content-Type"].startswith("application/problem+json")

    @pytest.mark.parametrize(
        ("method", "path", "code"),
        [
            ("GET", "/api/v0/files/{id}", "file_not_found"),
            ("DELETE", "/api/v0/files/{id}", "file_not_found"),
            ("GET", "/api/v0/executions/{id}", "execution_record_not_found"),
            ("GET", "/api/v1/executions/{id}?wait=1", "execution_record_not_found"),
            ("GET", "/api/v1/executions/{id}/log", "execution_record_not_found"),
            ("GET", "/api/v1/executions/{id}/events", "execution_record_not_found"),
            ("POST", "/api/v0/executions/{id}/stop", "execution_record_not_found"),
            ("GET", "/api/v0/deploy/{id}", "deploy_record_not_found"),
            ("GET", "/api/v0/algorithm/{id}/1", "algorithm_not_found"),
            ("GET", "/api/v0/algorithm/a/{id}", "algorithm_not_found"),
            ("DELETE", "/api/v1/algorithms/{id}/1", "algorithm_not_found"),
            ("DELETE", "/api/v0/deploy/algorithm/{id}", "algorithm_not_found"),
        ],
    )
    async def test_odd_ids_are_404_and_nothing_else(self, client: Client, method: str, path: str, code: str) -> None:
        odd = [UNKNOWN, UNKNOWN.upper(), "%00", "..%2F..%2Fetc", "%ff%fe", "x" * 10_000, "ř" * 50, "%2E%2E", "a%0Ab"]
        answers = [await client.request(method, path.format(id=one)) for one in odd]
        assert [outcome(answer) for answer in answers] == [(404, code)] * len(odd)

    async def test_an_internal_error_says_an_id_and_no_more(
        self, client: Client, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("the secret is hunter2")

        monkeypatch.setattr(world.gateway._catalog, "page", broken)
        answer = await client.get("/api/v1/executions")
        assert outcome(answer) == (500, "internal_error")
        assert "hunter2" not in answer.text
        assert answer.json()["details"]["error_id"] in caplog.text

    async def test_foreign_web_pages_change_nothing(self, client: Client, world: World) -> None:
        headers = {"Origin": "http://evil.example"}
        answer = await client.post("/api/v0/execute-algorithm", content="{}", headers=headers)
        assert outcome(answer) == (403, "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in (await client.get("/", headers=headers)).headers

    async def test_allowed_web_pages_may_do_everything(self, tmp_path: Path) -> None:
        origin = {"Origin": "https://viewer.example"}
        async with (
            world_at(tmp_path, cors_origins=["https://viewer.example"]) as world,
            client_of(world, headers=origin) as client,
        ):
            asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-mine"}
            preflight = await client.options("/api/v0/files/x", headers=asked)
            assert (preflight.status_code, preflight.headers["Access-Control-Allow-Headers"]) == (204, "x-mine")
            answer = await client.post("/api/v0/files", content=HDF5)
            assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
