"""Many messages in one write to a channel.

aiormq writes one message at a time, and waits for each. What goes around that uses parts of it that it does not
promise: all of them are here (frames.py has one for what comes in), and a start says so where the library that is
installed does not have them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

import aiormq
from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.channel import Channel
from pamqp.commands import Basic

from shared.bus.amqp.confirms import Confirms
from shared.bus.amqp.frames import READER
from shared.bus.amqp.letters import Letter, frames_of
from voxloom.errors import Misconfigured

KNOWN = "aiormq 7.2 and pamqp 4.0"
_PARTS = ("lock", "max_content_size", "number", "write_queue")


def check_library(channel: AbstractChannel) -> None:
    """Raises Misconfigured where this channel cannot be written to so."""
    missing = [part for part in _PARTS if not hasattr(channel, part)]
    missing += [] if hasattr(aiormq.Connection, READER) else ["a reader"]
    if not isinstance(channel, Channel) or missing:
        raise _unknown(f"its channels lack {', '.join(missing) or 'what they had'}")
    probe = Letter("", "probe", Basic.Properties(content_type="application/json"), b"{}")
    try:
        frame = _frame(channel, [probe])
    except (TypeError, ValueError, AttributeError) as error:
        raise _unknown(f"a message cannot be made into frames ({error})") from error
    if not bytes(frame.payload).endswith(b"{}\xce"):
        raise _unknown("the frames of a message do not end with its body")


def _unknown(why: str) -> Misconfigured:
    found = f"aiormq {version('aiormq')} and pamqp {version('pamqp')}"
    return Misconfigured(
        f"This program writes to RabbitMQ with {KNOWN}; {found} are installed, and {why}. "
        "Install it with its `cluster` extra again, which brings versions that fit."
    )


async def write(channel: AbstractChannel, letters: Sequence[Letter], confirms: Confirms) -> asyncio.Future[int]:
    """Writes all in one go. Done when each was answered: how many, from the first on, are confirmed."""
    assert isinstance(channel, Channel)
    frame = _frame(channel, letters)
    async with channel.lock:
        confirmed = confirms.expect(len(letters))
        try:
            await channel.write_queue.put(frame)
        except BaseException:
            # The broker's count and ours would differ from here on.
            channel.close_soon = asyncio.ensure_future(channel.close())  # type: ignore[attr-defined]
            raise
    return confirmed


async def ask(channel: AbstractChannel, prefetch: int) -> None:
    """How many messages may be out, which the broker knows already. It answers in turn."""
    assert isinstance(channel, Channel)
    question = ChannelFrame.marshall(channel.number, [Basic.Qos(prefetch_count=prefetch)])
    await channel.write_queue.put(question)


async def write_unconfirmed(channel: AbstractChannel, letters: Sequence[Letter]) -> None:
    assert isinstance(channel, Channel)
    await channel.write_queue.put(_frame(channel, letters))


def _frame(channel: Channel, letters: Sequence[Letter]) -> ChannelFrame:
    number, most = channel.number, channel.max_content_size
    frames = [frame for letter in letters for frame in frames_of(letter, number, most)]
    return ChannelFrame(payload=b"".join(frames), should_close=False)
