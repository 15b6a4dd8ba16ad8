"""One errand for all who ask before it begins."""

from __future__ import annotations

import asyncio

import pytest

from shared.single_flight import Together


class Errand:
    """Takes until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.gate.wait()


async def test_who_comes_while_one_is_under_way_shares_the_next() -> None:
    errand = Errand()
    together = Together("errand", errand)
    first = asyncio.create_task(together())
    while errand.begun == 0:
        await asyncio.sleep(0)
    others = [asyncio.create_task(together()) for _ in range(10)]
    await asyncio.sleep(0)
    before = errand.begun
    errand.gate.set()
    await asyncio.gather(first, *others)
    assert (before, errand.begun) == (1, 2)


async def test_who_leaves_takes_the_errand_from_nobody() -> None:
    errand = Errand()
    together = Together("errand", errand)
    leaves, stays = asyncio.create_task(together()), asyncio.create_task(together())
    while errand.begun == 0:
        await asyncio.sleep(0)
    leaves.cancel()
    errand.gate.set()
    await stays
    assert errand.begun == 1


async def test_all_are_told_what_went_wrong_and_the_next_try_is_a_new_one() -> None:
    tries = 0

    async def errand() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("no luck")

    together = Together("errand", errand)
    results = await asyncio.gather(together(), together(), return_exceptions=True)
    await together()
    assert ([str(result) for result in results], tries) == (["no luck", "no luck"], 2)


async def test_a_close_keeps_nobody_waiting() -> None:
    errand = Errand()
    together = Together("errand", errand)
    waiting = asyncio.create_task(together())
    while errand.begun == 0:
        await asyncio.sleep(0)
    await together.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
