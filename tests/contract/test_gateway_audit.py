"""The audit of a closed server: who did what, and who may see that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.service import Gateway
from shared.audit import house
from shared.audit.batches import COLLECTION, FULL, PREFIX
from shared.audit.counts import MOST_APART
from shared.control.store import COLLECTION as CONTROL
from shared.objects.base import list_all
from tests.contract.closed_world import Closed, closed_at
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import HDF5, eventually
from voxloom.errors import StoreUnavailable

AUDIT = "/api/v1/audit"


async def audit(closed: Closed, name: str = "root", url: str = "", **query: Any) -> list[dict[str, Any]]:
    async with closed.asking(name, url=url) as client:
        answer = await client.get(AUDIT, params=query)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


def told(entries: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(entry.get(name) for name in names) for entry in entries]


async def objects(closed: Closed) -> list[str]:
    return [item.key async for item in list_all(closed.world.store, COLLECTION, PREFIX)]


async def make_member(closed: Closed, name: str = "max", role: str = "viewer") -> int:
    return await closed.status(name, "PUT", "/api/v1/projects/lab1/members/olga", json={"role": role})


# --- what is in it --------------------------------------------------------------------------------------------------


async def test_a_change_of_who_may_what_is_one_entry_that_says_all_of_it(closed: Closed) -> None:
    assert await make_member(closed) == 200
    entries = await audit(closed)
    assert told(entries, "action", "actor", "token_id", "project", "subject", "outcome", "address", "details") == [
        (
            "member.set",
            "max",
            closed.people.id_of("max"),
            "lab1",
            "lab1/olga",
            "done",
            "127.0.0.1",
            {"changed": ["members/lab1/olga"]},
        )
    ]


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "principal.set": ("PUT", "/api/v1/principals/new", {"name": "New"}),
    "principal.delete": ("DELETE", "/api/v1/principals/vera", {}),
    "project.set": ("PUT", "/api/v1/projects/lab3", {"name": "New"}),
    "member.set": ("PUT", "/api/v1/projects/lab1/members/olga", {"role": "viewer"}),
    "member.delete": ("DELETE", "/api/v1/projects/lab1/members/mia", {}),
    "limit.set": ("PUT", "/api/v1/projects/lab1/limits", {"runs_at_once": 2}),
    "token.create": ("POST", "/api/v1/tokens", {"name": "x"}),
    "token.revoke": ("DELETE", "/api/v1/tokens/{mia}", {}),
}


@pytest.mark.parametrize("action", CHANGES)
async def test_every_change_is_written_down_before_it_is_made(
    closed: Closed, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store that notes what is written
    written: list[str] = []
    store = closed.world.store
    put, delete = store.put, store.delete

    async def noting_put(collection: str, key: str, *rest: Any, **more: Any) -> Any:
        written.append(collection)
        return await put(collection, key, *rest, **more)

    async def noting_delete(collection: str, *keys: str) -> None:
        written.append(collection)
        await delete(collection, *keys)

    monkeypatch.setattr(store, "put", noting_put)
    monkeypatch.setattr(store, "delete", noting_delete)
    # When something is changed
    method, path, body = CHANGES[action]
    path = path.format(mia=closed.people.id_of("mia"))
    assert await closed.status("root", method, path, **({"json": body} if body else {})) == 200
    # Then the audit had it first, and has how it ended
    assert (written[0], CONTROL in written) == (COLLECTION, True)
    assert told(await audit(closed), "action", "actor", "outcome") == [(action, "root", "done")]


async def test_no_secret_is_in_it(closed: Closed) -> None:
    async with closed.asking("root") as root:
        made = (await root.post("/api/v1/tokens", json={"name": "secret-name"})).json()["token"]
        await root.get("/api/v1/executions", headers={"Authorization": f"Bearer {made[:-1]}"})
    await audit(closed)
    kept = b"".join([await closed.world.store.get(COLLECTION, key) for key in await objects(closed)])
    secret = made.split("_")[2]
    assert kept
    assert secret[:-7].encode() not in kept


async def test_deploys_and_deletions_are_in_it(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1", removable=True)
    async with closed.asking("mia") as mia:
        file = (await mia.post("/api/v0/files", content=HDF5)).json()["file_id"]
        (await mia.delete(f"/api/v0/files/{file}")).raise_for_status()
    assert await closed.status("max", "DELETE", f"/api/v0/deploy/algorithm/{algorithm}") == 200
    entries = await audit(closed)
    assert told(entries, "action", "actor", "subject", "project") == [
        ("algorithm.delete", "max", algorithm, "lab1"),
        ("file.delete", "mia", file, "lab1"),
    ]


async def test_admins_reads_where_they_are_no_member_are_counted_and_members_are_not(closed: Closed) -> None:
    async with closed.asking("root", **{"Voxloom-Project": "lab1"}) as root:
        for _ in range(3):
            (await root.get("/api/v1/executions")).raise_for_status()
    await closed.status("mia")
    await roll(closed)
    read = told(await audit(closed, action="execution.read"), "actor", "project", "count")
    assert (sum(count for *_, count in read), {row[:2] for row in read}) == (3, {("root", "lab1")})


async def roll(closed: Closed) -> None:
    """As if the minute was over."""
    closed.world.gateway._audit.counts.close()


async def test_refusals_are_counted_together(closed: Closed) -> None:
    for _ in range(5):
        await closed.status("vera", "DELETE", "/api/v0/files/none")
    for _ in range(4):
        await closed.status(None)
    await closed.status("mia", path="/api/v1/files/none")
    await roll(closed)
    found: dict[tuple[Any, ...], int] = {}
    for entry in await audit(closed, outcome="refused"):
        key = entry["actor"], entry["code"], entry["address"]
        found[key] = found.get(key, 0) + entry["count"]
    assert found == {
        ("vera", "forbidden", ""): 5,
        (None, "token_missing", "127.0.0.1"): 4,
        ("mia", "file_not_found", ""): 1,
    }


async def test_a_change_that_is_refused_leaves_nothing_to_page_through(closed: Closed) -> None:
    # What is refused before anything is written is no entry of its own
    assert await closed.status("max", "PUT", "/api/v1/projects/lab1/members/max", json={"role": "king"}) == 422
    assert await closed.status("root", "DELETE", "/api/v1/principals/root") == 409
    assert await audit(closed) == []


async def test_an_open_server_has_none(tmp_path: Path) -> None:
    from tests.contract.gateway_world import client_of, world_at

    async with world_at(tmp_path) as world, client_of(world) as client:
        await client.delete("/api/v0/files/none")
        answer = await client.get(AUDIT)
        await world.gateway._audit.log.flush()
        kept = [item async for item in list_all(world.store, COLLECTION, PREFIX)]
    assert (answer.status_code, answer.json()["code"], kept) == (409, "auth_is_open", [])


# --- who may see it -------------------------------------------------------------------------------------------------


async def test_managers_see_what_is_of_their_projects_alone(closed: Closed) -> None:
    # Given deeds in both projects, and of none
    await make_member(closed)
    await closed.status("olga", "PUT", "/api/v1/projects/lab2/members/max", json={"role": "viewer"})
    await closed.status("root", "PUT", "/api/v1/principals/zoe", json={})
    await closed.status("olga", "PUT", "/api/v1/projects/lab1/members/mia", json={"role": "manager"})
    await closed.status("mia", path="/api/v1/files/secret-name")
    await roll(closed)
    # Then each manager sees their own
    theirs = await audit(closed, "max")
    assert {entry["project"] for entry in theirs} == {"lab1"}
    assert {(entry["action"], entry["actor"]) for entry in theirs} == {("member.set", "max"), ("request", "mia")}
    # And an admin all
    assert {entry["project"] for entry in await audit(closed)} == {"lab1", "lab2", "system"}


async def test_others_are_refused_and_projects_of_others_are_not_there(closed: Closed) -> None:
    async with closed.asking("mia") as mia, closed.asking("max") as max_:
        refused = await mia.get(AUDIT)
        other, none = [await max_.get(AUDIT, params={"project": one}) for one in ("lab2", "nowhere")]
    assert (refused.status_code, refused.json()["code"]) == (403, "audit_not_allowed")
    assert [one.json()["code"] for one in (other, none)] == ["project_not_found"] * 2


async def test_pages_go_through_all_once_and_filters_choose(closed: Closed) -> None:
    for number in range(5):
        await closed.status("root", "PUT", f"/api/v1/projects/p{number}", json={})
    await make_member(closed)
    async with closed.asking("root") as root:
        found, url = [], f"{AUDIT}?limit=2"
        while url:
            answer = await root.get(url)
            found += answer.json()
            url = answer.links["next"]["url"] if "next" in answer.links else ""
    subjects = ["lab1/olga", *(f"p{number}" for number in reversed(range(5)))]
    assert [entry["subject"] for entry in found] == subjects
    assert len({entry["entry_id"] for entry in found}) == 6
    third = found[3]["time"]
    assert [entry["subject"] for entry in await audit(closed, since=third)] == subjects[:4]
    assert [entry["subject"] for entry in await audit(closed, until=third)] == subjects[4:]
    assert [entry["subject"] for entry in await audit(closed, action="member")] == subjects[:1]
    assert [entry["subject"] for entry in await audit(closed, actor="max")] == subjects[:1]
    assert await audit(closed, project="lab2") == []


async def test_two_gateways_make_one_audit(closed: Closed) -> None:
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        for number in range(3):
            for url in ("", other.url):
                async with closed.asking("root", url=url) as root:
                    await root.put(f"/api/v1/projects/{'b' if url else 'a'}{number}", json={})
        await other._audit.log.flush()
        subjects = [entry["subject"] for entry in await audit(closed)]
    finally:
        await other.stop()
    assert subjects == ["b2", "a2", "b1", "a1", "b0", "a0"]


# --- when things go wrong -------------------------------------------------------------------------------------------


async def test_a_gateway_that_dies_in_between_leaves_a_trace(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a gateway that is killed once it has changed something, before it can say how that ended
    reached, over = asyncio.Event(), asyncio.Event()

    async def never(*_: Any) -> None:
        reached.set()
        await over.wait()

    monkeypatch.setattr("services.gateway.operations.projects.tell", never)
    monkeypatch.setattr(closed.world.gateway._audit, "end", lambda *_: None)
    change = asyncio.create_task(make_member(closed))
    await reached.wait()
    # When somebody looks at another one
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        entries = await audit(closed, url=other.url)
    finally:
        over.set()
        await change
        await other.stop()
    # Then it is there, without an end
    assert told(entries, "action", "actor", "subject", "outcome") == [("member.set", "max", "lab1/olga", "begun")]


async def test_without_the_store_of_the_audit_nothing_is_changed_and_all_else_goes_on(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store that takes nothing for the audit
    store, away = closed.world.store, True
    put = store.put

    async def failing(collection: str, *rest: Any, **more: Any) -> Any:
        if away and collection == COLLECTION:
            raise StoreUnavailable("it is away")
        return await put(collection, *rest, **more)

    monkeypatch.setattr(store, "put", failing)
    # Then a change is refused, and has not happened
    async with closed.asking("max") as client:
        answer = await client.put("/api/v1/projects/lab1/members/olga", json={"role": "viewer"})
        assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")
        assert len((await client.get("/api/v1/projects/lab1/members")).json()) == 3
    # And a file goes, and that is told once the store is back
    async with closed.asking("mia") as mia:
        file = (await mia.post("/api/v0/files", content=HDF5)).json()["file_id"]
        (await mia.delete(f"/api/v0/files/{file}")).raise_for_status()
    away = False
    assert told(await audit(closed), "action", "subject", "outcome", "code") == [
        ("file.delete", file, "done", None),
        ("member.set", "lab1/olga", "failed", "audit_unavailable"),
    ]


async def test_a_stop_writes_what_is_left(tmp_path: Path) -> None:
    async with closed_at(tmp_path) as closed:
        await closed.status(None)
        store, stop = closed.world.store, closed.world.gateway.stop
        await stop()
        kept = [await store.get(COLLECTION, key) for key in await objects(closed)]
    assert [b"token_missing" in data for data in kept] == [True]


async def test_a_flood_of_refusals_stays_few_entries(closed: Closed) -> None:
    """Whatever somebody without a token sends."""
    counts = closed.world.gateway._audit.counts
    async with httpx.AsyncClient(base_url=closed.world.gateway.url) as client:
        for number in range(30):
            await client.get(f"/api/v1/files/{number}", headers={"Authorization": f"Bearer vox_{number}"})
            await client.delete(f"/api/v1/projects/p{number}")
    assert len(counts._counted) <= 4  # two codes, in two minutes at most
    assert MOST_APART < FULL


async def test_what_is_put_together_reads_the_same(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given entries in an object each
    for number in range(6):
        await closed.status("root", "PUT", f"/api/v1/projects/p{number}", json={})
    before = await audit(closed)
    many = len(await objects(closed))
    # When their hour and day are long over, and two put them together
    from voxloom.models import utc_now

    monkeypatch.setattr(house, "utc_now", lambda: utc_now().replace(year=utc_now().year + 1))
    await asyncio.gather(house.unite(closed.world.store), house.unite(closed.world.store))
    # Then they are few, and say the same
    few = len(await objects(closed))
    assert (many >= 6, few <= 2, await audit(closed)) == (True, True, before)


async def test_what_is_too_old_goes(closed: Closed) -> None:
    await make_member(closed)
    await audit(closed)

    async def goes() -> bool:
        await house.expire(closed.world.store, 10**16 - 1)
        return await objects(closed) == []

    await eventually(goes)


# --- whose request it was -------------------------------------------------------------------------------------------


async def test_events_say_who_has_caused_them(closed: Closed) -> None:
    # Given one of each that members and managers ask for
    algorithm = await closed.world.deploy(project="lab1", removable=True)
    async with closed.asking("mia") as mia:
        file = (await mia.post("/api/v0/files", content=HDF5)).json()["file_id"]
        body = {"algorithm_id": algorithm, "input_dataset_ids": [file]}
        run = (await mia.post("/api/v1/executions", json=body)).json()["execution_id"]
        (await mia.post(f"/api/v1/executions/{run}/stop")).raise_for_status()
        (await mia.delete(f"/api/v0/files/{file}")).raise_for_status()
    await closed.status("max", "DELETE", f"/api/v0/deploy/algorithm/{algorithm}")
    await closed.status("max", "POST", "/api/v1/algorithms", content=b"PK\x05\x06" + bytes(18))
    # Then whoever listens is told who it was
    said = {
        ("file", "uploaded", "mia"),
        ("execution", "requested", "mia"),
        ("execution", "stop-requested", "mia"),
        ("file", "delete-requested", "mia"),
        ("deploy", "requested", "max"),
        ("algorithm", "delete-requested", "max"),
    }

    async def all_heard() -> bool:
        return said <= {(one.entity, one.verb, one.actor) for one in closed.world.heard}

    await eventually(all_heard)


async def test_records_say_who_has_submitted_them_and_v0_what_it_has_always_said(closed: Closed) -> None:
    algorithm = await closed.world.deploy(project="lab1")
    runs = {}
    for name in ("mia", "max"):
        async with closed.asking(name) as client:
            body = {"algorithm_id": algorithm, "input_dataset_ids": []}
            runs[name] = (await client.post("/api/v1/executions", json=body)).json()["execution_id"]
    async with closed.asking("vera") as vera:
        path = f"executions/{runs['mia']}"
        new, old = (await vera.get(f"/api/v1/{path}")).json(), (await vera.get(f"/api/v0/{path}")).json()
        rows = (await vera.get("/api/v1/executions", params={"submitted_by": "max"})).json()
        none = (await vera.get("/api/v1/executions", params={"submitted_by": "vera"})).json()
    assert (new["submitted_by"], "submitted_by" in old) == ("mia", False)
    assert ([(row["execution_id"], row["submitted_by"]) for row in rows], none) == ([(runs["max"], "max")], [])


async def test_an_open_server_says_nothing_of_whom_it_has_not_asked(tmp_path: Path) -> None:
    from tests.contract.gateway_world import client_of, world_at

    async with world_at(tmp_path) as world, client_of(world) as client:
        algorithm = await world.deploy()
        body = {"algorithm_id": algorithm, "input_dataset_ids": []}
        run = (await client.post("/api/v1/executions", json=body)).json()["execution_id"]
        record = (await client.get(f"/api/v1/executions/{run}")).json()

        async def is_heard() -> bool:
            return any(event.subject == run for event in world.heard)

        await eventually(is_heard)
    assert ("submitted_by" in record, {event.actor for event in world.heard}) == (False, {None})
