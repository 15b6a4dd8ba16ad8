"""Items of sessions in the store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from services.worker import session_items
from services.worker.session_items import SessionItems
from shared.objects.base import EXPIRING
from shared.records.store import COLLECTION
from tests.contract.test_worker_data import Node
from tests.contract.test_worker_data import node as node
from voxloom.errors import InvalidInput
from voxloom.models import utc_now


@pytest.fixture
def items(node: Node, tmp_path: Path) -> SessionItems:
    return SessionItems(node.store, "default", "token", tmp_path)


def file(folder: Path, content: bytes) -> str:
    path = folder / f"item-{content.hex()}"
    path.write_bytes(content)
    return str(path)


async def test_what_is_stored_is_listed_and_fetched(items: SessionItems, tmp_path: Path) -> None:
    names = await items.store({"../a": file(tmp_path, b"1"), "b": file(tmp_path, b"2")}, [])
    assert await items.index() == names
    fetched = await items.fetch("../a")
    assert (fetched and fetched.read_bytes(), await items.fetch("c")) == (b"1", None)


async def test_what_was_replaced_or_removed_leaves_nothing(items: SessionItems, tmp_path: Path, node: Node) -> None:
    await items.store({"a": file(tmp_path, b"1"), "b": file(tmp_path, b"2")}, [])
    await items.store({"a": file(tmp_path, b"3")}, ["b"])
    kept = [item.key for item in (await node.store.list(COLLECTION, prefix="sessions/")).items]
    assert (len(kept), list(await items.index())) == (2, ["a"])
    assert await node.store.tags(COLLECTION, kept[0]) == EXPIRING


async def test_other_tokens_and_projects_have_their_own(items: SessionItems, tmp_path: Path, node: Node) -> None:
    await items.store({"a": file(tmp_path, b"1")}, [])
    for project, token in (("default", "other"), ("other", "token")):
        assert await SessionItems(node.store, project, token, tmp_path).index() == {}


async def test_a_session_that_was_not_used_for_a_day_is_empty(
    items: SessionItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await items.store({"a": file(tmp_path, b"1")}, [])
    later = utc_now() + timedelta(hours=25)
    monkeypatch.setattr(session_items, "utc_now", lambda: later)
    assert (await items.index(), await items.fetch("a")) == ({}, None)


async def test_only_plain_files_of_the_run_are_taken(items: SessionItems, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    for place in ("/etc/passwd", str(tmp_path / "link"), str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(InvalidInput):
            await items.store({"a": place}, [])


async def test_runs_that_end_at_once_do_not_lose_each_others_items(node: Node, tmp_path: Path) -> None:
    names = [f"item {number}" for number in range(8)]
    ends = [SessionItems(node.store, "default", "token", tmp_path) for _ in names]
    await asyncio.gather(
        *(end.store({name: file(tmp_path, name.encode())}, []) for end, name in zip(ends, names, strict=True))
    )
    assert sorted(await ends[0].index()) == names


async def test_what_another_run_stores_after_the_index_was_read_is_kept(
    node: Node, items: SessionItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that is faster, once, just when this one has read what there is
    read, faster = items.index, [SessionItems(node.store, "default", "token", tmp_path)]

    async def read_too_early() -> dict[str, str]:
        found = await read()
        if faster:
            await faster.pop().store({"theirs": file(tmp_path, b"1")}, [])
        return found

    monkeypatch.setattr(items, "index", read_too_early)
    # When this one stores its own, then both are there
    await items.store({"ours": file(tmp_path, b"2")}, [])
    assert sorted(await read()) == ["ours", "theirs"]
