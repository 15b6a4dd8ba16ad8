"""Services apart, while what they stand on dies, freezes or forgets."""

from __future__ import annotations

import itertools
import signal
import time

import httpx

from services.commands import DIED
from tests.acceptance.cluster import Cluster
from tests.brokers import Broker, vhost_of
from tests.chaos.load import Notes, Stream, accepted, deploy_noting, end_of_all, submit, unlike, wait_for_ends
from tests.chaos.loops import Loops
from tests.s3server import S3Server


class Submitters:
    """Clients that submit without end, and note what was accepted."""

    def __init__(self, algorithm_id: str, notes: Notes) -> None:
        self._algorithm_id = algorithm_id
        self._notes = notes
        self._numbers = itertools.count()
        self.taken: dict[int, str] = {}

    def submit(self, client: httpx.Client) -> None:
        number = next(self._numbers)
        told = {"notes": str(self._notes.path), "n": number}
        body = {"algorithm_id": self._algorithm_id, "input_dataset_ids": [], "additional_parameters": told}
        answer = client.post("/api/v0/execute-algorithm", json=body, timeout=60.0)
        if accepted(answer):
            self.taken[number] = answer.json()["execution_id"]
        time.sleep(0.02)


def test_a_broker_that_restarts_under_load_loses_nothing_that_was_accepted(
    beaten_cluster: Cluster, own_broker: Broker, notes: Notes, loops: Loops
) -> None:
    # Given clients that submit without end
    cluster = beaten_cluster
    api = cluster.api()
    submitters = Submitters(deploy_noting(api), notes)
    # When the broker is killed and comes back
    with Stream(cluster, submitters.submit, submitters.submit) as stream:
        for _ in range(loops.rounds):
            wait_for_ends(notes, len(notes.count("end")) + loops.runs // 3)
            own_broker.kill()
            own_broker.start()
        wait_for_ends(notes, len(notes.count("end")) + loops.runs // 2)
    # Then all that was accepted completes
    records = end_of_all(api, submitters.taken.values())
    assert stream.errors == []
    assert unlike(records, "COMPLETED") == []
    assert set(submitters.taken) <= set(notes.count("end"))
    # And all are ready again, but for those who have left for a successor, whom a supervisor starts anew
    assert set(cluster.mend().values()) <= {DIED}


def test_a_broker_that_has_lost_its_disk_costs_no_run_that_was_accepted(
    beaten_cluster: Cluster, own_broker: Broker, notes: Notes, loops: Loops
) -> None:
    api = beaten_cluster.api()
    noting = deploy_noting(api)
    vhost = vhost_of(beaten_cluster.broker)
    for turn in range(loops.rounds):
        # Given runs of which some have ended, some run, and others wait; perhaps not all are recorded yet
        numbers = range(turn * loops.runs, (turn + 1) * loops.runs)
        runs = submit(api, noting, notes, numbers, seconds=0.2)
        wait_for_ends(notes, len(numbers) // 6, numbers)
        # When the broker forgets everything, and its operator makes the vhost anew
        own_broker.kill()
        own_broker.forget()
        own_broker.start()
        own_broker.add_vhost(vhost)
        # Then all of them complete
        assert unlike(end_of_all(api, runs), "COMPLETED") == []
        beaten_cluster.tend()


def test_a_store_that_stands_still_for_a_while_costs_no_run(
    beaten_cluster: Cluster, beaten_store: S3Server, notes: Notes, loops: Loops
) -> None:
    api = beaten_cluster.api()
    noting = deploy_noting(api)
    for turn in range(loops.rounds):
        numbers = range(turn * loops.runs, (turn + 1) * loops.runs)
        runs = submit(api, noting, notes, numbers, seconds=0.1)
        wait_for_ends(notes, len(numbers) // 6, numbers)
        beaten_store.signal(signal.SIGSTOP)
        time.sleep(loops.frozen_secs)
        beaten_store.signal(signal.SIGCONT)
        assert unlike(end_of_all(api, runs), "COMPLETED") == []
        assert set(notes.count("end")) == set(range(numbers.stop))
