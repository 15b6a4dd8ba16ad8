"""Somebody keeps a run in the very moment in which its time is over: what was answered holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from messages.records import RecordsDeleteRequested
from services.gateway.context import CONTEXT, Context
from services.gateway.operations import retention
from services.recorder import service as recorder_module
from services.recorder.service import Recorder
from shared import keeping
from shared.keeping import runs_kept_among
from shared.objects.base import ObjectStore
from shared.records.fold import RunState
from shared.records.store import COLLECTION, RecordStore
from tests.contract.closed_world import Closed, closed_at
from tests.contract.gateway_world import eventually
from tests.contract.platform_support import running
from voxloom.models import utc_now


@pytest.fixture
async def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Closed]:
    monkeypatch.setattr(recorder_module, "GATHER_SECS", 0.05)
    async with closed_at(tmp_path, answer_timeout=20.0) as closed:
        async with closed.asking("max") as manager:
            (await manager.put("/api/v1/projects/lab1/retention", json={"execution_days": 3.0})).raise_for_status()
        yield closed


@asynccontextmanager
async def recorder(closed: Closed) -> AsyncIterator[Recorder]:
    async with running(Recorder, closed.world.platform) as recorder:
        yield recorder


def context_of(closed: Closed) -> Context:
    assert closed.world.gateway._runner is not None
    return closed.world.gateway._runner.app[CONTEXT]


async def retention_passes(closed: Closed) -> None:
    await retention.let_go(context_of(closed), utc_now() + timedelta(days=5))


async def ended_run(closed: Closed, client: httpx.AsyncClient) -> str:
    algorithm = await closed.world.deploy(project="lab1", name="Own")
    body = {"algorithm_id": algorithm, "input_dataset_ids": []}
    run = str((await client.post("/api/v1/executions", json=body)).json()["execution_id"])
    await closed.world.start(run)
    await closed.world.complete(run)
    await closed.world.settled()
    return run


async def keep(client: httpx.AsyncClient, run: str) -> int:
    return (await client.put(f"/api/v1/executions/{run}/keep")).status_code


async def is_there(closed: Closed, client: httpx.AsyncClient, run: str) -> bool:
    """By its id, in the list, and in the store."""
    found = await client.get(f"/api/v1/executions/{run}")
    listed = [one["execution_id"] for one in (await client.get("/api/v1/executions")).json()]
    stored = await RecordStore(closed.world.store).load_run(run)
    return (found.status_code, run in listed, stored is not None) == (200, True, True)


async def test_a_run_that_is_kept_after_retention_has_looked_stays(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder(closed), closed.asking("mia") as mia:
        run, answers = await ended_run(closed, mia), []

        async def looked(store: ObjectStore, runs: Iterable[str]) -> set[str]:
            found = await runs_kept_among(store, runs)
            answers.append(await keep(mia, run))
            return found

        monkeypatch.setattr(retention, "runs_kept_among", looked)
        await retention_passes(closed)
        await eventually(lambda: is_there(closed, mia, run))
        assert (answers, (await mia.get(f"/api/v1/executions/{run}")).json()["kept"]) == ([200], True)


async def test_who_keeps_a_run_that_is_asked_to_go_is_told_what_becomes_of_it(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with closed.asking("mia") as mia:
        run = await ended_run(closed, mia)
        between(monkeypatch, lambda: retention_passes(closed))
        kept = asyncio.create_task(keep(mia, run))
        await eventually(lambda: has_note(closed, run))
        assert not kept.done()
        async with recorder(closed):  # It comes upon the note.
            assert await kept == 200
            await eventually(lambda: is_there(closed, mia, run))


async def test_who_keeps_a_run_that_goes_is_told_so_and_nothing_of_it_is_left(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder(closed) as service, closed.asking("mia") as mia:
        run = await ended_run(closed, mia)

        async def passes() -> None:
            await retention_passes(closed)
            await eventually(lambda: is_decided(service, run))

        between(monkeypatch, passes)
        assert await keep(mia, run) == 404
        store = closed.world.store
        assert (await store.list(COLLECTION, prefix="kept/")).items == []
        assert not await keeping.is_run_kept(store, run)
        assert (await mia.get(f"/api/v1/executions/{run}")).status_code == 404


async def test_deleting_the_records_of_all_leaves_what_was_kept_meanwhile(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder(closed), closed.asking("mia") as mia:
        run, other = await ended_run(closed, mia), await ended_run(closed, mia)
        publish = closed.world.bus.publish

        async def kept_first(*events: Any) -> None:
            if any(isinstance(event, RecordsDeleteRequested) for event in events):
                assert await keep(mia, run) == 200
            await publish(*events)

        monkeypatch.setattr(closed.world.bus, "publish", kept_first)
        (await mia.delete("/api/v0/execute-algorithm/all")).raise_for_status()
        await eventually(lambda: is_there(closed, mia, run))
        assert (await mia.get(f"/api/v1/executions/{other}")).status_code == 404


def between(monkeypatch: pytest.MonkeyPatch, other: Callable[[], Awaitable[None]]) -> None:
    """Somebody else comes in between, after a run was found that is to be kept and before its note is written."""
    keep_run = RecordStore.keep_run

    async def others_first(self: RecordStore, state: RunState) -> None:
        await other()
        await keep_run(self, state)

    monkeypatch.setattr(RecordStore, "keep_run", others_first)


async def has_note(closed: Closed, run: str) -> bool:
    return await keeping.is_run_kept(closed.world.store, run)


async def is_decided(recorder: Recorder, run: str) -> bool:
    return run in recorder._ledger.deleted
