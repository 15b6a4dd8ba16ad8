"""Ids of server-sent events tell whoever gets them nothing but where to resume."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.http import event_ids
from services.gateway.http.event_ids import EventIds, SealedEventIds
from shared.control.store import COLLECTION
from tests.unit.memory_platform import MemoryStore
from voxloom.errors import Misconfigured

KEY = b"k" * 32
SEALED = SealedEventIds(KEY)


@given(st.integers(0, 2**63))
def test_a_sealed_id_says_the_place_to_those_who_have_the_key(offset: int) -> None:
    assert SealedEventIds(KEY).read(SEALED.write(offset).decode()) == offset


@given(st.integers(0, 2**40))
def test_an_id_of_another_server_is_no_place_here(offset: int) -> None:
    assert SealedEventIds(b"o" * 32).read(SEALED.write(offset).decode()) != offset


def test_what_comes_next_cannot_be_told_from_an_id() -> None:
    # Ids of a thousand events in a row: half of their bits differ, as those of random numbers do
    ids = [int(SEALED.write(offset), 16) for offset in range(1000)]
    differ = [(one ^ other).bit_count() for one, other in pairwise(ids)]
    assert 31 < sum(differ) / len(differ) < 33


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
async def test_what_can_be_no_key_is_told_with_what_to_do(length: int) -> None:
    store = MemoryStore()
    await store.put(COLLECTION, event_ids.KEY, b"k" * length)
    with pytest.raises(Misconfigured, match=rf"'event-ids'.* {length} bytes in place of 32.*stop all gateways"):
        await event_ids.sealed_ids(store)


@pytest.mark.parametrize("length", [0, 31, 64])
async def test_a_gateway_that_has_the_store_alone_makes_another_key(length: int) -> None:
    store = MemoryStore()
    await store.put(COLLECTION, event_ids.KEY, b"k" * length)
    sealed = await event_ids.sealed_ids(store, alone=True)
    assert (await event_ids.sealed_ids(store)).write(17) == sealed.write(17)


@pytest.mark.parametrize("text", ["", "1", "17", "g" * 16, "0" * 15, "0" * 17, "A" * 16, "\u0660" * 16])
def test_what_is_no_sealed_id_is_no_place(text: str) -> None:
    assert SEALED.read(text) == 0


@pytest.mark.parametrize(("text", "offset"), [("17", 17), ("", 0), ("-1", 0), ("1" * 19, 0), ("a", 0), ("\u0661", 0)])
def test_open_servers_have_the_numbers_themselves(text: str, offset: int) -> None:
    assert EventIds().read(text) == offset
