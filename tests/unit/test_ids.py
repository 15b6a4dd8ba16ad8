"""Identifiers: version-1 shape, unique in threads and across forks, telling their age."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from voxloom.ids import age_of, is_id, new_id


def test_an_id_has_the_shape_of_version_1_and_no_network_card() -> None:
    parsed = uuid.UUID(new_id())
    assert (parsed.version, parsed.variant) == (1, uuid.RFC_4122)
    assert parsed.node >> 40 & 1


def test_ids_of_many_threads_all_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        rows = pool.map(lambda _: [new_id() for _ in range(2500)], range(8))
        ids = [one for row in rows for one in row]
    assert len(set(ids)) == len(ids) == 20_000


def test_a_forked_child_draws_other_numbers() -> None:
    # Given numbers drawn ahead
    new_id()
    read, write = os.pipe()
    # When the process forks
    if os.fork() == 0:
        os.write(write, new_id().encode())
        os._exit(0)
    os.wait()
    theirs = os.read(read, 100).decode()
    os.close(read)
    os.close(write)
    # Then parent and child do not go on alike: clock and node bits differ
    assert theirs.split("-", 3)[3] != new_id().split("-", 3)[3]


def test_an_id_tells_its_age() -> None:
    made = new_id()
    age = age_of(made, now=time.time() + 10)
    assert age is not None
    assert 9.9 < age < 11


@pytest.mark.parametrize("text", ["", "nonsense", "../etc", "00000000-0000-4000-8000-000000000000x"])
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert not is_id(text)
    assert age_of(text) is None
