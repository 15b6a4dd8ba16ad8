"""The tests' own living S3 server: that it keeps what it was given, is nobody else's, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.support import eventually
from tests.s3server import new_name
from tests.seaweed import MISSING, Seaweed, is_installed

# A process that starts a server and is then killed before it could end it.
STARTER = """
import sys, time
from pathlib import Path
from tests.seaweed import Seaweed
server = Seaweed(Path(sys.argv[1])).start()
print(server.pid, *server.sockets, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    if not is_installed():
        pytest.fail(MISSING)
    server = Seaweed(tmp_path_factory.mktemp("weed")).start()
    yield server
    server.kill()


def test_it_listens_to_this_machine_alone(lone_server: Seaweed) -> None:
    listening = [one.laddr.ip for one in psutil.Process(lone_server.pid).net_connections() if one.status == "LISTEN"]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_it_keeps_what_it_was_given_through_a_kill(lone_server: Seaweed) -> None:
    # Given an object
    bucket = f"{new_name()}kept"
    lone_server.client.create_bucket(Bucket=bucket)
    lone_server.client.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000)

    # When the server is killed and starts again
    lone_server.kill()
    lone_server.start()

    # Then
    assert lone_server.client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x" * 100_000


def test_emptying_takes_all_out_of_the_buckets_of_a_name_and_of_no_other(lone_server: Seaweed) -> None:
    # Given two buckets with objects of odd names in them
    mine, others, keys = new_name(), new_name(), ["plain", "a/b", "line\nbreak", "\x01", "\uffff"]
    for name in (mine, others):
        lone_server.client.create_bucket(Bucket=f"{name}bucket")
        for key in keys:
            lone_server.client.put_object(Bucket=f"{name}bucket", Key=key, Body=b"")

    # When one of them is emptied
    lone_server.empty(mine)

    # Then
    found = [lone_server.client.list_objects_v2(Bucket=f"{name}bucket")["KeyCount"] for name in (mine, others)]
    assert found == [0, len(keys)]


def test_it_goes_with_whoever_started_it(tmp_path: Path) -> None:
    # Given a process that has started one
    command = [sys.executable, "-c", STARTER, str(tmp_path / "weed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, *sockets = starter.stdout.readline().split()
        server = psutil.Process(int(pid))

        # When it is killed
        starter.kill()

    # Then the server ends, and its sockets are removed
    eventually(lambda: not server.is_running(), what="the server's end")
    eventually(lambda: not any(Path(socket).exists() for socket in sockets), what="the end of its sockets")
