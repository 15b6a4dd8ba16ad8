"""Warm runner processes: who gets which, and that none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from services.worker import pool as pool_module
from services.worker.pool import Key, Pool
from shared.forkserver import Line
from tests import forking

A = Key("default", "a", "x", "cpu")
B = Key("default", "b", "x", "cpu")
OTHER_PROJECT = Key("lab", "a", "x", "cpu")


@pytest.fixture(autouse=True)
def _spares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REFILL_DELAY", 0.0)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(warm=2, cores=64)
    yield pool
    await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_released_process_is_handed_out_for_its_key(pool: Pool) -> None:
    process = await pool.acquire(A)
    pool.release(process)
    assert await pool.acquire(A) is process


@pytest.mark.parametrize(
    "key", [B, OTHER_PROJECT, A._replace(device="mps"), A._replace(checkpoint="c"), A._replace(assets="y")]
)
async def test_a_process_serves_no_other_key(pool: Pool, key: Key) -> None:
    process = await pool.acquire(A)
    pool.release(process)
    assert await pool.acquire(key) is not process


async def test_a_card_is_cleared_for_another_algorithm(pool: Pool) -> None:
    on_card, elsewhere = A._replace(device="cuda:0"), A._replace(device="cuda:1")
    first, second = await pool.acquire(on_card), await pool.acquire(elsewhere)
    pool.release(first)
    pool.release(second)
    await pool.acquire(B._replace(device="cuda:0"))
    assert (first.alive, second.alive) == (False, True)


async def test_two_at_once_for_one_key_get_two(pool: Pool) -> None:
    first, second = await asyncio.gather(pool.acquire(A), pool.acquire(A))
    assert first is not second


async def test_a_process_that_must_not_serve_again_is_killed(pool: Pool) -> None:
    process = await pool.acquire(A)
    pool.release(process, reusable=False)
    await until(lambda: not is_running(process.pid))
    assert pool.idle == 0


async def test_a_dead_process_is_never_handed_out(pool: Pool) -> None:
    process = await pool.acquire(A)
    pool.release(process)
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not process.alive)
    assert (await pool.acquire(A)).alive


async def test_the_longest_unused_goes_first(pool: Pool) -> None:
    processes = [await pool.acquire(key) for key in (A, B, OTHER_PROJECT)]
    for process in processes:
        pool.release(process)
    await until(lambda: not is_running(processes[0].pid))
    assert [process.alive for process in processes] == [False, True, True]


async def test_a_spare_is_ready_after_the_first_use(pool: Pool) -> None:
    await pool.acquire(A)
    await until(lambda: pool.has_spare)
    spare = pool.spare_pid
    assert (await pool.acquire(B)).pid == spare


async def test_a_spare_that_died_is_replaced_unnoticed(pool: Pool) -> None:
    pool.prespawn()
    await until(lambda: pool.has_spare)
    spare = pool.spare_pid
    assert spare is not None
    os.kill(spare, signal.SIGKILL)
    await until(lambda: not is_running(spare))
    assert (await pool.acquire(A)).alive


async def test_a_cancelled_acquire_leaves_the_spare_for_the_next(pool: Pool) -> None:
    pool.prespawn()
    waiting = asyncio.create_task(pool.acquire(A))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await until(lambda: pool.has_spare)
    assert (await pool.acquire(A)).alive


async def test_close_leaves_no_process_behind() -> None:
    pool = Pool(warm=2, cores=64)
    busy, idle = await pool.acquire(A), await pool.acquire(B)
    pool.release(idle)
    await until(lambda: pool.has_spare)
    pids = [busy.pid, idle.pid, pool.spare_pid]
    await pool.close()
    assert [is_running(pid) for pid in pids if pid] == [False, False, False]


async def test_close_ends_a_spare_that_is_still_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "open", forking.USUAL)
    before = set(psutil.Process().children(recursive=True))
    pool = Pool(warm=2)
    pool.prespawn()
    await asyncio.sleep(0.02)
    await pool.close()
    assert not set(psutil.Process().children(recursive=True)) - before
