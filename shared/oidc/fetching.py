"""Documents of an OpenID provider: by https, of bounded size, and from nobody that it is passed on to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from shared.oidc.addresses import is_safe
from voxloom.errors import Unavailable

ANSWER_SECS = 10.0
LARGEST = 1 << 18
DISCOVERY = "/.well-known/openid-configuration"


def unavailable(why: str) -> Unavailable:
    return Unavailable(f"The OpenID provider of this server {why}; try again later.", code="issuer_unavailable")


async def fetch_keys(issuer: str) -> bytes:
    """Raises Unavailable."""
    said = await _discover(issuer)
    place = said.get("jwks_uri")
    if not isinstance(place, str) or not is_safe(place):
        raise unavailable("does not say where its keys are")
    if urlsplit(issuer).scheme == "https" and urlsplit(place).scheme != "https":
        raise unavailable("says that its keys come without TLS")
    return await _fetch(place)


async def _discover(issuer: str) -> Mapping[str, Any]:
    try:
        said = json.loads(await _fetch(issuer.rstrip("/") + DISCOVERY))
    except (ValueError, RecursionError):
        raise unavailable("describes itself in what is no JSON") from None
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        raise unavailable("says that it is another one")
    return said


async def _fetch(url: str) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECS), httpx.AsyncClient(follow_redirects=False) as client:
            return await _read(client, url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise unavailable("does not answer") from error


async def _read(client: httpx.AsyncClient, url: str) -> bytes:
    found = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}) as one:
        if one.status_code != httpx.codes.OK:
            raise unavailable(f"answers {one.status_code}")
        async for piece in one.aiter_raw():
            found += piece
            if len(found) > LARGEST:
                raise unavailable("says too much")
    return bytes(found)
