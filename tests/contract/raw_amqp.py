"""A client of AMQP that sends any bytes at all, as somebody may who means harm."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD

_PUBLISH = struct.pack(">HHH", 60, 40, 0)
USER_ID, TIMESTAMP, HEADERS, MESSAGE_ID = 1 << 4, 1 << 6, 1 << 13, 1 << 7


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def _read(self) -> object:
        head = await self._reader.readexactly(7)
        rest = await self._reader.readexactly(struct.unpack(">BHI", head)[2] + 1)
        return pamqp.frame.unmarshal(head + rest)[2]

    def _send(self, frame: object, channel: int) -> None:
        self._writer.write(pamqp.frame.marshal(frame, channel))  # type: ignore[arg-type]

    async def begin(self, url: str) -> None:
        parts = urlsplit(url)
        proof = f"\0{unquote(parts.username or '')}\0{unquote(parts.password or '')}"
        self._writer.write(b"AMQP\0\0\x09\x01")
        await self._read()
        self._send(Connection.StartOk({}, "PLAIN", proof, "en_US"), 0)
        await self._read()
        self._send(Connection.TuneOk(16, 131072, 0), 0)
        self._send(Connection.Open(unquote(parts.path[1:])), 0)
        await self._read()
        self._send(Channel.Open(), 1)
        await self._read()
        self._send(Confirm.Select(), 1)
        await self._read()

    def publish(self, key: bytes, flags: int, properties: bytes, body: bytes, exchange: bytes = b"requests") -> None:
        self._frame(FRAME_METHOD, _PUBLISH + short(exchange) + short(key) + b"\0")
        self._frame(FRAME_HEADER, struct.pack(">HHQH", 60, 0, len(body), flags) + properties)
        self._frame(FRAME_BODY, body)

    def _frame(self, kind: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">BHI", kind, 1, len(payload)) + payload + bytes([FRAME_END]))

    async def confirmed(self, count: int) -> None:
        """Returns when the broker has kept so many."""
        acked: set[int] = set()
        while len(acked) < count:
            frame = await self._read()
            assert isinstance(frame, Basic.Ack), frame
            tag = frame.delivery_tag or 0
            acked.update(range(1, tag + 1) if frame.multiple else [tag])


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Raw]:
    parts = urlsplit(url)
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        client = Raw(reader, writer)
        try:
            await client.begin(url)
            yield client
        finally:
            writer.close()
