"""Services apart, while some of them, the broker or the store die, freeze or come back."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.commands import DIED
from tests.acceptance.cluster import Cluster, Process, frozen
from tests.acceptance.support import HELD, PLUS_ONE, TICKER, Api, algorithm, eventually, generic
from tests.brokers import Broker, vhost_of
from tests.chaos.load import Notes, Stream, accepted, deploy_noting, end_of_all, statuses, unlike

NewCluster = Callable[..., Cluster]


def submit(api: Api, algorithm_id: str, notes: Notes, numbers: range, seconds: float = 0.02) -> list[str]:
    return [
        api.execute(algorithm_id, additional_parameters={"notes": str(notes.path), "n": number, "seconds": seconds})
        for number in numbers
    ]


def ended(notes: Notes, count: int) -> None:
    eventually(lambda: len(notes.count("end")) >= count, within=60.0, what=f"{count} ends")


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


@pytest.mark.parametrize("service", ["scheduler", "recorder"])
def test_a_standby_takes_over_in_the_middle_of_200_runs(cluster: Cluster, notes: Notes, service: Any) -> None:
    # Given 200 runs, of which some have ended
    api = cluster.api()
    runs = submit(api, deploy_noting(api), notes, range(200))
    ended(notes, 40)
    # When the one that is at work is killed
    cluster.kill_one(cluster.active(service))
    # Then every run completes, and none has run more than once
    records = end_of_all(api, runs)
    assert unlike(records, "COMPLETED") == []
    assert notes.count("end") == Counter(dict.fromkeys(range(200), 1))


def test_scheduler_and_recorder_at_once_are_taken_over_and_nothing_is_lost_or_done_twice(
    cluster: Cluster, notes: Notes
) -> None:
    api = cluster.api()
    runs = submit(api, deploy_noting(api), notes, range(200))
    ended(notes, 40)
    for service in ("scheduler", "recorder"):
        cluster.kill_one(cluster.active(service))
    records = end_of_all(api, runs)
    assert unlike(records, "COMPLETED") == []
    assert notes.count("end") == Counter(dict.fromkeys(range(200), 1))


def test_a_scheduler_that_was_paused_decides_nothing_when_it_wakes(
    new_cluster: NewCluster, notes: Notes, broker: Broker
) -> None:
    # Given a scheduler that is frozen in the middle of 100 runs, until the broker has given it up
    cluster = new_cluster()
    api = cluster.api()
    runs = submit(api, deploy_noting(api), notes, range(100))
    ended(notes, 20)
    old = cluster.active("scheduler")
    epoch = old.figure("scheduler_epoch")
    with frozen(old):
        broker.close_connections_of(old.pid)
        new = eventually(lambda: later_scheduler(cluster, old, epoch), what="the next scheduler")
        records = end_of_all(api, runs)
    # When it wakes
    # Then it has stepped down, and every run has ended once, under the one or the other
    eventually(lambda: not old.running or old.figure("scheduler_epoch") == 0, what="the old one's stepping down")
    assert new.figure("scheduler_epoch") > epoch
    assert unlike(records, "COMPLETED") == []
    assert notes.count("end") == Counter(dict.fromkeys(range(100), 1))


def later_scheduler(cluster: Cluster, old: Process, epoch: float) -> Process | None:
    others = [process for process in cluster.of("scheduler") if process is not old]
    return next((process for process in others if process.figure("scheduler_epoch") > epoch), None)


def test_a_worker_that_is_killed_leaves_its_runs_to_the_other(cluster: Cluster, tmp_path: Path) -> None:
    # Given two runs on each of two workers, which go on until they are let go
    api = cluster.api()
    held = api.deploy(generic("held", HELD))["algorithm_id"]
    runs = [api.execute(held, additional_parameters={"until": str(tmp_path / "go")}) for _ in range(4)]
    for run in runs:
        api.wait_for_status(run, "RUNNING")
    # When one worker is killed
    cluster.kill_one(cluster.of("worker")[0])
    (tmp_path / "go").touch()
    # Then all complete, and its two in a second attempt
    records = end_of_all(api, runs)
    assert statuses(records) == Counter(COMPLETED=4)
    assert Counter(record["attempt"] for record in records.values()) == Counter({1: 2, 2: 2})


def test_a_broker_that_restarts_under_load_loses_nothing_that_was_accepted(
    new_cluster: NewCluster, own_broker: Broker, notes: Notes
) -> None:
    # Given clients that submit without end
    cluster = new_cluster(broker=own_broker)
    api = cluster.api()
    algorithm_id = deploy_noting(api)
    numbers = itertools.count()
    taken: dict[int, str] = {}
    lock = threading.Lock()

    def submit_one(client: httpx.Client) -> None:
        with lock:
            number = next(numbers)
        told = {"notes": str(notes.path), "n": number}
        body = {"algorithm_id": algorithm_id, "input_dataset_ids": [], "additional_parameters": told}
        answer = client.post("/api/v0/execute-algorithm", json=body, timeout=60.0)
        if accepted(answer):
            taken[number] = answer.json()["execution_id"]

    # When the broker is killed and comes back
    with Stream(cluster, submit_one, submit_one) as stream:
        ended(notes, 20)
        own_broker.kill()
        own_broker.start()
        before = len(notes.count("end"))
        ended(notes, before + 50)
    # Then all that was accepted completes
    records = end_of_all(api, list(taken.values()), within=90.0)
    assert stream.errors == []
    assert unlike(records, "COMPLETED") == []
    assert set(taken) <= set(notes.count("end"))
    # And all are ready again, but for those who have left for a successor, whom a supervisor starts anew
    assert set(cluster.tend().values()) <= {DIED}
    eventually(lambda: all(process.ready for process in cluster.processes.values()), what="all being ready again")


def test_a_broker_that_has_lost_its_disk_costs_no_run_that_was_accepted(
    new_cluster: NewCluster, own_broker: Broker, notes: Notes
) -> None:
    # Given runs of which some have ended, some run, and others wait; perhaps not all are recorded yet
    cluster = new_cluster(broker=own_broker, claim_timeout=2.0)
    api = cluster.api()
    runs = submit(api, deploy_noting(api), notes, range(60), seconds=0.2)
    ended(notes, 10)
    vhost = vhost_of(cluster.broker)
    # When the broker forgets everything, and its operator makes the vhost anew
    own_broker.kill()
    own_broker.forget()
    own_broker.start()
    own_broker.add_vhost(vhost)
    # Then all of them complete
    records = end_of_all(api, runs, within=90.0)
    assert unlike(records, "COMPLETED") == []


def test_a_store_that_stands_still_for_a_while_costs_no_run(
    new_cluster: NewCluster, own_store: Any, notes: Notes
) -> None:
    cluster = new_cluster(store=own_store)
    api = cluster.api()
    runs = submit(api, deploy_noting(api), notes, range(60), seconds=0.05)
    ended(notes, 10)
    own_store.signal(signal.SIGSTOP)
    threading.Event().wait(4.0)
    own_store.signal(signal.SIGCONT)
    records = end_of_all(api, runs, within=90.0)
    assert unlike(records, "COMPLETED") == []
    assert set(notes.count("end")) == set(range(60))


def test_a_gateway_that_restarts_misses_no_event_for_a_client_that_resumes(cluster: Cluster) -> None:
    # Given a client that follows a run at one gateway and has seen it begin
    api = cluster.api()
    ticker = api.deploy(generic("ticker", TICKER))["algorithm_id"]
    run = api.execute(ticker, additional_parameters={"steps": 60})
    gateway = cluster.of("gateway")[0]
    last, _ = next(one for one in statuses_of(gateway.url, run) if one[1] == "RUNNING")
    # When that gateway is killed, the run is lost with its worker, and tried again to its end, before a new one starts
    cluster.kill_one(gateway)
    api = cluster.api()
    cluster.kill_one(cluster.processes[api.record(run)["worker_id"]])
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
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                identifier = value
            elif name == "event":
                kind = value
            elif name == "data" and kind == "status":
                yield identifier, json.loads(value)["status"]


def test_what_one_gateway_has_answered_the_other_knows(cluster: Cluster) -> None:
    here, there = (httpx.Client(base_url=gateway.url, timeout=30.0) for gateway in cluster.of("gateway"))
    api = cluster.api()
    with here, there:
        for number in range(10):
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
