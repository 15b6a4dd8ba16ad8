"""Which files there are: the list and one of it, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from messages.files import FileDeleteRequested
from services.gateway.views import files
from shared.files import COLLECTION, bytes_key, post
from shared.objects.base import EXPIRING
from tests.contract.gateway_world import HDF5, World, world_at
from tests.contract.gateway_world import client as client

Client = httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path, answer_timeout=5.0) as world:
        yield world


async def upload(client: Client, size: int = 0) -> str:
    answer = await client.post("/api/v0/files", content=HDF5 + bytes(size))
    return str(answer.raise_for_status().json()["file_id"])


async def listed(client: Client, **query: Any) -> list[str]:
    answer = await client.get("/api/v1/files", params=query)
    return [item["file_id"] for item in answer.raise_for_status().json()]


async def run_with_output(client: Client, world: World, file_id: str) -> str:
    """A run that has written one file and goes on."""
    body = {"algorithm_id": await world.deploy(), "input_dataset_ids": []}
    run = str((await client.post("/api/v0/execute-algorithm", json=body)).json()["execution_id"])
    await world.start(run)
    path = world.store.scratch / file_id
    await asyncio.to_thread(path.write_bytes, HDF5)
    await post(world.store, project="default", run=run, attempt=1, number=1, files=[(file_id, path)])
    return run


class TestLists:
    async def test_where_there_is_no_file_the_list_is_empty(self, client: Client) -> None:
        assert (await client.get("/api/v1/files")).json() == []

    async def test_what_was_uploaded_is_listed_at_once_and_what_was_deleted_is_not(self, client: Client) -> None:
        first, second = await upload(client), await upload(client)
        assert set(await listed(client)) == {first, second}
        third = await upload(client)
        await client.delete(f"/api/v0/files/{first}")
        assert set(await listed(client)) == {second, third}

    async def test_pages_add_up_and_none_is_shown_twice(self, client: Client) -> None:
        made = [await upload(client) for _ in range(5)]
        found, address = [], "/api/v1/files?limit=2"
        while address:
            page = await client.get(address)
            found += [item["file_id"] for item in page.json()]
            address = page.links["next"]["url"] if "next" in page.links else ""
        assert sorted(found) == sorted(made)

    async def test_a_cursor_is_good_when_its_file_is_gone(self, client: Client) -> None:
        for _ in range(3):
            await upload(client)
        whole = await listed(client)
        page = await client.get("/api/v1/files", params={"limit": 2})
        await client.delete(f"/api/v0/files/{whole[1]}")
        assert [item["file_id"] for item in (await client.get(page.links["next"]["url"])).json()] == whole[2:]

    async def test_sorted_by_size_the_largest_comes_first(self, client: Client) -> None:
        made = [await upload(client, size) for size in (0, 20, 10)]
        assert await listed(client, sort="largest") == [made[1], made[2], made[0]]
        assert await listed(client, sort="smallest") == [made[0], made[2], made[1]]

    @pytest.mark.parametrize("cursor", ["x", "AAAA", "💥", "a" * 5000])
    async def test_a_made_up_cursor_is_422(self, client: Client, cursor: str) -> None:
        answer = await client.get("/api/v1/files", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "request_validation_error")

    async def test_the_cursor_of_another_sort_is_422(self, client: Client) -> None:
        for _ in range(2):
            await upload(client)
        page = await client.get("/api/v1/files", params={"limit": 1})
        answer = await client.get(page.links["next"]["url"] + "&sort=largest")
        assert answer.status_code == 422

    @pytest.mark.parametrize("query", ["sort=by-mood", "limit=0", "kind=x", "since=yesterday", "limit=1001"])
    async def test_a_query_that_means_nothing_is_422(self, client: Client, query: str) -> None:
        assert (await client.get(f"/api/v1/files?{query}")).status_code == 422

    async def test_a_run_s_files_are_listed_once_it_has_completed(self, client: Client, world: World) -> None:
        own = await upload(client)
        run = await run_with_output(client, world, "made-by-run")
        assert await listed(client) == [own]
        await world.complete(run, outputs=["made-by-run"])
        assert await listed(client, kind="output") == ["made-by-run"]
        assert await listed(client, kind="upload") == [own]

    async def test_files_are_found_by_name_time_and_sample(self, client: Client) -> None:
        file_id, other = await upload(client), await upload(client)
        body = {"files": [{"image": [file_id]}], "tags": []}
        sample = (await client.post("/api/v1/samples", json=body)).json()["sample_id"]
        made = (await client.get(f"/api/v1/files/{other}")).json()["time_created"]
        after = (datetime.fromisoformat(made) + timedelta(seconds=2)).isoformat()
        assert await listed(client, name=other[2:-2].upper()) == [other]
        assert await listed(client, sample_id=sample) == [file_id]
        assert (await listed(client, since=after), len(await listed(client, until=after))) == ([], 2)
        assert (await client.get("/api/v1/files", params={"sample_id": "x"})).json()["code"] == "sample_not_found"

    async def test_what_has_expired_unheard_is_not_shown_any_more(self, client: Client, world: World) -> None:
        gone, stays = await upload(client), await upload(client)
        assert len(await listed(client)) == 2
        await world.store.delete(COLLECTION, bytes_key(gone))
        assert await listed(client, limit=1) == [stays]

    async def test_a_list_is_right_after_more_was_heard_than_is_kept(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "MOST_NEW", 2)
        await listed(client)
        made = [await upload(client) for _ in range(4)]
        assert sorted(await listed(client)) == sorted(made)


class TestOne:
    async def test_an_upload_tells_its_size_hash_and_time(self, client: Client) -> None:
        file_id = await upload(client)
        record = (await client.get(f"/api/v1/files/{file_id}")).json()
        etag = (await client.get(f"/api/v0/files/{file_id}")).headers["ETag"]
        assert (record["size_bytes"], f'"{record["etag"]}"', record["kind"]) == (len(HDF5), etag, "upload")
        assert (record["state"], record["sample_ids"], record["execution_id"]) == ("available", [], None)

    async def test_an_output_tells_its_run_and_when_it_may_go(self, client: Client, world: World) -> None:
        run = await run_with_output(client, world, "made-by-run")
        await world.complete(run, outputs=["made-by-run"])
        record = (await client.get("/api/v1/files/made-by-run")).json()
        assert (record["kind"], record["execution_id"], record["attempt"]) == ("output", run, 1)
        lasts = datetime.fromisoformat(record["expires"]) - datetime.fromisoformat(record["time_created"])
        assert lasts == timedelta(days=7)

    async def test_a_file_of_a_sample_names_it_and_one_that_is_held_does_not_expire(
        self, client: Client, world: World
    ) -> None:
        file_id = await upload(client)
        sample = (await client.post("/api/v1/samples", json={"files": [{"image": [file_id]}]})).json()["sample_id"]
        await world.store.set_tags(COLLECTION, bytes_key(file_id), {})
        record = (await client.get(f"/api/v1/files/{file_id}")).json()
        assert (record["sample_ids"], record["expires"]) == ([sample], None)

    async def test_one_that_is_about_to_go_says_so(self, client: Client, world: World) -> None:
        file_id = await upload(client)
        await world.store.put(COLLECTION, f"deleting/{file_id}", b"", tags=EXPIRING)
        assert (await client.get(f"/api/v1/files/{file_id}")).json()["state"] == "deleting"
        assert not [event for event in world.heard if isinstance(event, FileDeleteRequested)]

    async def test_a_name_with_a_slash_is_found(self, client: Client) -> None:
        url = (await client.get("/api/v1/files/a%2Fb%20%C3%A4/upload-url")).json()["url"]
        (await client.put(url, content=HDF5)).raise_for_status()
        assert (await client.get("/api/v1/files/a%2Fb%20%C3%A4")).json()["file_id"] == "a/b ä"

    async def test_an_unknown_one_is_404(self, client: Client) -> None:
        answer = await client.get("/api/v1/files/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")
        assert answer.json()["details"] == {"object_name": "nothing"}
