"""What has to be true of a store before anybody relies on it: the buckets are ours, and conditions are kept."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from shared.objects.base import EXPIRING
from shared.objects.cloud.clocks import check_clocks
from shared.objects.cloud.connection import Answer, Connection, body_of
from shared.objects.cloud.errors import code_behind, header_of
from shared.objects.cloud.object_info import quoted
from shared.objects.cloud.place import S3Place, Spot
from shared.objects.cloud.task_group import crew
from voxloom.errors import Conflict, Misconfigured, NotFound, StoreUnavailable, VoxloomError

_TRIES = 5
_FORBIDDEN = {"403", "AccessDenied", "Forbidden"}
_REFUSED = {"400", "401", *_FORBIDDEN}
_UNKNOWN = {"501", "NotImplemented"}
_MISSING = {"404", "NoSuchBucket", "NotFound"}
_WRONG_ETAG = "0" * 32


async def prepare(connection: Connection) -> None:
    """Raises Misconfigured and StoreUnavailable."""
    async with crew("objects.bucket", len(connection.place.buckets)) as makers:
        for bucket in connection.place.buckets:
            await makers.start(_prepare, connection, bucket)
    await _probe(connection)


async def _prepare(connection: Connection, bucket: str) -> None:
    if not await _is_there(connection, bucket):
        await _make(connection, bucket)
        await _touch(connection, bucket)


async def _make(connection: Connection, bucket: str) -> None:
    for _ in range(_TRIES):
        if await _is_made(connection, bucket) or await _is_there(connection, bucket):
            return
        await asyncio.sleep(0.2)  # Somebody else is making it this very moment.
    raise Misconfigured(f"The bucket {bucket!r} can be neither used nor made; choose another name in `store`.")


async def _touch(connection: Connection, bucket: str) -> None:
    """Where several make a bucket at the same moment, SeaweedFS may remember for a quarter of an hour that it is
    missing, and refuse to keep rules for it. An upload that begins makes it look again; nobody sees it."""
    spot = Spot(bucket, f"{connection.place.probe.s3_key}{secrets.token_hex(8)}", key="probe")
    upload = await connection.call("create_multipart_upload", spot)
    with suppress(VoxloomError):  # What is unfinished goes with its time.
        await connection.call("abort_multipart_upload", spot, UploadId=upload["UploadId"])


async def _is_there(connection: Connection, bucket: str) -> bool:
    try:
        await connection.call("head_bucket", Spot(bucket))
    except VoxloomError as error:
        code = code_behind(error)
        if code in _MISSING:
            return False
        if code not in _REFUSED:
            raise
        await _tell_why_refused(connection, bucket)
    return True


async def _tell_why_refused(connection: Connection, bucket: str) -> None:
    """An answer to HEAD has no body: whether it is the key, the clock or the bucket, only another question tells."""
    try:
        await connection.call("list_objects_v2", Spot(bucket), MaxKeys=1)
    except VoxloomError as error:
        if code_behind(error) not in _FORBIDDEN:
            raise
        raise Misconfigured(
            f"The bucket {bucket!r} at {connection.place} is not ours to use: it belongs to somebody else, or the "
            "key may not look it up. Choose another name in `store`, or give the key the right to."
        ) from error


async def _is_made(connection: Connection, bucket: str) -> bool:
    """False: it was made meanwhile, by us or by somebody else."""
    try:
        await connection.call("create_bucket", Spot(bucket), **_location(connection.region))
    except VoxloomError as error:
        code = code_behind(error)
        if code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"):
            return False
        if code in _MISSING and await _is_there(connection, bucket):
            return True
        if code in _MISSING:
            raise StoreUnavailable(
                f"What answers at {connection.place} is no object store, or a proxy that has lost it; see whether it "
                "runs, and whether `endpoint` in `store` is right."
            ) from error
        if code == "AccessDenied":
            raise Misconfigured(
                f"There is no bucket {bucket!r} at {connection.place}, and the key may not make it; make it, or give "
                "the key the right to."
            ) from error
        raise
    return True


def _location(region: str) -> dict[str, Any]:
    """AWS refuses the name of its oldest region here, and wants that of any other."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


async def _probe(connection: Connection) -> None:
    """Some servers take conditional writes and do not look at the condition."""
    folder = connection.place.probe
    spot = folder._replace(s3_key=f"{folder.s3_key}{secrets.token_hex(8)}", key="probe")
    try:
        await _try_out(connection, spot)
    except VoxloomError:
        with suppress(VoxloomError):  # What was found wrong first is what to tell; the probe goes with its time.
            await connection.call("delete_object", spot)
        raise
    await connection.call("delete_object", spot)


async def _try_out(connection: Connection, spot: Spot) -> None:
    answer = await _put(connection, spot, IfNoneMatch="*")
    check_clocks(header_of(answer, "date"), datetime.now(UTC), str(connection.place))
    await _expect_refusal(connection, spot, "If-None-Match", IfNoneMatch="*")
    await _expect_refusal(connection, spot, "If-Match", IfMatch=quoted(_WRONG_ETAG))


async def _expect_refusal(connection: Connection, spot: Spot, header: str, **condition: Any) -> None:
    try:
        answer = await _put(connection, spot, **condition)
    except (Conflict, NotFound):
        return
    except VoxloomError as error:
        cause = error.__cause__
        if code_behind(error) not in _UNKNOWN or not isinstance(cause, ClientError):
            raise
        answer = cause.response
    raise _careless(connection.place, header_of(answer, "server"), header)


def _careless(place: S3Place, server: str, header: str) -> Misconfigured:
    return Misconfigured(
        f"The object store at {place} ({server or 'it does not tell its name'}) ignores the conditions of writes "
        f"({header}), so that two services could overwrite each other's records; use a server that keeps them."
    )


async def _put(connection: Connection, spot: Spot, **condition: Any) -> Answer:
    tags = "&".join(f"{name}={value}" for name, value in EXPIRING.items())
    return await connection.call("put_object", spot, Body=body_of(b"probe"), Tagging=tags, **condition)
