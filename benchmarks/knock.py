"""Many GETs of one address that all have the same answer: `python -m benchmarks.knock URL CONNECTIONS SECONDS` prints
how many there were and how many seconds that took. Keep-alive, one request at a time on each connection, and as little
work as possible: each answer must be as long as the first."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

OK = b"HTTP/1.1 200 "


def length_of(answer: bytes) -> int | None:
    """Of a whole answer, head and body, of which this is the beginning; None: there is too little of it to tell."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    if not end:
        return None
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    return len(head) + len(end) + int(fields[b"content-length"])


class Knocking(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self.fault: str | None = None
        self._request = request
        self._heard = b""
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._length is None:
            self._length = length_of(self._heard)
        if self._length is None or len(self._heard) < self._length:
            return
        if len(self._heard) > self._length or not self._heard.startswith(OK):
            self.fault = repr(self._heard[:300])
            self._transport.close()
            return
        self.answers += 1
        self._heard = b""
        self._transport.write(self._request)


async def knock(url: str, connections: int, seconds: float) -> tuple[int, float]:
    """Answers, and how many seconds they took. Raises RuntimeError if one was another than the first."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    request = f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: */*\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Knocking(request), place.hostname, place.port) for _ in range(connections)
    ]
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    answers, took = sum(one.answers for _, one in made), time.perf_counter() - begun
    for transport, one in made:
        transport.close()
        if one.fault or not one.answers:
            raise RuntimeError(f"{url} answered {one.fault or 'nothing'}")
    return answers, took


if __name__ == "__main__":
    print(*uvloop.run(knock(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
