"""How many threads a run may have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from services.worker.threads import ALL_CORES, share, variables, wanted
from shared.cores import available, quota
from shared.environment import THREADS, scrubbed


@pytest.mark.parametrize(("cores", "slots", "threads"), [(16, 16, 1), (16, 4, 4), (16, 5, 3), (2, 8, 1), (8, 1, 8)])
def test_the_cores_are_shared_among_the_slots(cores: int, slots: int, threads: int) -> None:
    assert share(cores, slots) == threads


@pytest.mark.parametrize(("asked", "threads"), [(ALL_CORES, 8), (4, 4), (100, 8)])
def test_an_algorithm_gets_what_it_asks_for_as_far_as_there_are_cores(asked: int, threads: int) -> None:
    assert wanted(asked, 8) == threads


def test_every_library_is_told_unless_the_servers_environment_says_it() -> None:
    assert variables({}, 3) == dict.fromkeys(THREADS, "3")
    told = variables({"OMP_NUM_THREADS": "2,1", "MKL_NUM_THREADS": "5"}, 3)
    assert told == dict.fromkeys(set(THREADS) - {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}, "2")


@pytest.mark.parametrize("odd", ["", "many", "0", "-1", "²"])
def test_what_is_no_number_of_threads_is_no_example(odd: str) -> None:
    assert set(variables({"OMP_NUM_THREADS": odd}, 3).values()) == {"3"}


def test_what_the_servers_environment_says_reaches_a_run() -> None:
    told = dict.fromkeys(THREADS, "2")
    assert scrubbed({**told, "VOXLOOM_BROKER": "secret"}) == told


@pytest.mark.parametrize(
    ("told", "cores"),
    [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000", 2), ("1000 100000", 1), ("", None)],
)
def test_a_quota_is_told_in_whole_cores(told: str, cores: int | None) -> None:
    assert quota(told) == cores


def test_there_is_at_least_one_core_and_not_more_than_the_machine_has() -> None:
    assert 1 <= available() <= (os.cpu_count() or 1)


def test_libraries_that_are_loaded_already_are_told_too() -> None:
    script = """
import numpy
from threadpoolctl import threadpool_info
from voxloom.runner.threadlimits import limit
limit({"OPENBLAS_NUM_THREADS": "3"})
print(*{one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"})
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]
