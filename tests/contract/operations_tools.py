"""What the tests of queues, workers and dead letters have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from messages.files import FileUploaded
from messages.wire import PREFIX, Message, encode
from messages.workers import Holding, Lane, WorkerHeartbeat, WorkerStarted
from tests.contract.gateway_world import World, eventually
from voxloom.cli.program import app

Client = httpx.AsyncClient
Cli = Callable[..., Awaitable[Result]]
LANE = Lane(device_class="cpu", device="cpu", slots=2)


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def cli_of(world: World) -> Cli:
    """The command line, as somebody elsewhere has it."""

    async def call(*arguments: str) -> Result:
        line = ["--url", world.gateway.url, *arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, line, env={"COLUMNS": "200"})

    return call


async def is_watched(client: Client) -> bool:
    """Whether queues have been looked at twice: what comes from now on makes a rate."""
    items = (await client.get("/api/v1/queues")).json()["items"]
    return all(one["in_per_second"] is not None for one in items)


async def workers(client: Client) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/workers")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def start_worker(world: World, *held: str) -> None:
    await world.bus.publish(WorkerStarted(subject="i1", worker_id="bench-1", lanes=[LANE]))
    await world.settled()
    holding = [Holding(run=run, attempt=1) for run in held]
    facts: dict[str, Any] = {"worker_id": "bench-1", "lanes": [LANE], "holding": holding}
    world.bus.announce(WorkerHeartbeat(subject="i1", host="bench", pid=7, release="0.1", **facts))


async def run_on_worker(client: Client, world: World) -> str:
    body = {"algorithm_id": await world.deploy(), "input_dataset_ids": []}
    run = str((await client.post("/api/v0/execute-algorithm", json=body)).json()["execution_id"])

    async def asked() -> bool:
        return any(event.subject == run for event in world.heard)

    await eventually(asked)
    await world.start(run)
    await start_worker(world, run)

    async def shown() -> bool:
        return [one["execution_id"] for worker in await workers(client) for one in worker["runs"]] == [run]

    await eventually(shown)
    return run


async def die(world: World, subject: str, body: bytes = b'{"size": "many"}', **headers: Any) -> None:
    """A message that nobody can read."""
    fine = encode(FileUploaded(subject=subject, size=1, etag="e"))
    await world.bus.publish_message(Message(fine.routing_keys, {**fine.headers, **headers}, body))


async def park(world: World) -> None:
    """A message of a program that is newer than this one."""
    fine = encode(FileUploaded(subject="newer", size=1, etag="e"))
    newer = {**fine.headers, f"{PREFIX}type": "voxloom.file.uploaded.v9"}
    await world.bus.publish_message(Message(fine.routing_keys, newer, fine.body))


async def letters(client: Client, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/dead-letters", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def count_is(client: Client, count: int) -> bool:
    return len(await letters(client)) == count


async def one_letter(client: Client, world: World, subject: str = "x", **more: Any) -> str:
    before = len(await letters(client))
    await die(world, subject, **more)
    await eventually(lambda: count_is(client, before + 1))
    return str((await letters(client))[-1]["dead_letter_id"])
