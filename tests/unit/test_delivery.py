"""The life of one delivery: whatever happens, it is settled once; only cancellation leaves it unsettled."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import pytest

from messages.base import Event
from messages.files import FileUploaded
from messages.wire import PREFIX, Message, encode
from shared.bus.base import KEEP, RETRY, NotYet, Policy
from shared.bus.delivery import Again, Dead, Done, Verdict, deliver, judge
from voxloom.errors import StoreUnavailable

QUICK = Policy(delays=None, first_pause=0.001, longest_pause=0.002)
LIMITED = Policy(delays=(1.0, 10.0))


class Parcel:
    """A delivery that remembers its verdicts."""

    def __init__(self, message: Message, *, event: Event | None = None, tries: int = 0) -> None:
        self.message = message
        self.event = event
        self.tries = tries
        self.verdicts: list[Verdict] = []

    async def settle(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)


class Handler:
    """Takes events, and fails as often as asked to."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[list[str]] = []
        self._failures = failures

    async def __call__(self, events: Sequence[Event]) -> None:
        self.calls.append([event.subject for event in events])
        if len(self.calls) <= self._failures:
            raise ValueError("no luck")


def parcel(subject: str = "f", *, tries: int = 0) -> Parcel:
    return Parcel(encode(FileUploaded(subject=subject, size=1, etag="e")), tries=tries)


def rubbish() -> Parcel:
    return Parcel(parcel().message._replace(body=b"["))


def from_tomorrow() -> Parcel:
    message = parcel().message
    return Parcel(message._replace(headers={**message.headers, f"{PREFIX}type": "voxloom.file.uploaded.v2"}))


# --- settling ---


async def test_what_was_handled_is_done() -> None:
    batch = [parcel("a"), parcel("b")]
    await deliver(batch, Handler(), KEEP)
    assert [item.verdicts for item in batch] == [[Done()], [Done()]]


async def test_the_handler_gets_the_events_in_order() -> None:
    handler = Handler()
    await deliver([parcel("a"), parcel("b"), parcel("c")], handler, KEEP)
    assert handler.calls == [["a", "b", "c"]]


async def test_an_event_that_is_there_is_not_decoded_again() -> None:
    seen: list[Event] = []

    async def handler(events: Sequence[Event]) -> None:
        seen.extend(events)

    event = FileUploaded(subject="f", size=1, etag="e")
    await deliver([Parcel(Message(("k",), {}, b"not even JSON"), event=event)], handler, KEEP)
    assert seen[0] is event


@pytest.mark.parametrize("policy", [KEEP, RETRY, LIMITED])
async def test_rubbish_is_dead_at_once_whatever_the_policy(policy: Policy) -> None:
    item, handler = rubbish(), Handler()
    await deliver([item], handler, policy)
    (verdict,) = item.verdicts
    assert isinstance(verdict, Dead)
    assert (verdict.parked, handler.calls) == (False, [])


@pytest.mark.parametrize("policy", [KEEP, RETRY, LIMITED])
async def test_a_newer_version_is_parked_whatever_the_policy(policy: Policy) -> None:
    item = from_tomorrow()
    await deliver([item], Handler(), policy)
    (verdict,) = item.verdicts
    assert isinstance(verdict, Dead)
    assert verdict.parked


async def test_rubbish_in_a_batch_does_not_hold_up_the_others() -> None:
    batch = [parcel("a"), rubbish(), parcel("b")]
    handler = Handler()
    await deliver(batch, handler, KEEP)
    assert handler.calls == [["a", "b"]]
    assert [type(item.verdicts[0]) for item in batch] == [Done, Dead, Done]


async def test_under_a_policy_that_keeps_the_same_events_are_handled_until_they_are() -> None:
    batch, handler = [parcel("a"), parcel("b")], Handler(failures=5)
    await deliver(batch, handler, QUICK)
    assert handler.calls == [["a", "b"]] * 6
    assert [item.verdicts for item in batch] == [[Done()], [Done()]]


async def test_under_a_policy_that_gives_up_a_failed_batch_is_for_later() -> None:
    batch, handler = [parcel("a"), parcel("b", tries=1)], Handler(failures=1)
    await deliver(batch, handler, LIMITED)
    assert [item.verdicts for item in batch] == [[Again(1.0)], [Again(10.0)]]
    assert len(handler.calls) == 1


async def test_after_the_last_try_it_is_dead_with_the_reason() -> None:
    item = parcel(tries=2)
    await deliver([item], Handler(failures=1), LIMITED)
    assert item.verdicts == [Dead("ValueError: no luck (after 3 tries)")]


@pytest.mark.parametrize("policy", [KEEP, LIMITED])
async def test_cancelling_a_handler_settles_nothing(policy: Policy) -> None:
    item, entered = parcel(), asyncio.Event()

    async def endless(events: Sequence[Event]) -> None:
        entered.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(deliver([item], endless, policy))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert item.verdicts == []


async def test_cancelling_a_pause_settles_nothing() -> None:
    item, handler = parcel(), Handler(failures=1000)
    task = asyncio.create_task(deliver([item], handler, Policy(delays=None, first_pause=3600, longest_pause=3600)))
    async with asyncio.timeout(30.0):
        while not handler.calls:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert item.verdicts == []


async def test_an_empty_batch_calls_nobody() -> None:
    handler = Handler()
    await deliver([], handler, KEEP)
    assert handler.calls == []


@pytest.mark.parametrize(
    ("error", "level", "traceback"),
    [
        (NotYet("another one was first"), logging.INFO, False),
        (StoreUnavailable("The store does not answer."), logging.WARNING, False),
        (ValueError("a bug"), logging.ERROR, True),
    ],
)
async def test_only_what_is_wrong_is_logged_as_an_error(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int, traceback: bool
) -> None:
    caplog.set_level(logging.INFO)
    errors = [error]

    async def handler(_: Sequence[Event]) -> None:
        if errors:
            raise errors.pop()

    await deliver([parcel()], handler, QUICK)
    (line,) = caplog.records
    assert (line.levelno, bool(line.exc_info)) == (level, traceback)


async def test_pauses_are_kept() -> None:
    begin = time.monotonic()
    await deliver([parcel()], Handler(failures=3), Policy(delays=None, first_pause=0.01, longest_pause=0.02))
    assert time.monotonic() - begin >= 0.05


# --- deciding ---


@pytest.mark.parametrize(
    ("tries", "verdict"),
    [
        (0, Again(1.0)),
        (1, Again(10.0)),
        (2, Again(60.0)),
        (3, Dead("KeyError: 'x' (after 4 tries)")),
        (9, Dead("KeyError: 'x' (after 10 tries)")),
    ],
)
def test_what_failed_waits_longer_each_time_and_then_dies(tries: int, verdict: Verdict) -> None:
    assert judge(KeyError("x"), tries, RETRY) == verdict
