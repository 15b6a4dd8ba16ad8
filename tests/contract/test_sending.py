"""Objects as bodies of HTTP answers: out of their files, on either event loop, to clients of all kinds."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import httpx
import pytest
import uvloop
from aiohttp import web

from shared.listening import Site
from shared.objects import sending
from shared.objects.base import CHUNK
from shared.objects.disk.reading import BlobReader
from shared.objects.local import LocalObjectStore
from shared.objects.sending import send_body
from shared.ranges import Part, select
from tests.certificates import self_signed
from tests.contract.object_store_behaviour import DATA, RECORDS, pieces

T = TypeVar("T")

LARGE = 40 * CHUNK + 12_345
"""More than sockets hold."""
SEVERAL = 9 * CHUNK + 12_345
"""Where it only matters that there is more than one chunk."""


class Server:
    """Serves every object of a store under its key, on an event loop of its own. Remembers how answers ended."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], folder: Path) -> None:
        self.ends: list[BaseException | None] = []
        self.port = 0
        self.clients: list[asyncio.StreamWriter] = []
        self._store = LocalObjectStore(folder)
        self._runner: web.AppRunner | None = None
        self._loop = new_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    async def open(self) -> None:
        self._thread.start()
        await self._do(self._store.open())

    async def close(self) -> None:
        await self.stop()
        await self._do(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def start(self, secure: ssl.SSLContext | None = None) -> None:
        await self._do(self._start(secure))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._do(self._runner.cleanup())
            self._runner = None

    async def put(self, data: bytes, key: str = "k", collection: str = DATA) -> None:
        await self._do(self._store.put_stream(collection, key, pieces(data, CHUNK)))

    async def delete(self, key: str) -> None:
        await self._do(self._store.delete(DATA, key))

    def url(self, key: str, collection: str = DATA, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{collection}/{key}"

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _start(self, secure: ssl.SSLContext | None) -> None:
        app = web.Application()
        app.add_routes([web.get("/{collection}/{key}", self._get)])
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await Site(self._runner, "127.0.0.1", 0, ssl_context=secure).start()
        self.port = self._runner.addresses[0][1]

    async def _get(self, request: web.Request) -> web.StreamResponse:
        collection = request.match_info["collection"]
        info = await self._store.head(collection, request.match_info["key"])
        selection = select(request.headers, info.size, info.etag)
        span = range(selection.start, selection.stop) if isinstance(selection, Part) else range(info.size)
        response = web.StreamResponse(headers={"Content-Length": str(len(span))})
        await response.prepare(request)
        try:
            await send_body(request, response, self._store, collection, info, span)
        except BaseException as error:
            self.ends.append(error)
            raise
        self.ends.append(None)
        return response


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(request.param, tmp_path / "store")
    await server.open()
    await server.start()
    yield server
    for client in server.clients:
        client.transport.abort()
    await server.close()


@pytest.fixture
def sent_from_file(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call has sent out of a file."""
    counts: list[int] = []
    send = BlobReader.send

    def counted(self: BlobReader, socket: int, start: int, stop: int) -> int:
        counts.append(send(self, socket, start, stop))
        return counts[-1]

    monkeypatch.setattr(BlobReader, "send", counted)
    return counts


async def stored(server: Server, size: int, key: str = "k") -> bytes:
    data = os.urandom(size)
    await server.put(data, key)
    return data


async def until(condition: Callable[[], bool]) -> bool:
    async with asyncio.timeout(60.0):
        while not condition():
            await asyncio.sleep(0.01)
    return True


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def begin(server: Server, *keys: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has asked for objects and reads nothing by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
    server.clients.append(writer)
    for key in keys:
        writer.write(f"GET /{DATA}/{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("size", [0, 1000, CHUNK, LARGE])
async def test_a_body_arrives_whole(server: Server, size: int) -> None:
    data = await stored(server, size)
    async with httpx.AsyncClient() as client:
        assert (await client.get(server.url("k"))).content == data


async def test_a_large_body_is_sent_out_of_its_file(server: Server, sent_from_file: list[int]) -> None:
    await stored(server, LARGE)
    async with httpx.AsyncClient() as client:
        await client.get(server.url("k"))
    assert sum(sent_from_file) == LARGE


async def test_an_object_in_the_database_is_sent_in_pieces(server: Server) -> None:
    await server.put(b"x" * 65_536, "k", RECORDS)
    async with httpx.AsyncClient() as client:
        assert (await client.get(server.url("k", RECORDS))).content == b"x" * 65_536


@pytest.mark.parametrize(("start", "stop"), [(5, CHUNK + 6), (SEVERAL - 2 * CHUNK, SEVERAL), (17, 18)])
async def test_a_range_is_sent_as_such(server: Server, start: int, stop: int) -> None:
    data = await stored(server, SEVERAL)
    async with httpx.AsyncClient() as client:
        response = await client.get(server.url("k"), headers={"Range": f"bytes={start}-{stop - 1}"})
    assert response.content == data[start:stop]


async def test_a_client_that_is_slow_gets_everything(server: Server) -> None:
    data = await stored(server, LARGE)
    reader, writer = await begin(server, "k")
    got = bytearray()
    while len(got) < LARGE:
        got += await reader.read(1 << 20)
        await asyncio.sleep(0.001)
    writer.close()
    assert bytes(got) == data


async def test_answers_on_one_connection_stay_in_order(server: Server) -> None:
    large, small = await stored(server, SEVERAL, "large"), await stored(server, 100, "small")
    reader, writer = await begin(server, "large", "small", "large")
    first = await reader.readexactly(SEVERAL)
    await reader.readuntil(b"\r\n\r\n")
    second = await reader.readexactly(100)
    await reader.readuntil(b"\r\n\r\n")
    third = await reader.readexactly(SEVERAL)
    writer.close()
    assert (first, second, third) == (large, small, large)


async def test_a_client_that_leaves_ends_the_answer_and_leaves_nothing_open(server: Server) -> None:
    await stored(server, LARGE)
    before = open_descriptors()
    for _ in range(5):
        _, writer = await begin(server, "k")
        writer.transport.abort()
    assert await until(lambda: len(server.ends) == 5)
    assert all(isinstance(end, ConnectionError | asyncio.CancelledError) for end in server.ends)
    assert await until(lambda: open_descriptors() <= before)


async def test_a_server_that_stops_cuts_answers_off(server: Server) -> None:
    await stored(server, LARGE)
    before = open_descriptors()
    _, writer = await begin(server, "k")
    await server.stop()
    assert await until(lambda: len(server.ends) == 1)
    writer.close()
    assert await until(lambda: open_descriptors() < before)


async def test_a_client_that_takes_nothing_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "STALLED_SECS", 0.2)
    await stored(server, LARGE)
    _, writer = await begin(server, "k")
    assert await until(lambda: len(server.ends) == 1)
    writer.close()
    assert "taken nothing" in str(server.ends[0])


async def test_an_object_that_is_deleted_meanwhile_is_sent_to_its_end(server: Server) -> None:
    data = await stored(server, LARGE)
    reader, _ = await begin(server, "k")
    first = await reader.readexactly(1)  # The headers may come before the file is open.
    await server.delete("k")
    assert first + await reader.readexactly(LARGE - 1) == data


async def test_many_at_the_same_time_get_their_own(server: Server) -> None:
    bodies = [await stored(server, 2 * CHUNK + number, str(number)) for number in range(12)]
    async with httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.get(server.url(str(number))) for number in range(12)))
    assert [answer.content for answer in answers] == bodies


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs a certificate")
async def test_what_has_to_be_encrypted_is_not_sent_past_the_encryption(
    server: Server, sent_from_file: list[int], tmp_path: Path
) -> None:
    data = await stored(server, SEVERAL)
    await server.stop()
    await server.start(_certified(tmp_path))
    async with httpx.AsyncClient(verify=False) as client:
        assert (await client.get(server.url("k", scheme="https"))).content == data
    assert sent_from_file == []


def _certified(folder: Path) -> ssl.SSLContext:
    certificate, key = self_signed(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
