"""A proxy between a store and its S3 server. It remembers all requests, and deals with some as it is told.

What it passes on keeps its host and path, so that signatures stay good.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

from shared.listening import Site

WITHIN = 20.0
"""Seconds in which something should have happened."""

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Asked(NamedTuple):
    method: str
    key: str
    query: str
    span: str
    """The range that was asked for; empty for all of it."""


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    async def again(self) -> Answer:
        return self

    def response(self) -> web.Response:
        return web.Response(status=self.status, headers=_headers(self), body=self.body)


Pass = Callable[[], Awaitable[Answer]]
Trick = Callable[[web.Request, Pass], Awaitable[web.StreamResponse]]
"""Answers a request in the proxy's stead; it may pass it on."""
Which = Callable[[Asked], bool]


@dataclass
class _Rule:
    which: Which
    trick: Trick
    times: int


@dataclass
class Proxy:
    """Between `start` and `stop` it listens at `url`."""

    server: str
    seen: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._done: list[Asked] = []
        self._rules: list[_Rule] = []
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._changed = asyncio.Condition()
        self.url = ""

    async def start(self) -> Proxy:
        self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = Site(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def play(self, trick: Trick, which: Which, times: int = 1) -> None:
        """Plays it on the first requests of this kind."""
        self._rules.append(_Rule(which, trick, times))

    def count(self, which: Which) -> int:
        return sum(map(which, self.seen))

    def done(self, which: Which) -> int:
        """How many the server has answered."""
        return sum(map(which, self._done))

    async def until(self, what: Callable[[], bool]) -> None:
        """Waits for what requests bring about."""
        async with asyncio.timeout(WITHIN), self._changed:
            await self._changed.wait_for(what)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = _asked(request)
        await self._note(self.seen, asked)
        body = await request.read()

        async def passed() -> Answer:
            answer = await self._pass_on(request, body)
            await self._note(self._done, asked)
            return answer

        trick = self._trick_for(asked)
        return await trick(request, passed) if trick is not None else (await passed()).response()

    async def _note(self, what: list[Asked], asked: Asked) -> None:
        async with self._changed:
            what.append(asked)
            self._changed.notify_all()

    def _trick_for(self, asked: Asked) -> Trick | None:
        for rule in self._rules:
            if rule.times and rule.which(asked):
                rule.times -= 1
                return rule.trick
        return None

    async def _pass_on(self, request: web.Request, body: bytes) -> Answer:
        assert self._session is not None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        url = URL(f"{self.server}{request.raw_path}", encoded=True)
        skipped = ["Content-Type", "User-Agent", "Accept", "Accept-Encoding"]
        async with self._session.request(
            request.method,
            url,
            data=io.BytesIO(body),
            headers=headers,
            skip_auto_headers=skipped,
            allow_redirects=False,
        ) as answer:
            return Answer(answer.status, list(answer.headers.items()), await answer.read())


# What can be done to a request.


async def lose(request: web.Request, passed: Pass) -> web.StreamResponse:
    """It is done, and the connection breaks before anybody hears of it."""
    await passed()
    _break(request)
    return web.Response()


async def fail(_: web.Request, passed: Pass) -> web.StreamResponse:
    """It is done, and said to have failed."""
    await passed()
    return web.Response(status=500)


def refuses(status: int, code: str) -> Trick:
    """It is not passed on."""

    async def refuse(_: web.Request, __: Pass) -> web.StreamResponse:
        text = f"<Error><Code>{code}</Code></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")

    return refuse


async def break_off(request: web.Request, passed: Pass) -> web.StreamResponse:
    """Half of the answer comes."""
    await _send_half(request, await passed())
    _break(request)
    return web.Response()


class Hold:
    """Half of the answer comes, and the rest when it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, request: web.Request, passed: Pass) -> web.StreamResponse:
        answer = await passed()
        response = await _send_half(request, answer)
        self.begun.set()
        await asyncio.wait_for(self.go.wait(), WITHIN)
        await response.write(answer.body[len(answer.body) // 2 :])
        return response


async def _send_half(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    return response


def _break(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def held_until(proxy: Proxy, what: Callable[[], bool]) -> Trick:
    """It is passed on once that is so."""

    async def hold(_: web.Request, passed: Pass) -> web.StreamResponse:
        await proxy.until(what)
        return (await passed()).response()

    return hold


# Kinds of requests.


def gets(key: str) -> Which:
    """Bytes of an object."""
    return lambda asked: asked.method == "GET" and asked.key == key and "tagging" not in asked.query


def heads(key: str) -> Which:
    return lambda asked: asked.method == "HEAD" and asked.key == key


def puts(key: str) -> Which:
    """Whole objects."""
    others = ("uploadId", "tagging")
    return lambda asked: asked.method == "PUT" and asked.key == key and not any(one in asked.query for one in others)


def parts(asked: Asked) -> bool:
    return asked.method == "PUT" and "partNumber" in asked.query


def completions(asked: Asked) -> bool:
    return asked.method == "POST" and "uploadId" in asked.query


def _asked(request: web.Request) -> Asked:
    path, _, query = request.raw_path.partition("?")
    return Asked(request.method, path.split("/", 2)[-1], query, request.headers.get("Range", ""))


def _headers(answer: Answer) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name.lower() not in _HOP or _is_length(answer, name)]


def _is_length(answer: Answer, name: str) -> bool:
    """Of an answer to HEAD, which has no bytes to count."""
    return name.lower() == "content-length" and not answer.body
