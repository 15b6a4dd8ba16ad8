"""What the benchmarks read and reckon, without anything that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks import cost, knock
from benchmarks.apart import summed
from benchmarks.cost import ENQUEUES, LOAD, WRITES, Cost
from benchmarks.cpu import Busy, Root, of_others, per_run, processes, seconds, worked
from benchmarks.figures import Figure, Table
from benchmarks.peers import comparison
from benchmarks.peers.environments import folder_of
from benchmarks.peers.measure import Compared
from benchmarks.peers.talk import PlainClient
from benchmarks.report import Results, as_json, from_json, page
from tests.cputime import TICKS, Seen

WORKER, RUNNER, GRANDCHILD, STRANGER = 10, 11, 12, 13
LIVING = {
    WORKER: Seen(1, "worker", own=4.0, children=1.0),
    RUNNER: Seen(WORKER, "runner", own=2.0, children=0.5),
    GRANDCHILD: Seen(RUNNER, "grandchild", own=0.25, children=0.0),
    STRANGER: Seen(1, "stranger", own=100.0, children=100.0),
}


def test_what_children_use_and_have_used_counts_below_their_root() -> None:
    assert seconds(LIVING, [Root("worker", WORKER, "runners")]) == {"worker": 4.0, "runners": 3.75}


def test_all_of_a_tree_counts_as_one_where_no_other_name_is_given() -> None:
    assert seconds(LIVING, [Root("worker", WORKER)]) == {"worker": 7.75}


def test_processes_of_one_name_are_added_up() -> None:
    assert seconds(LIVING, [Root("gateway", RUNNER), Root("gateway", GRANDCHILD)])["gateway"] == 3.0


def test_a_run_costs_the_difference_between_two_looks() -> None:
    # Given two looks at two processes, of which one had not begun at the first
    spent = per_run({"worker": 1.0}, {"worker": 3.0, "store": 0.5}, runs=1000)
    # Then each has what it used since, in milliseconds
    assert spent == {"worker": 2.0, "store": 0.5}


def test_what_others_took_is_a_share_of_all_cores() -> None:
    # Given ten seconds of two cores, which worked for 15 s, 5 of these for us
    before, after = Busy(at=0.0, all=100.0, ours=1.0), Busy(at=10.0, all=115.0, ours=6.0)
    assert of_others(before, after, cores=2) == 0.5


def test_cores_that_wait_have_not_worked() -> None:
    assert worked("cpu  100 10 200 5000 700 1 2 3 0 0") * TICKS == 316


def test_a_process_that_lives_is_seen_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert processes()[child.pid].parent == os.getpid()
        child.communicate(b"\n")


def test_a_counter_is_summed_over_its_other_labels() -> None:
    text = (
        "# HELP SeaweedFS_s3_request_total Counter of s3 requests.\n"
        "# TYPE SeaweedFS_s3_request_total counter\n"
        'SeaweedFS_s3_request_total{bucket="a",code="200",type="PUT"} 4\n'
        'SeaweedFS_s3_request_total{bucket="b",code="200",type="PUT"} 2\n'
        'SeaweedFS_s3_request_total{bucket="b",code="404",type="GET"} 1\n'
    )
    assert summed(text, "SeaweedFS_s3_request", "type") == {"PUT": 6, "GET": 1}


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: x\r\n\r\n{}", 47 + 7),
        (b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length:0\r\n\r\n", 43),
    ],
)
def test_the_first_answer_tells_how_long_all_are(answer: bytes, length: int | None) -> None:
    assert knock.length_of(answer) == length


def _cost(name: str, cpu: dict[str, float], **counts: float) -> Cost:
    named = {ENQUEUES: counts["enqueues"], WRITES: counts["writes"]} if counts else {}
    return Cost(name, p50=1.0, rate=100.0, cpu=cpu, counts=named)


COSTS = [
    _cost("Voxloom, embedded", {"server": 2.0, "runners": 1.0, LOAD: 9.0}),
    _cost("Voxloom, RabbitMQ + S3", {"gateway": 5.0, "broker": 15.0, LOAD: 9.0}, enqueues=11.0, writes=0.5),
    _cost("Voxloom, RabbitMQ + S3, 2 gateways", {"gateway": 7.0, "broker": 15.0}, enqueues=12.0, writes=0.5),
]


@pytest.mark.parametrize(("rate", "runs"), [(5.0, cost.FEWEST), (100.0, 100 * cost.SECS), (1e6, cost.MOST)])
def test_fast_systems_do_more_runs_and_slow_ones_enough(rate: float, runs: float) -> None:
    assert cost.enough(rate) == runs


def test_the_client_is_not_in_the_sum() -> None:
    assert [one.total for one in COSTS] == [3.0, 20.0, 22.0]


def test_each_gateway_more_is_told_in_percent() -> None:
    dearer = {figure.name: figure.value for figure in cost.figures(COSTS)}
    assert dearer["RabbitMQ + S3, 2 gateways: CPU time beside that of one"] == pytest.approx(10.0)


def test_the_table_has_a_row_for_each_process_and_dashes_where_there_is_none() -> None:
    rows = {row[0]: row[1:] for row in cost.table(COSTS).rows}
    assert rows["gateway"] == ["–", "5.00", "7.00"]
    assert rows["**sum**"] == ["3.00", "20.0", "22.0"]


PART = Results(
    [Figure("a figure", 2.0, "ms")], [Table("A title", ["of", "is"], [["a", "1"]], "It says so.\n")], 0.25, "2 cores"
)


def test_the_page_has_all_tables_and_figures() -> None:
    text = page({"peers": PART, "runs": PART})
    assert "2 cores. Other programs took 25% of the cores meanwhile.\n\n| of | is |\n| --- | --- |\n| a | 1 |\n" in text
    assert "| a figure | 2.00 ms | – |  | – | – |\n" in text


def test_what_was_measured_before_is_read_as_it_was_written() -> None:
    assert from_json(json.loads(json.dumps(as_json({"runs": PART})))) == {"runs": PART}


PEERS = [
    Compared("Quick (quick 1)", "nothing", Cost("Quick", 1.5, 900.0, {"worker": 1.0, "broker": 0.5, LOAD: 0.25})),
    Compared("Slow (slow 2)", "all", Cost("Slow", 54.0, 13.0, {"worker": 100.0, LOAD: 1.0})),
    Compared("Away (away 3)", "all", missing="it could not be installed: no network"),
]


def test_a_ranking_has_what_was_measured_best_first() -> None:
    assert comparison.ranking(PEERS, lambda cost: -cost.rate, "runs/s") == "Quick 900 runs/s; Slow 13.0 runs/s."


def test_a_system_stands_beside_what_it_uses_and_what_it_keeps() -> None:
    quick, slow, away = comparison.table(PEERS).rows
    assert quick == ["Quick (quick 1)", "1.50 ms", "900 runs/s", "1.00 ms", "0.50 ms", "0.25 ms", "nothing"]
    assert slow[4] == "–"
    assert away[1:] == ["–", "–", "–", "–", "–", "not measured: it could not be installed: no network"]


def test_other_versions_have_another_environment() -> None:
    made = [(("a==1",), "3.11"), (("a==2",), "3.11"), (("a==1",), "3.12")]
    assert len({folder_of("a", *one) for one in made}) == 3


def test_no_more_are_in_flight_than_is_said() -> None:
    # Given a client that notes how many were sent and not yet waited for
    flying: list[int] = []
    most: list[int] = []

    def send() -> int:
        flying.append(len(most))
        most.append(len(flying))
        return flying[-1]

    # When it has ten runs to do, three at a time
    PlainClient(send, flying.remove).flying(10, 3)
    # Then all were sent, and waited for
    assert (len(most), max(most), flying) == (10, 3, [])
