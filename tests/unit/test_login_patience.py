"""How long who has failed to log in waits, what is remembered of it, and of whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import pytest

from services.gateway.http import patience
from services.gateway.http.patience import FORGOTTEN_SECS, Memory, Patience, address_of, delay
from voxloom.errors import TooMany


@pytest.mark.parametrize(
    ("failures", "secs"), [(0, 0.0), (2, 0.0), (3, 0.5), (4, 1.0), (5, 2.0), (6, 4.0), (7, 4.0), (10**6, 4.0)]
)
def test_the_delay_grows_up_to_a_bound(failures: int, secs: float) -> None:
    assert delay(failures, 4.0) == secs


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_are_forgotten_after_a_while() -> None:
    clock = Clock()
    memory = Memory(clock, 4.0)
    for _ in range(5):
        memory.note("anna")
    before = memory.delay("anna")
    clock.now += FORGOTTEN_SECS
    assert (before, memory.delay("anna")) == (2.0, 0.0)


def test_whatever_names_are_sent_no_more_are_remembered_than_a_number() -> None:
    memory = Memory(Clock(), 4.0, most=100)
    for number in range(1000):
        memory.note(f"nobody-{number}")
    assert (len(memory), memory.count("nobody-999"), memory.count("nobody-0")) == (100, 1, 0)


async def test_too_many_of_one_address_are_turned_away_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits takes up a place, and gives it back."""
    waiting = Patience()

    async def hold(name: str, address: str, until: asyncio.Event) -> None:
        async with waiting.turn(name, address):
            await until.wait()

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(patience.MOST_AT_ONCE):
            group.create_task(hold("anna", "10.0.0.1", done))
        await asyncio.sleep(0)
        with pytest.raises(TooMany) as caught:
            await hold("anna", "10.0.0.1", done)
        done.set()
        await hold("anna", "10.0.0.2", done)
    assert (caught.value.code, caught.value.http_status, len(waiting._waiting)) == ("too_many_logins", 429, 0)


FULL = {
    "one machine, by other addresses of its network": ([f"2001:db8::{one:x}" for one in range(1, 99)], 16),
    "one site, by other networks of it": ([f"2001:db8:0:{one:x}::1" for one in range(199)], 128),
    "other sites": ([f"2001:db8:{one:x}::1" for one in range(199)], 199),
    "other machines": ([f"10.0.0.{one}" for one in range(199)], 199),
    "one machine, as IPv4 and within IPv6": (["10.0.0.1", "::ffff:10.0.0.1"] * 20, 16),
}


@pytest.mark.parametrize("case", FULL)
async def test_no_machine_takes_all_places_however_many_addresses_it_has(case: str) -> None:
    peers, places = FULL[case]
    waiting = Patience()
    async with AsyncExitStack() as held:
        taken = 0
        for number, peer in enumerate(peers):
            with suppress(TooMany):
                await held.enter_async_context(waiting.turn(f"user{number}", address_of(peer, [], [])))
                taken += 1
        assert taken == places
    assert not waiting._waiting


async def test_of_a_site_those_who_have_failed_leave_room_for_those_who_have_not() -> None:
    waiting = Patience()
    async with AsyncExitStack() as held:
        for number in range(patience.MOST_OF_SITE):
            await held.enter_async_context(waiting.turn(f"user{number}", f"2001:db8:0:{number:x}::/64"))
        waiting.failed("mallory", "2001:db8:0:ffff::/64")
        with pytest.raises(TooMany):
            await held.enter_async_context(waiting.turn("mallory", "2001:db8:0:ffff::/64"))
        await held.enter_async_context(waiting.turn("anna", "2001:db8:0:fffe::/64"))


def test_a_right_password_does_not_excuse_what_was_tried_from_the_same_address() -> None:
    waiting = Patience(Clock())
    for _ in range(5):
        waiting.failed("anna", "10.0.0.1")
    waiting.succeeded("anna", "10.0.0.1")
    assert (waiting.secs("anna", "10.0.0.2"), waiting.secs("bob", "10.0.0.1")) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("10.0.0.9", [], [], "10.0.0.9"),
        ("10.0.0.9", ["1.2.3.4"], [], "10.0.0.9"),
        ("127.0.0.1", ["1.2.3.4"], [], "127.0.0.1"),
        ("10.0.0.9", ["1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        ("10.0.0.9", ["6.6.6.6, 1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        ("10.0.0.9", ["6.6.6.6", "1.2.3.4, 10.0.0.8"], ["10.0.0.0/8"], "1.2.3.4"),
        ("10.0.0.9", ["10.0.0.7"], ["10.0.0.0/8"], "10.0.0.7"),
        ("10.0.0.9", ["nonsense"], ["10.0.0.0/8"], "unknown"),
        ("::ffff:10.0.0.9", ["1.2.3.4:555"], ["10.0.0.0/8"], "1.2.3.4"),
        ("2001:db8::1", [], [], "2001:db8::/64"),
        ("2001:db8::2", [], [], "2001:db8::/64"),
        ("fe80::1%eth0", [], [], "fe80::/64"),
        ("", [], [], "unknown"),
    ],
)
def test_the_address_is_what_a_trusted_proxy_says_and_nobody_else(
    peer: str, forwarded: Sequence[str], trusted: Sequence[str], address: str
) -> None:
    assert address_of(peer, forwarded, trusted) == address
