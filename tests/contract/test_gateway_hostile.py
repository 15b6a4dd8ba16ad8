"""Clients that are careless or mean: they get an answer of ours, leave nothing behind, and harm nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiohttp import StreamReader

from services.gateway import service
from services.gateway.http import bodies, concurrency, listener
from services.gateway.views import ended_runs
from shared.files import COLLECTION
from shared.objects.base import list_all
from shared.records.store import DEPLOYS
from tests.contract.gateway_world import HDF5, World, client_of, eventually, world_at
from tests.contract.gateway_world import client as client
from voxloom.ids import new_id

Client = httpx.AsyncClient
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

EXECUTE = "/api/v0/execute-algorithm"
MIB = 1 << 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, answer_timeout=5.0) as world:
        yield world


async def connect(world: World, data: bytes = b"") -> Connection:
    url = httpx.URL(world.gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(data)
    return reader, writer


def head(method: str, path: str, *more: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *more, "", ""]).encode()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and code."""
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode().splitlines()
    length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length"))
    body = await asyncio.wait_for(reader.readexactly(length), 60)
    return int(lines[0].split()[1]), str(json.loads(body).get("code"))


def asking(algorithm_id: str, parameters: bytes = b"{}", inputs: bytes = b"[]") -> bytes:
    template = b'{"algorithm_id":"%b","input_dataset_ids":%b,"additional_parameters":%b}'
    return template % (algorithm_id.encode(), inputs, parameters)


def memory() -> int:
    return int(psutil.Process().memory_info().rss)


class TestBodies:
    @pytest.mark.parametrize("path", [EXECUTE, "/api/v0/files", "/api/v1/algorithms"])
    async def test_who_falls_silent_is_told_and_leaves_nothing(
        self, world: World, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "SILENCE_SECS", 0.1)
        monkeypatch.setattr(bodies, "JSON_SECS", 0.1)
        begin = b"PK\x03\x04" if "algorithms" in path else HDF5
        reader, writer = await connect(world, head("POST", path, "Content-Length: 999999") + begin)
        assert await answer_of(reader) == (408, "upload_incomplete")
        writer.close()
        assert [item.key async for item in list_all(world.store, COLLECTION)] == []
        assert [item.key async for item in list_all(world.store, DEPLOYS)] == []

    @pytest.mark.parametrize("path", [EXECUTE, "/api/v0/files", "/api/v1/algorithms"])
    async def test_who_sends_no_chunk_where_one_should_be_waits_no_longer_than_the_silent(
        self, world: World, client: Client, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "SILENCE_SECS", 0.2)
        monkeypatch.setattr(bodies, "JSON_SECS", 0.2)
        reader, writer = await connect(world, head("POST", path, "Transfer-Encoding: chunked") + b"4\r\nPK\x03\x04\r\n")
        await client.get("/livez")  # By then the request is being handled.
        writer.write(b"zz\r\n")
        assert (await asyncio.wait_for(reader.readline(), 60)).split()[1] in (b"400", b"408")
        writer.close()
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []

    async def test_a_body_in_chunks_of_one_byte_is_taken(self, client: Client, world: World) -> None:
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in HDF5) + b"0\r\n\r\n"
        reader, writer = await connect(world, head("POST", "/api/v0/files", "Transfer-Encoding: chunked") + chunks)
        status, _ = await answer_of(reader)
        writer.close()
        assert status == 200

    async def test_uploads_that_are_cut_off_anywhere_leave_nothing(self, world: World) -> None:
        chance = random.Random(1)
        body = HDF5 + chance.randbytes(2 * MIB)
        chunked = b"".join(b"10000\r\n%b\r\n" % body[start : start + 0x10000] for start in range(0, MIB, 0x10000))

        async def cut(number: int) -> None:
            kind = "Transfer-Encoding: chunked" if number % 2 else f"Content-Length: {len(body)}"
            key = [f"Idempotency-Key: {number % 5}"] if number % 3 else []
            _, writer = await connect(world, head("POST", "/api/v0/files", kind, *key))
            sent = chunked if number % 2 else body
            writer.write(sent[: chance.randrange(len(sent))])
            with contextlib.suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
            if number % 4:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        await asyncio.gather(*(cut(number) for number in range(60)))

        async def nothing() -> bool:
            under_way = [path for path in world.platform.settings.data.glob("objects/objects/*/*") if path.is_file()]
            return under_way == [] and [item async for item in list_all(world.store, COLLECTION)] == []

        await eventually(nothing)

    async def test_what_had_come_of_a_body_that_broke_off_is_given_up_at_once(
        self, client: Client, world: World
    ) -> None:
        gc.collect()
        gc.disable()  # What lies in a circle would stay.
        try:
            for _ in range(10):
                _, writer = await connect(world, head("POST", EXECUTE, f"Content-Length: {MIB}") + bytes(MIB // 2))
                await writer.drain()
                writer.transport.abort()
                writer.close()

            async def given_up() -> bool:
                await client.get("/livez")
                # By its type alone: isinstance() asks objects of other libraries, and some of them warn.
                readers = (one for one in gc.get_objects() if type(one) is StreamReader)
                return not [one for one in readers if one.total_bytes > 1000]

            await eventually(given_up)
        finally:
            gc.enable()

    async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(self, world: World) -> None:
        reader, writer = await connect(world, head("POST", EXECUTE, f"Content-Length: {17 * MIB}"))
        assert await answer_of(reader) == (413, "too_large")
        writer.close()


TOO_MUCH: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b'{"x":[%b]}' % b",".join([b"[]"] * 5_000_000),
    "texts": lambda: b'{"x":[%b]}' % b",".join([b'""'] * 5_000_000),
    "numbers": lambda: b'{"x":[%b]}' % b",".join([b"1"] * 250_001),
    "deep lists": lambda: b'{"x":%b%b}' % (b"[" * 65, b"]" * 65),
    "deep objects": lambda: b'{"x":%b%b}' % (b'{"a":' * 65, b"1" + b"}" * 65),
    "deeper": lambda: b'{"x":%b%b}' % (b"[" * 500_000, b"]" * 500_000),
    "half a character": lambda: b'{"x":"\\ud800"}',
    "infinity": lambda: b'{"x":Infinity}',
}
"""Made when a test needs it: all processes of the tests read this file."""

MUCH: dict[str, Callable[[], bytes]] = {
    "a long text with brackets": lambda: b'{"x":"%b"}' % (b"[{," * 1_700_000),
    "many numbers": lambda: b'{"x":[%b]}' % b",".join([b"0.123456"] * 200_000),
    "deep": lambda: b'{"x":%b%b}' % (b"[" * 60, b"]" * 60),
    "odd names, one of them twice": lambda: b'{"\\u0000":"\\u0000","x":1,"x":2}',
}


class TestJson:
    @pytest.mark.parametrize("kind", TOO_MUCH)
    async def test_what_is_too_much_or_no_json_is_422(self, client: Client, world: World, kind: str) -> None:
        answer = await client.post(EXECUTE, content=asking(await world.deploy(), TOO_MUCH[kind]()))
        assert (answer.status_code, answer.json()["code"]) == (422, "request_validation_error")

    @pytest.mark.parametrize("kind", MUCH)
    async def test_what_is_much_but_not_too_much_is_taken(self, client: Client, world: World, kind: str) -> None:
        parameters = MUCH[kind]()
        answer = await client.post(EXECUTE, content=asking(await world.deploy(), parameters))
        run = answer.json()["execution_id"]
        record = (await client.get(f"/api/v1/executions/{run}")).json()
        assert record["additional_parameters"] == json.loads(parameters)

    async def test_26_000_inputs_are_looked_up_and_all_that_are_missing_named(
        self, client: Client, world: World
    ) -> None:
        ids = [new_id() for _ in range(26_000)]
        answer = await client.post(EXECUTE, content=asking(await world.deploy(), inputs=json.dumps(ids).encode()))
        assert (answer.status_code, answer.json()["code"]) == (404, "input_datasets_not_found")
        assert answer.json()["details"]["missing_dataset_ids"] == ids

    async def test_a_hundred_thousand_wrong_inputs_are_told_by_the_first(self, client: Client, world: World) -> None:
        inputs = b"[%b]" % b",".join([b"1"] * 100_000)
        answer = await client.post(EXECUTE, content=asking(await world.deploy(), inputs=inputs))
        assert [error["loc"] for error in answer.json()["details"]["errors"]] == [["input_dataset_ids", 0]]

    async def test_large_bodies_wait_for_each_other_and_small_ones_do_not(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(concurrency, "WAIT_SECS", 0.1)
        algorithm_id = await world.deploy()
        large = asking(algorithm_id, b'{"x":"%b"}' % (b"y" * MIB))
        # Given as many large bodies on their slow way as may be
        slow = [await connect(world, head("POST", EXECUTE, f"Content-Length: {len(large)}")) for _ in range(2)]
        await client.get("/livez")
        # Then another one is told to come again, and a small one is served
        busy = await client.post(EXECUTE, content=large)
        assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (503, "server_busy", True)
        assert (await client.post(EXECUTE, content=asking(algorithm_id))).status_code == 200
        # And once they are through, there is room again
        for reader, writer in slow:
            writer.write(large)
            assert (await answer_of(reader))[0] == 200
            writer.close()
        assert (await client.post(EXECUTE, content=large)).status_code == 200


class TestReaders:
    async def test_watchers_that_never_read_cost_little_however_large_the_run(
        self, client: Client, world: World
    ) -> None:
        # Given a run with large parameters and a long log
        parameters = b'{"x":"%b"}' % (b"y" * 4 * MIB)
        run = (await client.post(EXECUTE, content=asking(await world.deploy(), parameters))).json()["execution_id"]
        await world.start(run)
        for number in range(10):
            world.log(run, number * 50_000, "x" * 50_000)
        before = memory()
        # When many watch it and read nothing
        watchers = []
        for _ in range(40):
            reader, writer = await connect(world, head("GET", f"/api/v1/executions/{run}/events"))
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads, too
            watchers.append((reader, writer))
        await world.complete(run, log="done")
        await client.get(f"/api/v1/executions/{run}?wait=10")
        # Then the memory has not grown by what each of them would be told
        assert memory() - before < 80 * MIB
        for _, writer in watchers:
            writer.transport.abort()

    async def test_watchers_are_told_all_of_large_records_and_logs(self, client: Client, world: World) -> None:
        parameters = {"x": "y" * 300_000}
        content = asking(await world.deploy(), json.dumps(parameters).encode())
        run = (await client.post(EXECUTE, content=content)).json()["execution_id"]
        await world.start(run)
        text = "".join(f"line {number}\n" for number in range(20_000))
        for start in range(0, len(text), 50_000):
            world.log(run, start, text[start : start + 50_000])

        async def heard() -> bool:
            return (await client.get(f"/api/v1/executions/{run}/log")).text == text

        await eventually(heard)
        told = asyncio.create_task(events_of(client, run))
        await asyncio.sleep(0)
        await world.complete(run, log=text)
        events = await asyncio.wait_for(told, 60)
        assert "".join(data["text"] for kind, data in events if kind == "log") == text
        statuses = [data for kind, data in events if kind == "status"]
        assert statuses[-1]["status"] == "COMPLETED"
        assert all(data["additional_parameters"] == parameters for data in statuses)

    async def test_who_takes_nothing_is_cut_off(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            pytest.skip("this system's kernel cannot do it")
        monkeypatch.setattr(listener, "STUCK_SECS", 1)
        async with world_at(tmp_path) as world, client_of(world) as client:
            file_id = (await client.post("/api/v0/files", content=HDF5 + bytes(30 * MIB))).json()["file_id"]
            with socket.create_connection(httpx.URL(world.gateway.url).netloc.decode().split(":")) as stuck:  # type: ignore[arg-type]  # a list does
                await asyncio.to_thread(stuck.sendall, head("GET", f"/api/v0/files/{file_id}"))

                async def cut_off() -> bool:
                    text = (await client.get("/metrics")).text
                    return 'voxloom_http_requests_total{method="GET",route="/api/v0/files/{file_id}"' in text

                await eventually(cut_off, 20)

    async def test_memory_does_not_grow_with_the_runs_that_have_ended(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ended_runs, "LEAST_SECS", 0.0)
        monkeypatch.setattr(ended_runs, "MOST_BYTES", 3 * MIB)
        algorithm_id = await world.deploy()
        content = asking(algorithm_id, b'{"x":"%b"}' % (b"y" * MIB))
        runs = [(await client.post(EXECUTE, content=content)).json()["execution_id"] for _ in range(6)]
        for run in runs:
            await world.complete(run)
        await client.get(f"/api/v1/executions/{runs[-1]}?wait=10")
        assert [run in world.gateway._view._ended for run in runs] == [False, False, False, False, True, True]


async def events_of(client: Client, run: str) -> list[tuple[str, dict[str, Any]]]:
    kind, events = "", []
    async with client.stream("GET", f"/api/v1/executions/{run}/events") as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
    return events


class TestConnections:
    async def test_beyond_so_many_connections_one_is_told_to_come_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "most_connections", lambda: 3)
        async with world_at(tmp_path) as world:
            idle = [await connect(world, b"GET / HTTP/1.1\r\nHost:") for _ in range(3)]

            async def all_there() -> bool:
                reader, writer = await connect(world)
                code = await asyncio.wait_for(reader.read(), 1) if idle else b""
                writer.close()
                return b"server_busy" in code

            await eventually(all_there)
            for _, writer in idle:
                writer.transport.abort()
            idle.clear()

            async def room() -> bool:
                async with httpx.AsyncClient(base_url=world.gateway.url) as client:
                    return (await client.get("/livez")).status_code == 200

            await eventually(room)

    async def test_requests_that_are_sent_without_waiting_are_answered_in_their_order(self, world: World) -> None:
        ids = [new_id() for _ in range(50)]
        reader, writer = await connect(world, b"".join(head("GET", f"/api/v0/algorithm/{one}/1") for one in ids))
        for _ in ids:
            assert await answer_of(reader) == (404, "algorithm_not_found")
        writer.close()


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1:5481", "localhost", "LOCALHOST.:80", "[::1]:1", "10.1.2.3", "a.localhost"]
    )
    async def test_a_server_on_one_machine_answers_to_addresses_and_localhost(self, client: Client, host: str) -> None:
        assert (await client.get("/", headers={"Host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:5481", "127.0.0.1.evil.example", "x", "", "localhost:a", "a@127.0.0.1"]
    )
    async def test_and_to_no_name_that_a_foreign_page_could_have(self, client: Client, host: str) -> None:
        answer = await client.get("/", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed")

    async def test_and_to_the_names_it_was_given(self, tmp_path: Path) -> None:
        async with world_at(tmp_path, allowed_hosts=["Lab.Example"]) as world, client_of(world) as client:
            assert (await client.get("/", headers={"Host": "lab.example:80"})).status_code == 200

    async def test_a_page_with_its_own_name_led_to_us_is_not_our_own(self, tmp_path: Path) -> None:
        async with world_at(tmp_path, host="0.0.0.0", open_to=["10.0.0.0/8"]) as world, client_of(world) as client:
            names = {"Host": "lab.example", "Origin": "http://lab.example"}
            assert (await client.get("/", headers=names)).status_code == 200
            answer = await client.post(EXECUTE, content=b"{}", headers=names)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
