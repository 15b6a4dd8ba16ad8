"""Algorithms in the embedded store: races, removals, what is fetched."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.algorithms import (
    ASSETS,
    MODULES,
    add_minor,
    asset_index,
    fetch_asset,
    fetch_module,
    index_key,
    list_entries,
    load_by_id,
    load_entry,
    module_hash,
    pack_index,
    remove,
)
from shared.objects.local import LocalObjectStore
from shared.versions import Content, Deploy
from voxloom.errors import NotAllowed, NotFound
from voxloom.manifest import Manifest
from voxloom.models import utc_now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    store = LocalObjectStore(tmp_path / "objects")
    await store.open()
    yield store
    await store.close()


def deploy(number: int, *, name: str = "denoise", major: str = "1", removable: bool = True) -> Deploy:
    """A deploy with content of its own."""
    return Deploy(
        deploy_id=f"deploy-{number}",
        project="default",
        manifest=Manifest(name=name, major=major, minor="0", removable=removable),
        content=Content(f"module-{number}", f"assets-{number}", module_bytes=1, asset_bytes=1, asset_count=1),
        time=utc_now(),
    )


async def test_first_deploys_at_the_same_time_give_one_id_and_a_minor_each(store: LocalObjectStore) -> None:
    deployed = await asyncio.gather(*(add_minor(store, deploy(number)) for number in range(8)))

    assert len({one.entry.algorithm_id for one in deployed}) == 1
    assert sorted(one.minor for one in deployed) == [str(number) for number in range(8)]


async def test_ids_that_lost_the_race_lead_nowhere(store: LocalObjectStore) -> None:
    await asyncio.gather(*(add_minor(store, deploy(number)) for number in range(8)))

    pointers = (await store.list("algorithm-store", prefix="ids/")).items

    assert len(pointers) == 1


async def test_a_deploy_that_comes_again_adds_nothing(store: LocalObjectStore) -> None:
    first = await add_minor(store, deploy(1))
    await add_minor(store, deploy(2))

    again = await add_minor(store, deploy(1))

    assert (again.minor, list(again.entry.minors)) == (first.minor, ["0", "1"])


async def test_an_entry_is_found_by_name_and_by_id(store: LocalObjectStore) -> None:
    entry = (await add_minor(store, deploy(1))).entry

    assert await load_entry(store, "default", "denoise", "1") == entry
    assert await load_by_id(store, entry.algorithm_id) == entry


@pytest.mark.parametrize(("name", "major"), [("Denoise", "1"), ("denoise", "2")])
async def test_the_name_counts_with_its_case_and_the_major_version(
    store: LocalObjectStore, name: str, major: str
) -> None:
    await add_minor(store, deploy(1))

    with pytest.raises(NotFound) as caught:
        await load_entry(store, "default", name, major)

    assert caught.value.code == "algorithm_not_found"


async def test_every_algorithm_is_listed(store: LocalObjectStore) -> None:
    for number, (name, major) in enumerate([("a", "1"), ("a", "2"), ("Ä", "1")]):
        await add_minor(store, deploy(number, name=name, major=major))

    assert {(entry.name, entry.major) async for entry in list_entries(store)} == {("a", "1"), ("a", "2"), ("Ä", "1")}


async def test_one_minor_can_be_removed(store: LocalObjectStore) -> None:
    await add_minor(store, deploy(1))
    entry = (await add_minor(store, deploy(2))).entry

    await remove(store, entry.algorithm_id, "0")

    assert list((await load_by_id(store, entry.algorithm_id)).minors) == ["1"]


async def test_the_last_minor_takes_the_algorithm_with_it(store: LocalObjectStore) -> None:
    entry = (await add_minor(store, deploy(1))).entry

    await remove(store, entry.algorithm_id, "0")

    with pytest.raises(NotFound):
        await load_by_id(store, entry.algorithm_id)
    assert [found async for found in list_entries(store)] == []


async def test_a_removed_algorithm_comes_back_with_a_new_id(store: LocalObjectStore) -> None:
    entry = (await add_minor(store, deploy(1))).entry
    await remove(store, entry.algorithm_id)

    again = (await add_minor(store, deploy(2))).entry

    assert again.algorithm_id != entry.algorithm_id
    assert await load_by_id(store, again.algorithm_id) == again


async def test_what_is_not_removable_stays_but_for_an_operator(store: LocalObjectStore) -> None:
    entry = (await add_minor(store, deploy(1, removable=False))).entry

    with pytest.raises(NotAllowed):
        await remove(store, entry.algorithm_id)

    await remove(store, entry.algorithm_id, regardless=True)
    with pytest.raises(NotFound):
        await load_by_id(store, entry.algorithm_id)


async def test_a_deploy_and_a_removal_of_the_last_minor_never_lose_the_deploy(store: LocalObjectStore) -> None:
    entry = (await add_minor(store, deploy(0))).entry

    for number in range(1, 20):
        entry = await load_by_id(store, entry.algorithm_id)
        added, _ = await asyncio.gather(
            add_minor(store, deploy(number)), remove(store, entry.algorithm_id, entry.latest.minor)
        )
        entry = await load_by_id(store, added.entry.algorithm_id)
        assert added.minor in entry.minors


def zipped(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return target.getvalue()


async def test_a_module_is_fetched_as_a_folder(store: LocalObjectStore, tmp_path: Path) -> None:
    await store.put(MODULES, "m", zipped({"Runner.py": "x = 1", "pkg/util.py": "y = 2"}))

    await asyncio.gather(*(fetch_module(store, "m", tmp_path / "module") for _ in range(4)))

    assert (tmp_path / "module/pkg/util.py").read_text() == "y = 2"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".module")] == []


async def test_a_module_that_is_not_there_leaves_nothing(store: LocalObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await fetch_module(store, "m", tmp_path / "module")

    assert [path.name for path in tmp_path.iterdir()] == ["objects"]


async def test_assets_are_fetched_by_their_content(store: LocalObjectStore, tmp_path: Path) -> None:
    name, index = pack_index({"files/weights.pt": "abc"})
    await store.put(ASSETS, index_key(name), index)
    await store.put(ASSETS, "abc", b"weights")

    contents = await asset_index(store, name)
    await fetch_asset(store, contents["files/weights.pt"], tmp_path / "asset")

    assert (tmp_path / "asset").read_bytes() == b"weights"


def test_names_of_contents_depend_on_paths_and_contents_alone() -> None:
    assert module_hash({"a": "1", "b": "2"}) == module_hash({"b": "2", "a": "1"})
    assert len({module_hash({"a": "1"}), module_hash({"a": "2"}), module_hash({"b": "1"})}) == 3
