"""URLs that S3 itself answers, under the address that people reach it by."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import botocore.session
from botocore.config import Config

from shared.objects.cloud import descriptions
from shared.objects.cloud.connection import ANSWER_WITHIN, Connection
from shared.objects.cloud.errors import FAILURES, About, told
from shared.objects.cloud.place import S3Place, Spot
from voxloom.errors import InvalidInput

_OPERATIONS = {"GET": "get_object", "PUT": "put_object"}


class Presigner:
    """A client that never sends anything, made when it is first needed. Keys that come from a role change by and by, so
    each URL is signed with those of the moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._making = asyncio.Lock()
        self._made: tuple[Any, Any] | None = None

    async def sign(self, method: Literal["GET", "PUT"], spot: Spot, expires: float) -> str:
        """Raises InvalidInput for the two keys no URL can carry, StoreUnavailable and Misconfigured."""
        if spot.s3_key in (".", ".."):
            raise InvalidInput(f"A URL cannot carry the key {spot.key!r}; use another one.")
        client, keys = await self._open()
        now = await self._keys()
        keys.access_key, keys.secret_key, keys.token = now.access_key, now.secret_key, now.token
        operation = _OPERATIONS[method]
        url = client.generate_presigned_url(operation, Params=spot.params, ExpiresIn=max(1, round(expires)))
        return _untidied(url, spot.s3_key)

    async def _open(self) -> tuple[Any, Any]:
        """The client, and the keys that it looks at whenever it signs."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(_make, self._connection.place, self._connection.region)
        return self._made

    async def _keys(self) -> Any:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._connection.credentials.get_frozen_credentials()
        except FAILURES as error:
            raise told(error, About(str(self._connection.place))) from error


def _make(place: S3Place, region: str) -> tuple[Any, Any]:
    session = botocore.session.get_session()
    descriptions.share(session)
    session.set_credentials("", "")
    return _client(session, place, region), session.get_credentials()


def _client(session: Any, place: S3Place, region: str) -> Any:
    s3 = {} if place.addressing is None else {"addressing_style": place.addressing}
    config = Config(
        signature_version="s3v4", s3=s3, request_checksum_calculation="when_required", user_agent_extra="voxloom"
    )
    endpoint = place.public_endpoint or place.endpoint
    return session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)


def _untidied(url: str, key: str) -> str:
    """Slashes of the key are written as %2F where clients and proxies would tidy the path up; servers sign what the
    path means, and that stays the same."""
    segments = key.split("/")
    if all(segment not in ("", ".", "..") for segment in segments):
        return url
    parts = urlsplit(url)
    slashes = len(segments) - 1
    pieces = parts.path.rsplit("/", slashes)
    return urlunsplit(parts._replace(path="%2F".join(pieces)))
