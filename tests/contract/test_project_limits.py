"""Limits of a project over REST, in the clients and as a command: who sets them, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from messages.runs import RunRequested
from shared.control.objects import limits_key
from shared.control.store import COLLECTION
from tests import compoxmodels
from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import HDF5, eventually
from tests.contract.test_cli_access import Cli, told
from tests.contract.test_cli_access import cli as cli
from tests.unit.scheduler_story import heartbeat
from voxloom.client import AsyncClient
from voxloom.errors import Conflict, TooMany

PATH = "/api/v1/projects/lab1/limits"
NOTHING = {
    "runs_at_once": None,
    "runs_waiting": None,
    "stored_bytes": None,
    "max_wall_time": None,
    "devices": None,
    "weight": 1.0,
}


async def put(closed: Closed, **limits: Any) -> dict[str, Any]:
    async with closed.asking("root") as root:
        answer = await root.put(PATH, json=limits)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def said(sent: Any) -> tuple[int, str]:
    answer: httpx.Response = await sent
    return answer.status_code, answer.json().get("code", "")


def run_of(algorithm: str, **more: Any) -> dict[str, Any]:
    return {"algorithm_id": algorithm, "input_dataset_ids": [], **more}


# --- who says so ----------------------------------------------------------------------------------------------------


async def test_a_project_begins_without_limits_and_its_people_may_see_them(closed: Closed) -> None:
    async with closed.asking("vera") as vera:
        told = (await vera.get(PATH)).json()
    used = {"runs_at_once": 0, "runs_waiting": 0, "stored_bytes": 0}
    assert told == {"project_id": "lab1", **NOTHING, "used": used, "changed_at": None, "changed_by": None}


async def test_what_an_admin_sets_is_in_place_of_all_that_was(closed: Closed) -> None:
    await put(closed, runs_at_once=2, devices=["cpu", "gpu", "cpu"])
    told = await put(closed, weight=0.5, max_wall_time=60)
    assert {name: told[name] for name in NOTHING} == {**NOTHING, "weight": 0.5, "max_wall_time": 60.0}
    assert told["changed_by"] == "root"


@pytest.mark.parametrize(
    ("who", "method", "path", "expected"),
    [
        ("max", "PUT", PATH, (403, "forbidden")),
        ("mia", "PUT", PATH, (403, "forbidden")),
        ("olga", "GET", PATH, (404, "project_not_found")),
        ("max", "GET", "/api/v1/projects/none/limits", (404, "project_not_found")),
        ("root", "PUT", "/api/v1/projects/none/limits", (404, "project_not_found")),
    ],
)
async def test_only_admins_set_them_and_only_those_in_the_project_see_them(
    closed: Closed, who: str, method: str, path: str, expected: tuple[int, str]
) -> None:
    async with closed.asking(who) as client:
        assert await said(client.request(method, path, json={} if method == "PUT" else None)) == expected


BAD: list[dict[str, Any]] = [
    *({name: value} for name in ("runs_at_once", "runs_waiting", "stored_bytes") for value in (0, -1, 1.5, "2", True)),
    {"runs_at_once": 10**30},
    {"stored_bytes": 2**60},
    *({"max_wall_time": value} for value in (0, -1.0, 1e12, "1h")),
    *({"weight": value} for value in (0, -2, 1e9, "heavy", None)),
    *({"devices": value} for value in ([], ["tpu"], "cpu", [1])),
    {"runs": 3},
]


async def test_what_is_no_limit_is_refused_and_changes_nothing(closed: Closed) -> None:
    await put(closed, runs_at_once=2)
    async with closed.asking("root") as root:
        wrong = [one for one in BAD if (await root.put(PATH, json=one)).status_code != 422]
        nan = await root.put(PATH, content=b'{"weight": NaN}', headers={"Content-Type": "application/json"})
        told = (await root.get(PATH)).json()
    assert (wrong, nan.status_code, told["runs_at_once"]) == ([], 422, 2)


async def test_a_new_name_of_the_project_leaves_them(closed: Closed) -> None:
    await put(closed, runs_at_once=2)
    async with closed.asking("root") as root:
        await root.put("/api/v1/projects/lab1", json={"name": "Another"})
        assert (await root.get(PATH)).json()["runs_at_once"] == 2


async def test_what_a_newer_version_has_written_is_not_written_over(closed: Closed) -> None:
    # Given limits that are known, and then written by a newer version
    await put(closed, runs_at_once=2)
    await closed.world.store.put(COLLECTION, limits_key("lab1"), b'{"format": 9}')
    async with closed.asking("root") as root:
        # Then the last that was known counts, and nobody changes it
        assert await said(root.put(PATH, json={})) == (503, "control_unavailable")
        assert (await root.get(PATH)).json()["runs_at_once"] == 2


# --- runs -----------------------------------------------------------------------------------------------------------


async def test_of_many_runs_at_once_no_more_get_in_than_may_wait(closed: Closed) -> None:
    # Given a project of which two runs may wait
    algorithm = await closed.world.deploy(project="lab1")
    await put(closed, runs_waiting=2)
    async with closed.asking("mia") as mia:
        # When ten are asked for at the same time
        sent = [mia.post("/api/v0/execute-algorithm", json=run_of(algorithm)) for _ in range(10)]
        answers = await asyncio.gather(*sent)
        refused = [one for one in answers if one.status_code == 429]
        # Then all but two are told to come back, with the figures
        assert (len(refused), refused[0].json()["code"]) == (8, "too_many_runs_waiting")
        assert (refused[0].json()["details"]["limit"], refused[0].headers["Retry-After"]) == (2, "5")
        # And those of other projects are not concerned; one that has begun makes room
        await closed.world.settled()
        await closed.world.start(next(one for one in answers if one.status_code == 200).json()["execution_id"])
        again = await mia.post("/api/v1/executions", json=run_of(algorithm))
    assert (again.status_code, (await told_of(closed))["used"]) == (
        200,
        {"runs_at_once": 1, "runs_waiting": 2, "stored_bytes": 0},
    )


async def told_of(closed: Closed) -> dict[str, Any]:
    async with closed.asking("mia") as mia:
        return (await mia.get(PATH)).json()  # type: ignore[no-any-return]


async def test_what_compox_clients_are_told_is_what_their_models_read(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1", supported_devices=["gpu"], default_device="gpu")
    await put(closed, devices=["mps"], runs_waiting=1)
    async with closed.asking("mia") as mia:
        device = await mia.post("/api/v0/execute-algorithm", json=run_of(algorithm))
        await put(closed, runs_waiting=1)
        await mia.post("/api/v0/execute-algorithm", json=run_of(algorithm))
        many = await mia.post("/api/v0/execute-algorithm", json=run_of(algorithm))
    told = {str(one.status_code): one.json() for one in (device, many)}
    answers = [{"where": at, "model": "ErrorResponse", "many": False, "body": body} for at, body in told.items()]
    faults = await asyncio.to_thread(compoxmodels.faults_of, answers)
    assert (list(told), faults) == (["409", "429"], [])


async def test_what_was_taken_once_is_answered_again_however_many_wait(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1")
    await put(closed, runs_waiting=1)
    async with closed.asking("mia", **{"Idempotency-Key": "one"}) as mia:
        first = await mia.post("/api/v1/executions", json=run_of(algorithm))
        again = await mia.post("/api/v1/executions", json=run_of(algorithm))
    assert (again.status_code, again.json()) == (200, first.json())


async def test_one_that_was_refused_takes_no_place(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1")
    await put(closed, runs_waiting=1)
    async with closed.asking("mia") as mia:
        for _ in range(3):
            assert (await said(mia.post("/api/v1/executions", json=run_of("none"))))[0] == 404
        assert (await said(mia.post("/api/v1/executions", json=run_of(algorithm))))[0] == 200


async def test_trainings_and_benchmarks_wait_too(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1")
    await put(closed, runs_waiting=1)
    async with closed.asking("mia") as mia:
        assert (await said(mia.post("/api/v0/benchmark-algorithm", json={"algorithm_id": algorithm})))[0] == 200
        training = mia.post("/api/v1/trainings", json={"algorithm_id": algorithm, "training_data": ["s"]})
        assert await said(training) == (429, "too_many_runs_waiting")


DEVICES = [
    (["cpu"], ["gpu", "cpu"], {}, ["cpu"]),
    (["gpu"], ["cpu", "gpu"], {}, ["gpu"]),
    (["gpu", "cpu"], ["gpu"], {}, ["gpu", "cpu"]),
    (["gpu"], ["gpu", "cpu"], {"execution_device_override": "cpu"}, None),
    (["mps"], ["cpu"], {}, None),
]


@pytest.mark.parametrize(("allowed", "supported", "asked", "expected"), DEVICES)
async def test_a_run_goes_to_devices_that_its_project_may_use(
    closed: Closed, allowed: list[str], supported: list[str], asked: dict[str, str], expected: list[str] | None
) -> None:
    facts: dict[str, Any] = {"supported_devices": supported, "default_device": supported[0]}
    algorithm = await closed.world.deploy(project="lab1", **facts)
    await put(closed, devices=allowed)
    async with closed.asking("mia") as mia:
        answer = await mia.post("/api/v1/executions", json=run_of(algorithm, **asked))
    if expected is None:
        assert (answer.status_code, answer.json()["code"]) == (409, "device_not_allowed")
        return
    work = await work_of(closed, answer.json()["execution_id"])
    assert (work.devices, (work.device_warning is not None)) == (expected, expected[0] != supported[0])


async def work_of(closed: Closed, run: str) -> Any:
    async def is_heard() -> bool:
        return any(isinstance(one, RunRequested) and one.subject == run for one in closed.world.heard)

    await eventually(is_heard)
    return closed.world.request_of(run).work


@pytest.mark.parametrize(("algorithms", "expected"), [(None, 60.0), (10.0, 10.0), (900.0, 60.0)])
async def test_the_time_of_a_run_is_pinned_into_its_work(
    closed: Closed, algorithms: float | None, expected: float
) -> None:
    algorithm = await closed.world.deploy(project="lab1", wall_time=algorithms)
    await put(closed, max_wall_time=60)
    async with closed.asking("mia") as mia:
        run = (await mia.post("/api/v1/executions", json=run_of(algorithm))).json()["execution_id"]
    work = await work_of(closed, run)
    assert (work.wall_time, work.project_wall_time) == (expected, 60.0)


async def test_a_run_that_waits_for_others_of_its_project_says_so(closed: Closed) -> None:
    # Given a project with as many runs as it may have, and a worker with room
    algorithm = await closed.world.deploy(project="lab1")
    await put(closed, runs_at_once=1)
    async with closed.asking("mia") as mia:
        runs = [(await mia.post("/api/v1/executions", json=run_of(algorithm))).json()["execution_id"] for _ in range(2)]
        await work_of(closed, runs[0])
        await closed.world.start(runs[0])

        async def is_told() -> bool:
            closed.world.bus.announce(heartbeat("i1"))
            closed.world.bus.announce(heartbeat("i2", worker_id="w2"))
            record = (await mia.get(f"/api/v1/executions/{runs[1]}")).json()
            return bool(record["waiting"] == {"reason": "project_limit", "ahead": 0})

        await eventually(is_told)


# --- bytes ----------------------------------------------------------------------------------------------------------


async def test_files_are_refused_beyond_what_a_project_may_store(closed: Closed) -> None:
    # Given room for two files and a half
    await put(closed, stored_bytes=len(HDF5) * 5 // 2)
    async with closed.asking("mia") as mia:
        # When four come at the same time
        answers = await asyncio.gather(*(mia.post("/api/v0/files", content=HDF5) for _ in range(4)))
        # Then two are taken, and the others are told why
        refused = [one.json() for one in answers if one.status_code == 409]
        assert (len(refused), {one["code"] for one in refused}) == (2, {"stored_bytes_exceeded"})
        # And what has gone makes room
        file = next(one.json()["file_id"] for one in answers if one.status_code == 200)
        assert (await said(mia.delete(f"/api/v0/files/{file}")))[0] == 200

        async def is_taken() -> bool:
            return (await mia.post("/api/v0/files", content=HDF5)).status_code == 200

        await eventually(is_taken)


async def test_a_body_of_no_stated_size_is_cut_where_there_is_no_more_room(closed: Closed) -> None:
    await put(closed, stored_bytes=len(HDF5) - 1)

    async def pieces() -> Any:
        for start in range(0, len(HDF5), 1000):
            yield HDF5[start : start + 1000]

    async with closed.asking("mia") as mia:
        assert await said(mia.post("/api/v0/files", content=pieces())) == (409, "stored_bytes_exceeded")
        assert (await told_of(closed))["used"]["stored_bytes"] == 0


async def test_what_was_there_before_counts_and_no_run_begins_beyond(closed: Closed) -> None:
    # Given files from before anybody has counted
    algorithm = await closed.world.deploy(project="lab1")
    async with closed.asking("mia") as mia:
        for _ in range(2):
            assert (await mia.post("/api/v0/files", content=HDF5)).status_code == 200
        # When there is a limit that they exceed
        assert (await put(closed, stored_bytes=len(HDF5)))["used"]["stored_bytes"] == 2 * len(HDF5)
        # Then neither files nor runs get in, until there is another limit
        assert await said(mia.post("/api/v0/files", content=HDF5)) == (409, "stored_bytes_exceeded")
        assert await said(mia.post("/api/v1/executions", json=run_of(algorithm))) == (409, "stored_bytes_exceeded")
        await put(closed)
        assert (await said(mia.post("/api/v1/executions", json=run_of(algorithm))))[0] == 200


async def test_those_of_others_do_not_count(closed: Closed) -> None:
    async with closed.asking("olga") as olga, closed.asking("mia") as mia:
        assert (await olga.post("/api/v0/files", content=HDF5)).status_code == 200
        await put(closed, stored_bytes=len(HDF5))
        assert (await said(mia.post("/api/v0/files", content=HDF5)))[0] == 200


# --- clients --------------------------------------------------------------------------------------------------------


async def test_clients_set_limits_and_raise_what_they_refuse(closed: Closed) -> None:
    url = closed.world.gateway.url
    wanted = json.dumps(run_of(await closed.world.deploy(project="lab1")))
    async with AsyncClient(url, token=closed.people.tokens["root"], project="lab1") as root:
        await root.put_limits("lab1", runs_waiting=1, devices=["mps"])
        assert (await root.limits("lab1")).devices == ("mps",)
        with pytest.raises(Conflict) as refused:
            await root._transport.request("POST", "/api/v1/executions", json=wanted)
        assert refused.value.code == "device_not_allowed"
        await root.put_limits("lab1", runs_waiting=1)
        await root._transport.request("POST", "/api/v1/executions", json=wanted)
        with pytest.raises(TooMany):
            await root._transport.request("POST", "/api/v1/executions", json=wanted)


async def test_a_command_changes_what_is_said_and_leaves_the_rest(cli: Cli) -> None:
    words = ("--runs-at-once", "4", "--stored-bytes", "1.5GB", "--max-wall-time", "2h", "--devices", "cpu, gpu")
    first = await told(cli, "root", "admin limits", "lab1", *words, "--weight", "2")
    again = await told(cli, "root", "admin limits", "lab1", "--runs-at-once", "none", "--runs-waiting", "9")
    expected: dict[str, Any] = {
        "runs_at_once": None,
        "runs_waiting": 9,
        "stored_bytes": 1_500_000_000,
        "max_wall_time": 7200.0,
    }
    expected |= {"devices": ["cpu", "gpu"], "weight": 2.0}
    assert (first["runs_at_once"], {name: again[name] for name in NOTHING}) == (4, expected)
    assert (await told(cli, "root", "admin limits", "lab1", "--weight", "none"))["weight"] == 1.0


async def test_a_command_shows_limits_and_use(cli: Cli) -> None:
    await told(cli, "root", "admin limits", "lab1", "--runs-at-once", "4")
    lines = (await cli("vera", "admin", "limits", "lab1")).stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:3]] == [["4", "0"], ["none", "0"]]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--runs-at-once", "some"), "whole number"),
        (("--runs-at-once", "0"), "whole number from 1 on"),
        (("--stored-bytes", "-5"), "500GB"),
        (("--max-wall-time", "0"), "2h"),
        (("--devices", "tpu"), "devices"),
        (("--weight", "nan"), "from 0.001 to 1000"),
        (("--weight", "-1"), "from 0.001 to 1000"),
    ],
)
async def test_a_command_says_what_a_limit_can_be(cli: Cli, words: tuple[str, ...], word: str) -> None:
    done = await cli("root", "admin", "limits", "lab1", *words)
    assert (done.exit_code, len(done.stderr.splitlines()), word in done.stderr) == (1, 1, True), done.stderr
