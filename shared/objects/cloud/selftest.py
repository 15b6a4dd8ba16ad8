"""Whether the URLs that people get from here work: presigned, under the public endpoint, tried out."""

from __future__ import annotations

import asyncio
import secrets

import aiohttp
from yarl import URL

from shared.objects.base import EXPIRING
from shared.objects.cloud.connection import body_of
from shared.objects.cloud.engine import Engine
from shared.objects.cloud.place import Spot
from voxloom.errors import Misconfigured

WITHIN = 20.0
_EXPIRES = 60.0
_DATA = b"voxloom"


async def run(engine: Engine) -> None:
    """Raises Misconfigured, and StoreUnavailable where the store itself does not answer."""
    folder = engine.connection.place.probe
    spot = folder._replace(s3_key=f"{folder.s3_key}{secrets.token_hex(8)}", key="self-test")
    tags = "&".join(f"{name}={value}" for name, value in EXPIRING.items())
    await engine.connection.call("put_object", spot, Body=body_of(b"to be replaced"), Tagging=tags)
    try:
        await _try(engine, spot)
    finally:
        await engine.connection.call("delete_object", spot)


async def _try(engine: Engine, spot: Spot) -> None:
    place = engine.connection.place
    where = place.public_endpoint or str(place)
    try:
        async with asyncio.timeout(WITHIN), aiohttp.ClientSession() as session:
            await _put(session, where, await engine.presigner.sign("PUT", spot, _EXPIRES))
            await _get(session, where, await engine.presigner.sign("GET", spot, _EXPIRES))
    except aiohttp.ClientSSLError as error:
        raise _wrong(where, "its certificate or TLS is not as it should be") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _wrong(where, f"it does not answer ({type(error).__name__})") from error


async def _put(session: aiohttp.ClientSession, where: str, url: str) -> None:
    async with session.put(URL(url, encoded=True), data=_DATA, skip_auto_headers=["Content-Type"]) as answer:
        await _check(answer, where)


async def _get(session: aiohttp.ClientSession, where: str, url: str) -> None:
    async with session.get(URL(url, encoded=True)) as answer:
        await _check(answer, where)
        if await answer.read() != _DATA:
            raise _wrong(where, "it gave other bytes than were put: it may be another server than the one we use")


async def _check(answer: aiohttp.ClientResponse, where: str) -> None:
    if answer.status == 200:
        return
    text = await answer.text(errors="replace")
    if "SignatureDoesNotMatch" in text:
        raise _wrong(where, "it finds the signature wrong: a proxy in between may change the host or the path")
    if "InvalidAccessKeyId" in text or "NoSuchBucket" in text:
        raise _wrong(where, "it does not know our key or bucket: it may be another server than the one we use")
    raise _wrong(where, f"it answered {answer.status}")


def _wrong(where: str, why: str) -> Misconfigured:
    return Misconfigured(
        f"Presigned URLs do not work under {where}: {why}. Set `public_endpoint` in `store` to the address under which "
        "people reach the object store."
    )
