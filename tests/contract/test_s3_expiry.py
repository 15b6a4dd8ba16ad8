"""Rules by which a bucket's expiring objects go: ours are set once, and others' stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from shared.objects.base import EXPIRING, FileUpload, Upload
from shared.objects.cloud.parts import PART
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import DATA, RECORDS, pieces
from tests.contract.s3_proxy import Proxy
from tests.s3server import S3Server, new_name
from tests.s3sessions import described

pytestmark = pytest.mark.usefixtures("s3_keys")

THEIRS = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 3},
}
LAYOUTS = pytest.mark.parametrize("layout", ["buckets", "bucket"], indirect=True)


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "bucket"))


@pytest.fixture
def place(s3_server: S3Server, s3_proxy: Proxy, layout: str) -> S3Place:
    name = new_name() if layout == "buckets" else f"{new_name()}all/folder"
    return S3Place.from_url(s3_server.url(f"layout={layout}", endpoint=s3_proxy.url, name=name))


@pytest.fixture
async def store(place: S3Place, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(place, tmp_path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def client(s3_server: S3Server) -> AsyncIterator[Any]:
    async with described(get_session()).create_client(
        "s3", region_name="us-east-1", endpoint_url=s3_server.endpoint
    ) as client:
        yield client


@LAYOUTS
async def test_an_expiry_is_replaced_and_not_doubled(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    for days in (30, 30, 7):
        await store.set_expiry(DATA, days)
    assert days_of(await rules(client, place)) == {f"voxloom-expiry-{place.prefix(DATA) or DATA}": 7}


@LAYOUTS
async def test_an_expiry_is_taken_back(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    await store.set_expiry(DATA, 30)
    await store.set_expiry(DATA, None)
    assert days_of(await rules(client, place)) == {}


@LAYOUTS
async def test_only_expiring_objects_of_the_collection_go(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    await store.set_expiry(DATA, 30)
    (rule,) = [rule for rule in await rules(client, place) if "Expiration" in rule]
    tag = {"Key": "expiring", "Value": "yes"}
    prefix = place.prefix(DATA)
    assert rule["Filter"] == ({"And": {"Prefix": prefix, "Tags": [tag]}} if prefix else {"Tag": tag})


@LAYOUTS
async def test_what_a_crash_leaves_of_an_upload_goes_once(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    for days in (30, None, 7):
        await store.set_expiry(DATA, days)
    unfinished = [rule for rule in await rules(client, place) if "AbortIncompleteMultipartUpload" in rule]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in unfinished] == [{"DaysAfterInitiation": 7}]


@pytest.mark.parametrize(("days", "whole"), [(0, 1), (0.1, 1), (1, 1), (1.5, 2), (365, 365)])
async def test_days_are_whole_ones(store: S3ObjectStore, client: Any, place: S3Place, days: float, whole: int) -> None:
    await store.set_expiry(DATA, days)
    assert list(days_of(await rules(client, place)).values()) == [whole]


async def test_rules_of_others_stay(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    lifecycle = {"Rules": [THEIRS]}
    await client.put_bucket_lifecycle_configuration(Bucket=place.bucket(DATA), LifecycleConfiguration=lifecycle)
    await store.set_expiry(DATA, 30)
    await store.set_expiry(DATA, None)
    assert days_of(await rules(client, place)) == {"theirs": 3}


async def test_collections_in_one_bucket_have_their_own(store: S3ObjectStore, client: Any, place: S3Place) -> None:
    await asyncio.gather(store.set_expiry(DATA, 30), store.set_expiry(RECORDS, 90))
    await store.set_expiry(DATA, 7)
    days = {f"voxloom-expiry-folder/{DATA}/": 7, f"voxloom-expiry-folder/{RECORDS}/": 90}
    assert days_of(await rules(client, place)) == days


async def test_rules_that_are_so_already_are_not_written(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    for _ in range(3):
        await store.set_expiry(DATA, 30)
    assert s3_proxy.count(lambda asked: asked.method == "PUT" and "lifecycle" in asked.query) == 1


async def test_expiring_objects_bear_the_tag_however_they_come(
    store: S3ObjectStore, client: Any, place: S3Place
) -> None:
    (store.scratch / "file").write_bytes(b"bytes")
    await store.put(DATA, "put", b"bytes", tags=EXPIRING)
    await store.put_stream(DATA, "parts", pieces(bytes(PART + 1), 1 << 20), tags=EXPIRING)
    await store.put_many(DATA, [Upload("many", b"bytes", tags=EXPIRING)])
    await store.put_files(DATA, [FileUpload("file", store.scratch / "file", tags=EXPIRING)])
    await store.put(DATA, "later", b"bytes")
    await store.set_tags(DATA, "later", EXPIRING)
    names = ["put", "parts", "many", "file", "later"]
    # Objects in parts have their digest in another tag.
    assert [(await tags(client, place, name))["expiring"] for name in names] == ["yes"] * len(names)


async def rules(client: Any, place: S3Place) -> list[dict[str, Any]]:
    answer = await client.get_bucket_lifecycle_configuration(Bucket=place.bucket(DATA))
    found: list[dict[str, Any]] = answer["Rules"]
    return found


def days_of(rules: list[dict[str, Any]]) -> dict[str, int]:
    """Of rules that let objects expire."""
    found = [(rule["ID"], rule["Expiration"]["Days"]) for rule in rules if "Expiration" in rule]
    assert len(found) == len(dict(found)), "a rule is there twice"
    return dict(found)


async def tags(client: Any, place: S3Place, key: str) -> dict[str, str]:
    answer = await client.get_object_tagging(**place.spot(DATA, key).params)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
