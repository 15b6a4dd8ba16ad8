"""Services apart, while some of them die, freeze or come back."""

from __future__ import annotations

import json
import math
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest

from services.commands import DIED
from tests.acceptance.cluster import Cluster, Process, frozen
from tests.acceptance.support import HELD, PLUS_ONE, Api, algorithm, eventually, generic
from tests.brokers import Broker
from tests.chaos.load import Notes, deploy_noting, end_of_all, statuses, submit, unlike, wait_for_ends
from tests.chaos.loops import Loops
from tests.logs import alarming


@pytest.mark.parametrize("killed", [["scheduler"], ["recorder"], ["scheduler", "recorder"]], ids="-and-".join)
def test_a_standby_takes_over_in_the_middle_of_runs(
    cluster: Cluster, notes: Notes, loops: Loops, killed: list[Literal["scheduler", "recorder"]]
) -> None:
    api = cluster.api()
    noting = deploy_noting(api)
    for turn in range(math.ceil(loops.kills / 3)):
        # Given runs, of which some have ended
        numbers = range(turn * loops.runs, (turn + 1) * loops.runs)
        middle = numbers[len(numbers) * 2 // 3]
        runs = submit(api, noting, notes, range(numbers[0], middle), seconds=0.05)
        wait_for_ends(notes, len(numbers) // 5, numbers)
        # When the one that is at work is killed, or both are, while more runs come
        for service in killed:
            cluster.kill_one(cluster.active(service))
        runs += submit(api, noting, notes, range(middle, numbers.stop), seconds=0.05)
        # Then every run completes, and none has run more than once
        assert unlike(end_of_all(api, runs), "COMPLETED") == []
        assert notes.count("end") == Counter(dict.fromkeys(range(numbers.stop), 1))
        for service in killed:
            cluster.add(service)


def test_a_scheduler_that_was_paused_decides_nothing_when_it_wakes(
    cluster: Cluster, notes: Notes, broker: Broker, loops: Loops
) -> None:
    api = cluster.api()
    noting = deploy_noting(api)
    for turn in range(loops.rounds):
        # Given a scheduler that is frozen in the middle of runs, until the broker has given it up
        numbers = range(turn * loops.runs, (turn + 1) * loops.runs)
        middle = numbers[len(numbers) * 2 // 3]
        old = cluster.active("scheduler")
        epoch = old.figure("scheduler_epoch")
        runs = submit(api, noting, notes, range(numbers[0], middle), seconds=0.05)
        wait_for_ends(notes, len(numbers) // 5, numbers)
        with frozen(old):
            runs += submit(api, noting, notes, range(middle, numbers.stop), seconds=0.05)
            broker.close_connections_of(old.pid)
            new = later_scheduler(cluster, old, epoch)
            records = end_of_all(api, runs)
        # When it wakes
        # Then it leaves, and every run has ended once, under the one or the other
        assert old.wait(60.0) == DIED
        assert alarming(old.log.read_text()) == []
        assert new.running
        assert unlike(records, "COMPLETED") == []
        assert notes.count("end") == Counter(dict.fromkeys(range(numbers.stop), 1))
        cluster.tend()


def test_services_that_end_in_good_order_while_others_take_over_log_no_error(
    cluster: Cluster, notes: Notes, loops: Loops
) -> None:
    # Given runs
    api = cluster.api()
    noting = deploy_noting(api)
    sizes = {one: one.log.stat().st_size for one in cluster.processes.values()}
    runs = submit(api, noting, notes, range(loops.runs), seconds=0.05)
    wait_for_ends(notes, loops.runs // 5)
    # When one of each kind is stopped, the one at work first
    leaving = [cluster.active("recorder"), cluster.active("scheduler"), cluster.of("worker")[0]]
    for process in leaving:
        process.signal(signal.SIGTERM)
    assert [process.wait(60.0) for process in leaving] == [0, 0, 0]
    # Then the others do all, and nobody tells of anything wrong
    assert unlike(end_of_all(api, runs), "COMPLETED") == []
    said = [line for one, size in sizes.items() for line in alarming(one.log.read_text()[size:])]
    assert said == []


def later_scheduler(cluster: Cluster, old: Process, epoch: float) -> Process:
    def found() -> Process | None:
        others = [process for process in cluster.of("scheduler") if process is not old]
        return next((process for process in others if process.figure("scheduler_epoch") > epoch), None)

    later: Process = eventually(found, what="the next scheduler")
    return later


def test_a_worker_that_is_killed_leaves_its_runs_to_the_other(cluster: Cluster, tmp_path: Path) -> None:
    # Given two runs on each of two workers, which go on until they are let go
    api = cluster.api()
    held = api.deployed(generic("held", HELD))
    runs = [api.execute(held, additional_parameters={"until": str(tmp_path / "go")}) for _ in range(4)]
    for run in runs:
        api.wait_for_status(run, "RUNNING")
    # When one worker is killed
    lost = cluster.of("worker")[0].service
    cluster.kill_one(cluster.processes[lost])
    (tmp_path / "go").touch()
    # Then all complete, and its two in a second attempt
    records = end_of_all(api, runs)
    assert statuses(records) == Counter(COMPLETED=4)
    assert Counter(record["attempt"] for record in records.values()) == Counter({1: 2, 2: 2})
    # And the operator finds in the log which worker was lost, and what became of its runs
    again = [f"{run} is tried again" for run, record in records.items() if record["attempt"] == 2]
    said = [line for one in cluster.of("scheduler") for line in one.log.read_text().splitlines()]
    (line,) = [text for text in said if all(word in text for word in again)]
    assert f" WARNING voxloom.scheduler: the worker {lost} (" in line


def test_a_gateway_that_restarts_misses_no_event_for_a_client_that_resumes(cluster: Cluster, tmp_path: Path) -> None:
    # Given a client that follows a run at one gateway and has seen it begin
    api = cluster.api()
    held = api.deployed(generic("held", HELD))
    run = api.execute(held, additional_parameters={"until": str(tmp_path / "go")})
    gateway = cluster.of("gateway")[0]
    last, _ = next(one for one in statuses_of(gateway.url, run) if one[1] == "RUNNING")
    # When that gateway is killed, the run is lost with its worker, and tried again to its end, before a new one starts
    cluster.kill_one(gateway)
    api = cluster.api()
    cluster.kill_one(cluster.processes[api.record(run)["worker_id"]])
    (tmp_path / "go").touch()
    assert api.wait(run)["status"] == "COMPLETED"
    new = cluster.add("gateway")
    # Then the client is told there all that it has not seen, in order
    resumed = [status for _, status in statuses_of(new.url, run, last)]
    assert resumed == ["PENDING", "STARTED", "RUNNING", "COMPLETED"]


def statuses_of(url: str, run: str, last: str | None = None) -> Iterator[tuple[str, str]]:
    """Id and status of each event, as they come."""
    headers = {"Last-Event-ID": last} if last else {}
    kind = identifier = ""
    with httpx.stream("GET", f"{url}/api/v1/executions/{run}/events", headers=headers, timeout=60.0) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                identifier = value
            elif name == "event":
                kind = value
            elif name == "data" and kind == "status":
                yield identifier, json.loads(value)["status"]


def test_what_one_gateway_has_answered_the_other_knows(cluster: Cluster, loops: Loops) -> None:
    here, there = (httpx.Client(base_url=gateway.url, timeout=60.0) for gateway in cluster.of("gateway"))
    api = cluster.api()
    with here, there:
        for number in range(5 * loops.rounds):
            file_id, algorithm_id = round_trip(api, here, there, number)
            here, there = there, here
            assert here.delete(f"/api/v1/algorithms/plus_{number}/1").is_success
            assert algorithm_id not in there.get("/api/v0/algorithm/all").text
            assert here.delete(f"/api/v0/files/{file_id}").is_success
            assert there.get(f"/api/v0/files/{file_id}").status_code == 404


def round_trip(api: Api, here: httpx.Client, there: httpx.Client, number: int) -> tuple[str, str]:
    """Does each thing at one gateway and looks at the other, whose knowledge must never be older."""
    api.http = here
    deployed = api.deploy(algorithm(f"plus_{number}", PLUS_ONE))
    file_id = api.upload(volume=np.zeros((2, 2, 2), np.float32))
    api.http = there
    assert there.get(f"/api/v0/deploy/{deployed['deploy_id']}").json()["status"] == "COMPLETED"
    assert deployed["algorithm_id"] in there.get("/api/v0/algorithm/all").text
    assert list(api.download(file_id)) == ["volume"]
    run = api.execute(deployed["algorithm_id"], [file_id])
    api.http = here
    assert api.record(run)["execution_id"] == run
    ended = api.wait(run)
    api.http = there
    assert api.record(run)["status"] == ended["status"] == "COMPLETED"
    assert list(api.download(ended["output_dataset_ids"][0])) == ["volume"]
    return file_id, str(deployed["algorithm_id"])
