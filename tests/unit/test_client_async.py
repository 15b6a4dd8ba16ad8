"""The asynchronous client: what is different from the synchronous one that is made out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.client_fake import FakeServer, a_volume, an_algorithm, log_event, running, status_event
from voxloom.client import AsyncClient, Client, LogUpdate, StatusUpdate, _generate
from voxloom.errors import NotFound, Unavailable
from voxloom.models import Status


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as one:
        yield one


def test_the_synchronous_client_is_made_of_the_asynchronous_one_as_it_is_now() -> None:
    assert _generate.outdated() == {}, "run `python -m voxloom.client._generate`"


async def test_a_volume_goes_slice_by_slice_and_comes_back_as_one(server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    async with AsyncClient(server.url) as client:
        run = await client.submit("smooth", a_volume(20, 200))
        result = await run.result()
    np.testing.assert_array_equal(result, a_volume(20, 200) + 1)


async def test_files_go_up_several_at_a_time(server: FakeServer) -> None:
    server.slow_secs = 0.02
    async with AsyncClient(server.url) as client:
        ids = await client.upload_many(list(a_volume(24)))
    assert [int(server.datasets(one)["image"][0, 0]) for one in ids] == [index * 64 for index in range(24)]
    assert 1 < server.most_at_once <= 8


async def test_one_refused_file_stops_the_others(server: FakeServer, tmp_path: Path) -> None:
    server.slow_secs = 0.02
    async with AsyncClient(server.url) as client:
        with pytest.raises(NotFound):
            await client.submit(an_algorithm(), ["nope", *a_volume(2)])
        good = server.add_file(image=a_volume())
        with pytest.raises(NotFound):
            await client.download_many(["nope", *[good] * 100], tmp_path)
    assert len(server.requests) < 60


async def test_a_watcher_sees_the_run_to_its_end(server: FakeServer) -> None:
    run_id = server.add_run(log="a\nb\n")
    begun = status_event(server.runs[run_id].record, "1")
    server.streams = [[begun, log_event(run_id, 0, "a\n")]]
    server.end_run(run_id, Status.COMPLETED)
    async with AsyncClient(server.url) as client:
        told = [update async for update in client.execution(run_id).watch()]
    assert [one.text for one in told if isinstance(one, LogUpdate)] == ["a\n", "b\n"]
    assert [one.status for one in told if isinstance(one, StatusUpdate)] == [Status.RUNNING, Status.COMPLETED]


async def test_a_cancelled_wait_ends_at_once_and_leaves_the_client_usable(server: FakeServer) -> None:
    async with AsyncClient(server.url) as client:
        run = client.execution(server.add_run())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await run.wait()
        assert await run.status() is Status.RUNNING


async def test_executions_are_paged_through(server: FakeServer) -> None:
    ids = [server.add_run() for _ in range(130)]
    async with AsyncClient(server.url) as client:
        assert [one.execution_id async for one in client.executions()] == ids


async def test_where_no_server_is_the_error_says_what_to_do() -> None:
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(Unavailable, match="No Voxloom server answers at"):
            await client.server()


async def test_the_synchronous_client_works_where_a_loop_runs_as_in_a_notebook(server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    with Client(server.url) as client:
        np.testing.assert_array_equal(client.submit("smooth", a_volume()).result(), a_volume() + 1)
