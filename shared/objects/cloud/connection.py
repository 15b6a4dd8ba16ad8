"""The clients of one opening of the store, and how a call is made: in time, with errors told as ours."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.handlers import add_expect_header
from botocore.utils import calculate_md5

from shared.objects.cloud import descriptions
from shared.objects.cloud.errors import FAILURES, UNSURE_CODES, About, code_behind, is_away, told
from shared.objects.cloud.place import S3Place, Spot
from shared.outages import Outage
from voxloom.errors import Misconfigured, NotFound, StoreUnavailable, VoxloomError

ANSWER_WITHIN = 30.0
"""Seconds for a call that moves few bytes, with all its tries."""

ATTEMPTS = 4
_CONNECT_SECS = 5.0
_SMALL_SECS = 15.0
_BULK_SECS = 60.0
"""Of silence, after which an attempt has failed."""
_SMALL_AT_ONCE = 64
_BULK_AT_ONCE = 128

_SURE_SECS = 2.0
"""How long a bucket counts as there after it has answered."""
_SLOWEST = 128 * 1024
"""Bytes per second below which sending them counts as standing still."""

_WRITING = {"put_object", "create_multipart_upload"}

Answer = dict[str, Any]

log = logging.getLogger("voxloom.objects")


class Connection:
    """Two clients: one for short calls, and one whose connections may be busy for long with the bytes of objects, so
    that readers who take their time keep nobody from reading a record. Most services never need the second."""

    def __init__(self, place: S3Place, session: AioSession, credentials: Any, region: str) -> None:
        self.place = place
        self.session = session
        self.credentials = credentials
        self.region = region
        self._exits = AsyncExitStack()
        self._outage: Outage | None = None
        self._seen: dict[str, float] = {}
        self._small: Any = None
        self._bulk: Any = None
        self._making = asyncio.Lock()
        self.changing_rules = asyncio.Lock()

    @classmethod
    async def start(cls, place: S3Place) -> Connection:
        """Raises Misconfigured and StoreUnavailable. Asks nothing of the server yet."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await cls._start(place)
        except FAILURES as error:
            raise told(error, About(str(place))) from error

    @classmethod
    async def _start(cls, place: S3Place) -> Connection:
        session = get_session()
        descriptions.share(session)
        credentials = await session.get_credentials()
        if credentials is None:
            raise Misconfigured(
                f"There is no key for the object store at {place}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "a profile or a role."
            )
        region = place.region or session.get_config_variable("region") or "us-east-1"
        made = cls(place, session, credentials, region)
        try:
            made._small = await made._client(_SMALL_AT_ONCE, _SMALL_SECS)
        except BaseException:
            await made.close()
            raise
        return made

    def tell_outages(self) -> None:
        """From now on. Before, whoever opens the store tells why it cannot."""
        self._outage = Outage(
            log, "the object store cannot be used", "the object store can be used again", StoreUnavailable
        )

    def was_away(self, why: object) -> None:
        """A call was in vain."""
        if self._outage is not None:
            self._outage.failed(why)

    async def close(self) -> None:
        await self._exits.aclose()

    async def call(
        self, operation: str, spot: Spot, *, within: float = ANSWER_WITHIN, bulk: bool = False, **params: Any
    ) -> Answer:
        """Raises the port's errors; their `__cause__` is what the library raised."""
        try:
            async with asyncio.timeout(within):
                client = await self._for_bulk() if bulk else self._small
                answer: Answer = await getattr(client, operation)(**spot.params, **params)
        except FAILURES as error:
            telling = told(error, replace(self.about(spot), writing=operation in _WRITING))
            if is_away(error, telling):
                self.was_away(telling)
            await self._check_absence(operation, spot, telling)
            raise telling from error
        self._seen[spot.bucket] = time.monotonic()
        if self._outage is not None:
            self._outage.over()
        return answer

    async def _check_absence(self, operation: str, spot: Spot, telling: VoxloomError) -> None:
        """An answer without a body says "not found" of an object, and also when the bucket is gone or a proxy has lost
        its server. Raises StoreUnavailable then: an outage must not look like an object that nobody has written."""
        if not isinstance(telling, NotFound) or code_behind(telling) not in UNSURE_CODES:
            return
        if operation != "head_object":
            raise StoreUnavailable(f"The object store at {self.place} answered 404; is it the right server?")
        if time.monotonic() - self._seen.get(spot.bucket, -math.inf) > _SURE_SECS:
            await self.call("head_bucket", Spot(spot.bucket))

    def about(self, spot: Spot) -> About:
        return About(str(self.place), spot.collection, spot.key)

    async def _for_bulk(self) -> Any:
        async with self._making:
            if self._bulk is None:
                self._bulk = await self._client(_BULK_AT_ONCE, _BULK_SECS)
        return self._bulk

    async def _client(self, at_once: int, silence: float) -> Any:
        context = self.session.create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.place.endpoint,
            verify=_verify(self.place),
            config=_config(self.place, at_once, silence),
        )
        client = await self._exits.enter_async_context(context)
        events = client.meta.events
        # Waiting for "100 Continue" costs a round trip, and some servers never say it.
        events.unregister("before-call.s3", add_expect_header)
        events.register("needs-retry.s3.HeadBucket", _ask_once_for_its_region)
        for operation in ("DeleteObjects", "PutBucketLifecycleConfiguration"):
            events.register(f"before-call.s3.{operation}", _add_md5)
        return client


def _ask_once_for_its_region(request_dict: Answer, response: tuple[Any, Answer] | None, **_: Any) -> None:
    """Where a redirection does not say to which region, as those of proxies do, the library asks the bucket, asks it
    again because of that answer, and so on."""
    if response is not None and "x-amz-bucket-region" not in response[1]["ResponseMetadata"]["HTTPHeaders"]:
        request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True


def _verify(place: S3Place) -> bool | None:
    """As the environment says; without TLS there is nothing to verify, and to read all authorities takes a while."""
    return False if (place.endpoint or "").startswith("http://") else None


def body_of(data: bytes) -> io.BytesIO:
    """What aiohttp sends piece by piece, and the library can send again."""
    return io.BytesIO(data)


def time_for(size: int) -> float:
    """Seconds after which sending so many bytes has failed."""
    return ANSWER_WITHIN + size / _SLOWEST


def is_long(size: int) -> bool:
    """Whether so many bytes keep a connection busy."""
    return size > 1 << 20


def _config(place: S3Place, at_once: int, silence: float) -> AioConfig:
    s3: dict[str, Any] = {"payload_signing_enabled": not place.unsigned}
    if place.addressing is not None:
        s3["addressing_style"] = place.addressing
    return AioConfig(
        signature_version="s3v4",
        s3=s3,
        # Servers that do not know the newer checksums refuse what has them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=at_once,
        connect_timeout=_CONNECT_SECS,
        read_timeout=silence,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        user_agent_extra="voxloom",
    )


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """Older servers insist on it where the library sends a newer checksum."""
    params["headers"]["Content-MD5"] = calculate_md5(params["body"])
