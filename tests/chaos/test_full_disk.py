"""The disk is full for a while."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import Api, Footing, eventually
from tests.chaos.load import Notes, deploy_noting, end_of_all, submit, unlike
from tests.chaos.loops import Loops

SIZE_MIB = 48


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of its own; test_full_store says the same in process")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            while _has_written(file.fileno(), size):
                pass
    return ballast


def _has_written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, b"x" * size) == size
    except OSError:
        return False


def test_a_full_disk_is_said_and_what_ran_ends_once_there_is_room(
    new_system: Callable[..., Footing], small_disk: Path, notes: Notes, tmp_path: Path, loops: Loops
) -> None:
    footing = new_system(small_disk / "system", claim_timeout=1.5, heartbeat=0.4, lease=1.5, max_lost=1)
    footing.log = tmp_path / "server.log"
    api = footing.api()
    noting = deploy_noting(api)
    for turn in range(loops.rounds):
        # Given runs under way, and others that wait
        numbers = range(turn * 6, (turn + 1) * 6)
        runs = submit(api, noting, notes, numbers, seconds=1.0)
        api.wait_for_status(runs[0], "RUNNING")
        # When the disk is full, then nothing more is accepted, and the reason is given
        ballast = fill(small_disk)
        eventually(lambda: _refused(api, noting, notes), what="a refusal")
        # And once there is room again, after much longer than a worker may be silent, all that was accepted completes
        time.sleep(loops.frozen_secs)
        ballast.unlink()
        records = end_of_all(api, runs)
        assert unlike(records, "COMPLETED") == []
        assert {record["attempt"] for record in records.values()} == {1}
        assert {number: notes.count("end")[number] for number in numbers} == dict.fromkeys(numbers, 1)


def _refused(api: Api, noting: str, notes: Notes) -> bool:
    body = {"algorithm_id": noting, "additional_parameters": {"n": -1, "notes": str(notes.path)}}
    answer = api.http.post("/api/v0/execute-algorithm", json={"input_dataset_ids": [], **body})
    assert answer.status_code in (200, 507), answer.text
    return answer.status_code == 507 and "make room" in answer.text
