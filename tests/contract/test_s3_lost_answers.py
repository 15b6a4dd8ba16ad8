"""Writes whose answer was lost: the second try is refused because of the first, and one's own is told from others'."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from aiohttp import web

from shared.objects.base import ABSENT, ANYWAY, CHUNK, Condition
from shared.objects.cloud.parts import PART
from shared.objects.s3 import S3ObjectStore
from tests.contract.object_store_behaviour import DATA, pieces
from tests.contract.s3_lossy import HOW_LOST
from tests.contract.s3_lossy import name as name
from tests.contract.s3_lossy import others as others
from tests.contract.s3_lossy import store as store
from tests.contract.s3_process import KEY, S3_KEY
from tests.contract.s3_proxy import Asked, Pass, Proxy, Trick, completions, fail, puts, refuses
from voxloom.errors import Conflict

pytestmark = pytest.mark.usefixtures("s3_keys")

SIZES = pytest.mark.parametrize("size", [10, PART + 1], ids=["whole", "in parts"])


@HOW_LOST
@SIZES
@pytest.mark.parametrize("replacing", [False, True], ids=["new", "replacing"])
async def test_a_write_whose_answer_was_lost_is_known_again(
    store: S3ObjectStore, s3_proxy: Proxy, how: Trick, size: int, replacing: bool
) -> None:
    condition = Condition(etag=(await store.put(DATA, KEY, b"before")).etag) if replacing else ABSENT
    data = os.urandom(size)
    before = s3_proxy.count(ends)
    s3_proxy.play(how, ends)
    info = await store.put_stream(DATA, KEY, pieces(data, CHUNK), condition=condition, metadata={"a": "b"})
    head = await store.head(DATA, KEY)
    assert (info.size, info.etag, info.metadata) == (size, head.etag, {"a": "b"})
    assert (await store.get(DATA, KEY) == data, s3_proxy.count(ends) - before) == (True, 2)


@HOW_LOST
async def test_an_upload_without_a_condition_is_known_again_too(
    store: S3ObjectStore, s3_proxy: Proxy, how: Trick
) -> None:
    data = os.urandom(PART + 1)
    s3_proxy.play(how, completions)
    info = await store.put_stream(DATA, KEY, pieces(data, CHUNK), condition=ANYWAY)
    assert (await store.get(DATA, KEY) == data, info.size) == (True, len(data))


@pytest.mark.parametrize("condition", [ABSENT, ANYWAY], ids=["absent", "anyway"])
@pytest.mark.parametrize("refusal", [(412, "PreconditionFailed"), (404, "NoSuchUpload")], ids=lambda told: told[1])
async def test_an_upload_is_known_again_whatever_the_second_answer(
    store: S3ObjectStore, s3_proxy: Proxy, refusal: tuple[int, str], condition: Condition
) -> None:
    """Servers differ in what they say of an upload that is over."""
    data = os.urandom(PART + 1)
    s3_proxy.play(fail, completions)
    s3_proxy.play(refuses(*refusal), completions)
    info = await store.put_stream(DATA, KEY, pieces(data, CHUNK), condition=condition)
    head = await store.head(DATA, KEY)
    assert info == replace(head, digest=await store.digest(DATA, head))
    assert await store.get(DATA, KEY) == data


@pytest.mark.parametrize(
    ("replacing", "size"),
    # This server does not look at etags where parts are joined.
    [(False, 10), (False, PART + 1), (True, 10)],
    ids=["new, whole", "new, in parts", "replacing, whole"],
)
async def test_the_same_refusal_is_a_conflict_when_somebody_else_was_first(
    store: S3ObjectStore, others: S3ObjectStore, s3_proxy: Proxy, replacing: bool, size: int
) -> None:
    """The first try never arrives, and somebody else writes the very same bytes before the second."""
    condition = Condition(etag=(await store.put(DATA, KEY, b"before")).etag) if replacing else ABSENT
    data = os.urandom(size)

    async def overtaken(_: web.Request, __: Pass) -> web.StreamResponse:
        await others.put_stream(DATA, KEY, pieces(data, CHUNK), condition=condition, metadata={"whose": "theirs"})
        return web.Response(status=500)

    s3_proxy.play(overtaken, ends)
    with pytest.raises(Conflict) as refusal:
        await store.put_stream(DATA, KEY, pieces(data, CHUNK), condition=condition)
    assert refusal.value.code == "precondition_failed"
    assert (await store.head(DATA, KEY)).metadata == {"whose": "theirs"}


def ends(asked: Asked) -> bool:
    """What makes an object of bytes: in one request, or as the last one of many."""
    return puts(S3_KEY)(asked) or completions(asked)
