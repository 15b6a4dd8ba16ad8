"""The S3 object store: what every store does, and what only this one promises.

To open a store makes buckets and tries them out; so that is done once per class, and between tests they are emptied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from shared.objects.base import ObjectStore, Upload
from shared.objects.cloud.connection import body_of
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import (
    DATA,
    RECORDS,
    AnyKeyBehaviour,
    ConditionBehaviour,
    CrowdBehaviour,
    DigestBehaviour,
    Footing,
    KeyBehaviour,
    ListingBehaviour,
    ObjectStoreBehaviour,
    flipped,
    keys,
)
from tests.s3server import KEYS, S3Address, new_name


class S3Footing(Footing):
    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.store: S3ObjectStore = self.new_store()

    def new_store(self) -> S3ObjectStore:
        return S3ObjectStore(S3Place.from_url(self.url), self.folder)

    async def reopen(self) -> S3ObjectStore:
        await self.store.close()
        self.store = self.new_store()
        await self.store.open()
        return self.store

    async def damage(self, collection: str, key: str) -> None:
        connection, spot = self.store._now().connection, self.store._spot(collection, key)
        data, head = await self.store.get(collection, key), await connection.call("head_object", spot)
        await connection.call("put_object", spot, Body=body_of(flipped(data)), Metadata=head["Metadata"])


@pytest.fixture(scope="class")
def access() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> S3Address:
    found: S3Address = request.getfixturevalue(request.cls.server)
    return found


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def opened(
    request: pytest.FixtureRequest, access: None, server: S3Address, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[S3Footing, str]]:
    name, kind = new_name(), request.cls
    footing = S3Footing(server.url(*kind.options, name=name + kind.path), tmp_path_factory.mktemp("store"))
    await footing.store.open()
    yield footing, name
    await footing.store.close()


@pytest.fixture
def footing(request: pytest.FixtureRequest, opened: tuple[S3Footing, str], server: S3Address) -> Iterator[S3Footing]:
    footing, name = opened
    yield footing
    for collection in request.cls.used:
        server.empty(name + collection)


class _Kind:
    """All collections are kept in one way, and what is done with many is the port's."""

    server: ClassVar[str] = "living_store"
    collections: ClassVar[tuple[str, ...]] = (DATA,)
    ways: ClassVar[dict[str, bool]] = {"the port's way": True}
    crowd: ClassVar[int] = 150
    """There is a request for each, some at a time, whatever their number."""


class InBuckets(_Kind):
    """Every collection is a bucket."""

    options: ClassVar[tuple[str, ...]] = ()
    path: ClassVar[str] = ""
    used: ClassVar[tuple[str, ...]] = (DATA, RECORDS)


class InOneFolder(_Kind):
    """Every collection is a folder, and all of them are in a folder of somebody's bucket."""

    options: ClassVar[tuple[str, ...]] = ("layout=bucket",)
    path: ClassVar[str] = "all/a/folder"
    used: ClassVar[tuple[str, ...]] = ("",)


@pytest.mark.asyncio(loop_scope="class")
class TestS3ObjectStore(InBuckets, ObjectStoreBehaviour, CrowdBehaviour, DigestBehaviour):
    """All there is, on a server as others have them."""

    @pytest.mark.parametrize("key", ["..", "a/../b"])
    async def test_what_the_server_does_not_take_for_a_key_is_refused_and_not_found(
        self, store: ObjectStore, key: str
    ) -> None:
        asked = [store.put(DATA, key, b""), store.get(DATA, key), store.head(DATA, key), store.tags(DATA, key)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["invalid_input"] + 3 * [
            "object_not_found"
        ]

    @pytest.mark.parametrize("others", [[], ["a", "b"]], ids=["alone", "with others"])
    async def test_what_the_server_does_not_take_for_a_key_is_deleted_silently(
        self, store: ObjectStore, others: list[str]
    ) -> None:
        await store.put_many(DATA, [Upload(key, b"") for key in others])
        await store.delete(DATA, "..", *others)
        assert await keys(store, DATA) == []


@pytest.mark.asyncio(loop_scope="class")
class TestS3ObjectStoreInOneBucket(InOneFolder, KeyBehaviour, ListingBehaviour):
    """What the layout can change: names, and what is listed."""


@pytest.mark.asyncio(loop_scope="class")
class TestAnyKeyOnS3(InBuckets, AnyKeyBehaviour):
    """What the living server cannot do."""

    server: ClassVar[str] = "s3_server"


@pytest.mark.asyncio(loop_scope="class")
class TestAnyKeyOnS3InOneBucket(InOneFolder, AnyKeyBehaviour, ConditionBehaviour):
    """And that the server of the tests of faults keeps conditions, on which those stand."""

    server: ClassVar[str] = "s3_server"
