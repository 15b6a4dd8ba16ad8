"""What is wrong with a store is one sentence, which says what to do."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from shared.objects import s3
from shared.objects.cloud.clocks import check_clocks
from shared.objects.s3 import S3ObjectStore, S3Place
from shared.ops import HEALTH_SECS
from shared.outages import Seldom
from tests.brokers import free_ports
from tests.contract.object_store_behaviour import DATA
from tests.contract.s3_proxy import Answer, Asked, Pass, Proxy, refuses
from tests.s3server import KEYS, UNCHECKED, S3Server
from voxloom.errors import Misconfigured, StoreFull, StoreUnavailable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Opening = Callable[[str], Awaitable[None]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[Proxy]:
    proxy = await Proxy(s3_server.endpoint).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    async def make(url: str) -> None:
        store = S3ObjectStore(S3Place.from_url(url), tmp_path, cache_bytes=1 << 20)
        try:
            await store.open()
        finally:
            await store.close()

    return make


def every(_: Asked) -> bool:
    return True


# --- keys and buckets ---


@pytest.mark.parametrize(
    ("name", "says"), [("AWS_ACCESS_KEY_ID", "access key"), ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY")]
)
async def test_wrong_keys_are_told_without_being_shown(
    s3_server: S3Server, opening: Opening, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setenv(name, "hunter2hunter2")
    with pytest.raises(Misconfigured, match=says) as told:
        await opening(s3_server.url())
    assert "hunter2" not in str(told.value)


def answering(status: int, code: str) -> Callable[[web.Request, Pass], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request, _: Pass) -> web.StreamResponse:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
        return web.Response(
            status=status,
            text="" if request.method == "HEAD" else text,
            content_type="application/xml",
            headers={"Server": "Careless/1.0"},
        )

    return answer


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (403, "AccessDenied", Misconfigured, "belongs to somebody else"),
        (403, "RequestTimeTooSkewed", StoreUnavailable, "finds the clock of this machine wrong"),
        (400, "ExpiredToken", Misconfigured, "session token has expired"),
        (401, "InvalidToken", Misconfigured, "does not take the session token"),
        (503, "SlowDown", StoreUnavailable, "try again"),
        (301, "PermanentRedirect", Misconfigured, "another region"),
        (501, "NotImplemented", Misconfigured, "cannot do this"),
        (507, "XMinioStorageFull", StoreFull, "has no room left"),
        (403, "QuotaExceeded", StoreFull, "has no room left"),
    ],
)
async def test_what_a_server_refuses_is_told_in_our_words(
    s3_server: S3Server,
    proxy: Proxy,
    opening: Opening,
    status: int,
    code: str,
    error: type[Exception],
    says: str,
) -> None:
    proxy.play(answering(status, code), every, times=1000)
    with pytest.raises(error, match=says):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_a_redirection_to_nowhere_is_not_asked_about_for_ever(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    proxy.play(answering(301, "PermanentRedirect"), every, times=1000)
    with pytest.raises(Misconfigured):
        await opening(s3_server.url("layout=bucket", endpoint=proxy.url))
    assert proxy.count(every) < 5


async def test_a_bucket_whose_name_is_taken_is_told(s3_server: S3Server, proxy: Proxy, opening: Opening) -> None:
    proxy.play(answering(404, "NoSuchBucket"), lambda asked: asked.method == "HEAD", times=1000)
    proxy.play(answering(409, "BucketAlreadyExists"), lambda asked: asked.method == "PUT", times=1000)
    with pytest.raises(Misconfigured, match="choose another name in `store`"):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_a_bucket_of_which_the_server_remembers_that_it_is_missing_is_written_to(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    """Somebody else has made it between our two questions."""
    url = s3_server.url("layout=bucket", endpoint=proxy.url)
    await opening(url)
    proxy.seen.clear()
    proxy.play(answering(404, "NoSuchBucket"), lambda asked: asked.method == "HEAD", times=1)
    proxy.play(answering(404, "NoSuchBucket"), lambda asked: asked.method == "PUT", times=1)
    await opening(url)
    assert proxy.count(lambda asked: asked.method == "POST" and "uploads" in asked.query) == 1


# --- servers that are not there, or promise nothing ---


async def test_a_store_that_is_not_there_may_come_yet(opening: Opening) -> None:
    (port,) = free_ports(1)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await opening(f"s3://x-?endpoint=http://127.0.0.1:{port}")


def forgetting(server: str, condition: str) -> Callable[[web.Request, Pass], Awaitable[web.StreamResponse]]:
    """Passes a request on without its condition, as some servers read it."""

    async def forget(request: web.Request, _: Pass) -> web.StreamResponse:
        body = await request.read()
        left_out = {condition, "host", "content-length", "transfer-encoding", "connection"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in left_out}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                URL(f"{server}{request.raw_path}", encoded=True),
                headers={**headers, UNCHECKED: "yes"},
                data=io.BytesIO(body),
            ) as answer,
        ):
            told = Answer(answer.status, list(answer.headers.items()), await answer.read()).response()
            told.headers["Server"] = "Careless/1.0"
            return told

    return forget


@pytest.mark.parametrize("condition", ["if-none-match", "if-match"])
async def test_a_store_that_ignores_conditions_is_refused_by_its_name(
    s3_server: S3Server, proxy: Proxy, opening: Opening, condition: str
) -> None:
    proxy.play(forgetting(s3_server.endpoint, condition), every, times=1000)
    with pytest.raises(Misconfigured, match=rf"(?i)Careless/1\.0.*ignores the conditions.*\({condition}\)"):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_a_store_that_does_not_know_a_condition_is_refused_by_its_name(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    async def know_less(request: web.Request, passed: Pass) -> web.StreamResponse:
        if "If-Match" in request.headers:
            return await answering(501, "NotImplemented")(request, passed)
        return (await passed()).response()

    proxy.play(know_less, every, times=1000)
    with pytest.raises(Misconfigured, match=r"Careless/1\.0.*ignores the conditions.*\(If-Match\)"):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_what_is_wrong_is_told_even_if_the_probe_cannot_be_deleted(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    proxy.play(answering(403, "AccessDenied"), lambda asked: asked.method == "DELETE", times=1000)
    proxy.play(forgetting(s3_server.endpoint, "if-match"), every, times=1000)
    with pytest.raises(Misconfigured, match="ignores the conditions"):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_a_key_that_may_not_delete_is_told(s3_server: S3Server, proxy: Proxy, opening: Opening) -> None:
    proxy.play(answering(403, "AccessDenied"), lambda asked: asked.method == "DELETE", times=1000)
    with pytest.raises(Misconfigured, match="does not allow this with our key"):
        await opening(s3_server.url(endpoint=proxy.url))


# --- clocks ---


def at_another_time(gap: timedelta) -> Callable[[web.Request, Pass], Awaitable[web.StreamResponse]]:
    async def shift(_: web.Request, passed: Pass) -> web.StreamResponse:
        response = (await passed()).response()
        response.headers["Date"] = format_datetime(datetime.now(UTC) + gap, usegmt=True)
        return response

    return shift


async def test_clocks_an_hour_apart_are_told_and_waited_for(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    proxy.play(at_another_time(timedelta(hours=-1)), every, times=1000)
    with pytest.raises(StoreUnavailable, match=r"behind that of this machine.*NTP"):
        await opening(s3_server.url(endpoint=proxy.url))


async def test_a_store_that_refuses_our_time_is_told_with_how_far_it_is(
    s3_server: S3Server, proxy: Proxy, opening: Opening
) -> None:
    async def refuse(request: web.Request, passed: Pass) -> web.StreamResponse:
        response = await answering(403, "RequestTimeTooSkewed")(request, passed)
        response.headers["Date"] = format_datetime(datetime.now(UTC) + timedelta(hours=1, seconds=2), usegmt=True)
        return response

    proxy.play(refuse, every, times=1000)
    with pytest.raises(StoreUnavailable, match=r"1:00:0\d ahead of that of this machine.*NTP"):
        await opening(s3_server.url(endpoint=proxy.url))


@pytest.mark.parametrize(
    ("gap", "says"),
    [
        (timedelta(0), None),
        (timedelta(seconds=59), None),
        (timedelta(seconds=-59), None),
        (timedelta(minutes=2), "0:02:00 ahead of"),
        (timedelta(hours=-1), "1:00:00 behind"),
    ],
)
def test_a_minute_is_what_clocks_may_differ_by(gap: timedelta, says: str | None) -> None:
    date = format_datetime(NOW + gap, usegmt=True)
    if says is None:
        check_clocks(date, NOW, "here")
        return
    with pytest.raises(StoreUnavailable, match=says):
        check_clocks(date, NOW, "here")


def test_a_time_without_a_zone_is_that_of_greenwich() -> None:
    with pytest.raises(StoreUnavailable, match="0:02:00 ahead of"):
        check_clocks("Fri, 02 Jan 2026 03:06:05 -0000", NOW, "here")


@pytest.mark.parametrize("date", ["", "yesterday", "2026-01-02"])
def test_a_store_that_does_not_tell_the_time_is_taken_as_it_is(date: str) -> None:
    check_clocks(date, NOW, "here")


# --- what is as it should be says nothing ---


async def test_a_first_start_warns_of_nothing_and_tells_of_no_keys(
    s3_server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A new bucket has no rules of expiry yet, and keys in the environment are where they belong."""
    caplog.set_level(logging.INFO)
    store = S3ObjectStore(S3Place.from_url(s3_server.url()), tmp_path, cache_bytes=1 << 20)
    await store.open()
    await store.set_expiry(DATA, 30)
    await store.close()
    told = [record for record in caplog.records if record.name.split(".")[0] in ("voxloom", "aiobotocore", "botocore")]
    assert [record.getMessage() for record in told] == []


async def test_a_store_that_takes_nothing_is_told_of_once_and_once_more_when_it_does(
    proxy: Proxy, s3_server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = S3ObjectStore(S3Place.from_url(s3_server.url(endpoint=proxy.url)), tmp_path, cache_bytes=1 << 20)
    await store.open()
    caplog.set_level(logging.INFO)
    # Given a store that refuses, and services that try again and again
    proxy.play(refuses(507, "XMinioStorageFull"), lambda asked: asked.method == "PUT", times=5)
    for _ in range(4):
        with pytest.raises(StoreUnavailable):
            await store.put(DATA, "key", b"bytes")
    assert not await store.healthy()
    # When it takes something again
    await store.put(DATA, "key", b"bytes")
    await store.close()
    # Then the log has two lines
    seldom = Seldom()
    told = [one.getMessage() for one in caplog.records if one.name == "voxloom.objects" and seldom.filter(one)]
    assert [line[:45] for line in told] == [
        "the object store cannot be used: The object s",
        "the object store can be used again, after 0 s",
    ]


async def test_a_store_that_hangs_is_told_of_by_who_only_asks_whether_it_is_well(
    proxy: Proxy, s3_server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3ObjectStore(S3Place.from_url(s3_server.url(endpoint=proxy.url)), tmp_path, cache_bytes=1 << 20)
    await store.open()
    go = asyncio.Event()

    async def hang(_: web.Request, passed: Pass) -> web.StreamResponse:
        await go.wait()
        return (await passed()).response()

    proxy.play(hang, lambda asked: asked.method == "PUT")
    monkeypatch.setattr(s3, "HEALTHY_WITHIN", 0.1)
    assert not await store.healthy()
    go.set()
    await store.close()
    assert "the object store cannot be used: no answer within 0.1 s" in caplog.text


def test_a_store_tells_how_it_is_before_nobody_waits_for_it_any_more() -> None:
    assert s3.HEALTHY_WITHIN < HEALTH_SECS
