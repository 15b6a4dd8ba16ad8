"""Samples, trainings, checkpoints and benchmarks over real HTTP: what is taken, and what is refused and how."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from messages.runs import Result, RunCompleted, RunProgressed, RunRequested, RunStateSet, RunStopRequested
from messages.trainings import Checkpoint, TrainingCheckpointDropped, TrainingCheckpointSaved
from shared import checkpoints, files
from tests.contract.gateway_world import HDF5, World, eventually
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from voxloom.cli.program import app
from voxloom.ids import new_id

UNKNOWN = "00000000-0000-1000-8000-000000000000"
HOSTILE = ["../../etc/passwd", "~", "a/b", "nul\0", "x" * 10_000, "žluťoučký-顕微鏡", "", " "]


async def upload(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/v0/files", content=HDF5)).json()["file_id"])


async def make_sample(client: httpx.AsyncClient, *tags: str) -> str:
    body = {"files": [{"image": [await upload(client)]}], "tags": list(tags)}
    return str((await client.post("/api/v0/sample", json=body)).json()["sample_id"])


async def train(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/api/v0/train-algorithm", json=body)


async def begun(world: World, client: httpx.AsyncClient, **more: Any) -> str:
    algorithm = await world.deploy()
    answer = await train(client, algorithm_id=algorithm, training_data=[await make_sample(client)], **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["training_id"])


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def save_checkpoint(world: World, algorithm_id: str, *tags: str, training: str = UNKNOWN, age: int = 0) -> str:
    checkpoint = Checkpoint(
        checkpoint_id=new_id(),
        project="default",
        training_id=training,
        algorithm_id=algorithm_id,
        algorithm_name="Denoise",
        algorithm_major_version="1",
        algorithm_minor_version="0",
        created_at=datetime.now(UTC) - timedelta(seconds=age),
        properties={"dice": 0.9},
        tags=list(tags),
        assets={"files/w": "0" * 64},
    )
    await checkpoints.save(world.store, checkpoint)
    await world.bus.publish(TrainingCheckpointSaved(subject=training, checkpoint=checkpoint))
    return checkpoint.checkpoint_id


class TestSamples:
    async def test_a_sample_can_be_read_and_listed_by_its_folded_tags(self, client: httpx.AsyncClient) -> None:
        sample = await make_sample(client, " Cells ", "cells", "Big")
        record = (await client.get(f"/api/v0/sample/{sample}")).json()
        assert record["tags"] == ["cells", "big"]
        query = {"positive_tags": ["CELLS", "big"], "negative_tags": "small"}
        assert (await client.get("/api/v0/sample/all", params=query)).json() == [record]
        assert (await client.get("/api/v0/sample/all", params={"negative_tags": "Big"})).json() == []

    async def test_without_any_sample_the_old_list_is_404_and_the_new_one_empty(
        self, client: httpx.AsyncClient
    ) -> None:
        assert refusal(await client.get("/api/v0/sample/all")) == (404, "samples_not_found")
        assert (await client.get("/api/v1/samples")).json() == []

    async def test_pages_add_up_the_newest_first(self, client: httpx.AsyncClient) -> None:
        made = [await make_sample(client) for _ in range(3)]
        first = await client.get("/api/v1/samples", params={"limit": 2})
        rest = await client.get(first.links["next"]["url"])
        found = [item["sample_id"] for page in (first, rest) for item in page.json()]
        assert (found, "next" in rest.links) == (made[::-1], False)

    @pytest.mark.parametrize("path", ["/api/v1/samples", "/api/v1/checkpoints", "/api/v1/trainings"])
    @pytest.mark.parametrize("cursor", ["x", "AAAA", "💥", "a" * 5000])
    async def test_a_made_up_cursor_is_422(self, client: httpx.AsyncClient, path: str, cursor: str) -> None:
        answer = await client.get(path, params={"cursor": cursor})
        assert refusal(answer) == (422, "request_validation_error")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"files": []},
            {"files": [{}]},
            {"files": [{"image": []}]},
            {"files": [{"image": ["a"]}, {"mask": ["b"]}]},
            {"files": [{"image": ["a"]}, {"image": ["b"], "mask": []}]},
            {"files": [{"image": "a"}]},
            {"files": [{"image": [1]}]},
            {"files": {"image": ["a"]}},
            {"files": [{"image": ["a"]}], "tags": "cells"},
            {"files": [{"image": ["a"]}], "tags": [1]},
        ],
    )
    async def test_what_is_no_sample_is_422(self, client: httpx.AsyncClient, body: Any) -> None:
        answer = await client.post("/api/v0/sample", json=body)
        assert refusal(answer) == (422, "request_validation_error")

    async def test_files_that_are_not_there_are_named_and_nothing_is_left(self, client: httpx.AsyncClient) -> None:
        body = {"files": [{"image": [await upload(client), UNKNOWN, *HOSTILE]}]}
        answer = await client.post("/api/v0/sample", json=body)
        assert refusal(answer) == (404, "sample_input_files_not_found")
        assert answer.json()["details"] == {key: [UNKNOWN, *HOSTILE] for key in ("file_ids", "missing_file_ids")}
        assert refusal(await client.get("/api/v0/sample/all")) == (404, "samples_not_found")

    async def test_a_file_that_is_about_to_be_deleted_is_not_there(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        file_id = await upload(client)
        await world.store.put(files.COLLECTION, files.deleting_key(file_id), b"")
        answer = await client.post("/api/v0/sample", json={"files": [{"image": [file_id]}]})
        assert answer.json()["details"]["missing_file_ids"] == [file_id]

    async def test_a_deleted_sample_is_gone(self, client: httpx.AsyncClient) -> None:
        sample = await make_sample(client)
        assert (await client.delete(f"/api/v0/sample/{sample}")).json() == {"detail": "Sample deleted successfully"}
        assert refusal(await client.get(f"/api/v0/sample/{sample}")) == (404, "sample_not_found")
        assert refusal(await client.delete(f"/api/v0/sample/{sample}")) == (404, "sample_not_found")

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    @pytest.mark.parametrize("name", ["..", "%2e%2e%2fetc", "x" * 10_000, "%00", "%7E", "%C5%BElu"])
    async def test_hostile_ids_are_404(self, client: httpx.AsyncClient, method: str, name: str) -> None:
        for kind in ("sample", "checkpoint"):
            assert (await client.request(method, f"/api/v0/{kind}/{name}")).status_code in (404, 405)


class TestTrainings:
    async def test_a_training_is_asked_for_with_everything_pinned(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        declared = [{"name": "epochs", "config": {"type": "int", "default": 3}}]
        algorithm = await world.deploy(training_parameters=declared)
        sample = await make_sample(client)
        body = {"algorithm_id": algorithm, "training_data": [sample], "tags": ["A"], "additional_parameters": {"x": 1}}
        training = (await train(client, **body)).json()["training_id"]
        await world.settled()
        event = world.request_of(training)
        assert isinstance(event, RunRequested)
        work = event.work
        assert (work.task, work.sample_ids, work.tags, work.arguments) == (
            "training",
            [sample],
            ["A"],
            {"x": 1, "epochs": 3},
        )

    async def test_before_the_end_a_record_has_what_clients_rely_on(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        record = (await client.get(f"/api/v0/training/{await begun(world, client)}")).json()
        told = {
            name: record[name] for name in ("status", "progress", "time_completed", "state", "output_checkpoint_ids")
        }
        assert told == {
            "status": "PENDING",
            "progress": 0.0,
            "time_completed": None,
            "state": {},
            "output_checkpoint_ids": [],
        }

    async def test_state_and_checkpoints_show_while_it_goes_on(self, client: httpx.AsyncClient, world: World) -> None:
        training = await begun(world, client)
        kept = await save_checkpoint(world, "a", training=training, age=1)
        dropped = await save_checkpoint(world, "a", training=training)
        await world.bus.publish(TrainingCheckpointDropped(subject=training, checkpoint_id=dropped))
        world.bus.announce(RunStateSet(task="training", subject=training, attempt=1, state={"loss": 0.5}))
        world.bus.announce(RunProgressed(task="training", subject=training, attempt=1, progress=0.25))

        async def told() -> bool:
            record = (await client.get(f"/api/v1/trainings/{training}")).json()
            return (record["state"], record["progress"], record["output_checkpoint_ids"]) == (
                {"loss": 0.5},
                0.25,
                [kept],
            )

        await eventually(told)

    async def test_at_the_end_the_state_is_the_last_one(self, client: httpx.AsyncClient, world: World) -> None:
        training = await begun(world, client)
        result = Result(device="cpu", state={"loss": 0.1}, log="done\n")
        await world.bus.publish(
            RunCompleted(task="training", subject=training, attempt=1, epoch=1, worker_id="w", result=result)
        )
        record = (await client.get(f"/api/v1/trainings/{training}", params={"wait": 10})).json()
        assert (record["status"], record["progress"], record["state"]) == ("COMPLETED", 1.0, {"loss": 0.1})
        assert (await client.get(f"/api/v1/trainings/{training}/log")).text == "done\n"
        assert (await client.get(f"/api/v1/trainings/{training}/events")).text.count("event: status") == 1

    async def test_trainings_are_listed_by_the_command_line(self, client: httpx.AsyncClient, world: World) -> None:
        training = await begun(world, client)
        shown = await asyncio.to_thread(CliRunner().invoke, app, ["--url", world.gateway.url, "ls", "trainings"])
        listed = await asyncio.to_thread(
            CliRunner().invoke, app, ["--url", world.gateway.url, "ls", "trainings", "--json", "-n", "5"]
        )
        assert (shown.exit_code, training in shown.stdout) == (0, True), shown.output
        assert [one["training_id"] for one in json.loads(listed.stdout)] == [training]

    async def test_trainings_and_executions_are_listed_apart(self, client: httpx.AsyncClient, world: World) -> None:
        training = await begun(world, client)
        listed = (await client.get("/api/v1/trainings")).json()
        assert [item["training_id"] for item in listed] == [training]
        assert (await client.get("/api/v1/executions")).json() == []
        assert refusal(await client.get(f"/api/v0/executions/{training}")) == (404, "execution_record_not_found")

    async def test_the_same_key_makes_one_training(self, client: httpx.AsyncClient, world: World) -> None:
        body = {"algorithm_id": await world.deploy(), "training_data": [await make_sample(client)]}
        headers = {"Idempotency-Key": "once"}
        answers = [await client.post("/api/v1/trainings", json=body, headers=headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    async def test_checks_come_in_the_order_that_clients_rely_on(self, client: httpx.AsyncClient, world: World) -> None:
        sample = await make_sample(client)
        gone = await make_sample(client)
        (file_id,) = (await client.get(f"/api/v0/sample/{gone}")).json()["files"][0]["image"]
        await files.remove(world.store, file_id)
        world.gateway._files._seen.clear()
        algorithm = await world.deploy()
        body: dict[str, Any] = {"algorithm_id": UNKNOWN, "training_data": [UNKNOWN, gone]}
        answers = [await train(client, **body)]
        answers.append(await train(client, **body | {"training_data": [gone]}))
        body["training_data"] = [sample]
        answers.append(await train(client, **body))
        body |= {"algorithm_id": algorithm, "algorithm_minor_version": "9", "checkpoint_id": UNKNOWN}
        answers.append(await train(client, **body))
        body["algorithm_minor_version"] = None
        answers.append(await train(client, **body))
        assert [refusal(answer) for answer in answers] == [
            (404, "input_samples_not_found"),
            (404, "sample_files_not_found"),
            (404, "algorithm_not_found"),
            (404, "minor_version_not_found"),
            (404, "checkpoint_not_found"),
        ]
        assert answers[0].json()["details"] == {"missing_sample_ids": [UNKNOWN]}
        assert answers[1].json()["details"] == {"missing_file_ids": [file_id]}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"algorithm_id": UNKNOWN},
            {"algorithm_id": UNKNOWN, "training_data": []},
            {"algorithm_id": UNKNOWN, "training_data": "x"},
            {"algorithm_id": UNKNOWN, "training_data": [1]},
            {"algorithm_id": UNKNOWN, "training_data": [UNKNOWN], "tags": "x"},
            {"algorithm_id": UNKNOWN, "training_data": [UNKNOWN], "additional_parameters": []},
        ],
    )
    async def test_what_is_no_training_is_422(self, client: httpx.AsyncClient, body: Any) -> None:
        assert refusal(await train(client, **body)) == (422, "request_validation_error")

    async def test_declared_parameters_are_checked(self, client: httpx.AsyncClient, world: World) -> None:
        declared = [{"name": "epochs", "config": {"type": "int_range", "default": 3, "min": 1, "max": 5, "step": 1}}]
        algorithm = await world.deploy(training_parameters=declared)
        sample = await make_sample(client)
        for wrong in (9, "many", True):
            answer = await train(
                client,
                algorithm_id=algorithm,
                training_data=[sample],
                additional_parameters={"epochs": wrong},
            )
            assert refusal(answer) == (422, "request_validation_error"), wrong

    async def test_stopping_is_said_in_its_own_event_and_refused_after_the_end(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        training = await begun(world, client)
        answer = await client.post(f"/api/v0/training/{training}/stop")
        assert answer.json() == {"detail": "Stop request posted successfully"}
        await eventually(lambda: _heard(world, RunStopRequested, training))
        await world.bus.publish(RunCompleted(task="training", subject=training, attempt=1, epoch=1, result=Result()))
        await world.settled()
        refused = await client.post(f"/api/v0/training/{training}/stop")
        assert refusal(refused) == (400, "training_not_stoppable")
        assert refused.json()["details"] == {"training_id": training, "status": "COMPLETED"}

    async def test_the_record_of_one_that_has_ended_can_be_deleted(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        training = await begun(world, client)
        refused = await client.delete(f"/api/v1/trainings/{training}")
        assert refusal(refused) == (409, "training_not_ended")
        await world.bus.publish(RunCompleted(task="training", subject=training, attempt=1, epoch=1, result=Result()))
        await world.settled()
        assert (await client.delete(f"/api/v1/trainings/{training}")).status_code == 200
        gone = await client.get(f"/api/v1/trainings/{training}")
        assert refusal(gone) == (404, "training_record_not_found")

    async def test_only_what_has_ended_is_continued_and_from_the_newest_checkpoint(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        # Given a training that has saved two checkpoints
        training = await begun(world, client, tags=["t"])
        algorithm = world.request_of(training).work.algorithm.algorithm_id
        await save_checkpoint(world, algorithm, training=training, age=5)
        newest = await save_checkpoint(world, algorithm, training=training)
        path = f"/api/v1/trainings/{training}/continue"
        assert refusal(await client.post(path)) == (409, "training_not_ended")
        # When it has ended and is continued
        await world.bus.publish(RunCompleted(task="training", subject=training, attempt=1, epoch=1, result=Result()))
        await world.settled()
        again = (await client.post(path)).json()["training_id"]
        # Then the new one begins there
        record = (await client.get(f"/api/v1/trainings/{again}")).json()
        assert (record["checkpoint_id"], record["tags"], again == training) == (newest, ["t"], False)

    @pytest.mark.parametrize("path", ["training/{}", "training/{}/stop"])
    @pytest.mark.parametrize("name", [UNKNOWN, "x", "..%2f", "%00"])
    async def test_unknown_trainings_are_404(self, client: httpx.AsyncClient, path: str, name: str) -> None:
        method = "POST" if path.endswith("stop") else "GET"
        answer = await client.request(method, f"/api/v0/{path.format(name)}")
        assert refusal(answer) == (404, "training_record_not_found")


async def _heard(world: World, kind: type[RunStopRequested], run: str) -> bool:
    return any(isinstance(event, kind) and event.subject == run for event in world.heard)


class TestCheckpoints:
    async def test_they_are_listed_by_tags_as_they_were_sent(self, client: httpx.AsyncClient, world: World) -> None:
        assert refusal(await client.get("/api/v0/checkpoint/all")) == (404, "checkpoints_not_found")
        assert (await client.get("/api/v1/checkpoints")).json() == []
        first, second = (await save_checkpoint(world, "a", "Good", age=1), await save_checkpoint(world, "b", "Bad"))
        listed = (await client.get("/api/v0/checkpoint/all", params={"positive_tags": "Good"})).json()
        assert [one["checkpoint_id"] for one in listed] == [first]
        assert (await client.get("/api/v0/checkpoint/all", params={"positive_tags": "good"})).json() == []
        page = (await client.get("/api/v1/checkpoints", params={"algorithm_id": "b"})).json()
        assert [one["checkpoint_id"] for one in page] == [second]

    async def test_one_tells_where_it_comes_from(self, client: httpx.AsyncClient, world: World) -> None:
        record = (await client.get(f"/api/v0/checkpoint/{await save_checkpoint(world, 'a')}")).json()
        told = {name: record[name] for name in ("parent_algorithm_id", "training_id", "properties", "asset_paths")}
        assert told == {
            "parent_algorithm_id": "a",
            "training_id": UNKNOWN,
            "properties": {"dice": 0.9},
            "asset_paths": ["files/w"],
        }

    async def test_a_deleted_one_is_gone(self, client: httpx.AsyncClient, world: World) -> None:
        checkpoint = await save_checkpoint(world, "a")
        answer = await client.delete(f"/api/v0/checkpoint/{checkpoint}")
        assert answer.json() == {"detail": "Checkpoint deleted successfully"}
        assert refusal(await client.get(f"/api/v0/checkpoint/{checkpoint}")) == (404, "checkpoint_not_found")

    async def test_an_algorithm_counts_those_it_has(self, client: httpx.AsyncClient, world: World) -> None:
        algorithm = await world.deploy()
        before = (await client.get(f"/api/v1/algorithms/{algorithm}")).json()
        checkpoint = await save_checkpoint(world, algorithm)
        (listed,) = (await client.get("/api/v1/algorithms")).json()
        assert (listed["checkpoints"], listed["storage_metrics"]["checkpoint_count"]) == ([checkpoint], 1)
        await client.delete(f"/api/v1/checkpoints/{checkpoint}")
        assert (await client.get("/api/v0/algorithm/denoise/1")).json() == before

    async def test_an_execution_takes_one_of_its_own_algorithm_alone(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        algorithm = await world.deploy()
        own, other = await save_checkpoint(world, algorithm), await save_checkpoint(world, "another")
        body = {"algorithm_id": algorithm, "input_dataset_ids": []}
        answers = [
            await client.post("/api/v0/execute-algorithm", json=body | {"checkpoint_id": one}) for one in (own, other)
        ]
        assert answers[0].status_code == 200
        assert refusal(answers[1]) == (404, "checkpoint_not_found")


class TestBenchmarks:
    async def test_a_benchmark_is_asked_for_and_has_its_data_with_its_end(
        self, client: httpx.AsyncClient, world: World
    ) -> None:
        body = {"algorithm_id": await world.deploy(), "additional_parameters": {"size": 2}}
        benchmark = (await client.post("/api/v0/benchmark-algorithm", json=body)).json()["benchmark_id"]
        record = (await client.get(f"/api/v0/benchmarks/{benchmark}")).json()
        assert (record["status"], record["data"], record["time_completed"], record["log"]) == ("PENDING", {}, "", "")
        await world.settled()
        assert world.request_of(benchmark).work.task == "benchmark"

    async def test_what_is_not_there_is_404(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/v0/benchmark-algorithm", json={"algorithm_id": UNKNOWN})
        assert refusal(answer) == (404, "algorithm_not_found")
        assert refusal(await client.get(f"/api/v0/benchmarks/{UNKNOWN}")) == (404, "benchmark_record_not_found")
