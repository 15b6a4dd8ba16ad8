"""Many messages in one write to a channel, and a future for each that is done when the broker has confirmed it.

aiormq writes one message at a time and waits for each. What goes around that uses parts of it that it does not promise:
all of them are here (frames.py has one for what comes in), and a start says so where the library that is installed does
not have them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from voxloom.errors import Misconfigured

KNOWN = "aiormq 7.2 and pamqp 4.0"
_PARTS = ("confirmations", "create_future", "delivery_tag", "lock", "max_content_size", "number", "write_queue")


class Letter(NamedTuple):
    exchange: str
    routing_key: str
    properties: Basic.Properties
    body: bytes


def check_library(channel: AbstractChannel) -> None:
    """Raises Misconfigured where this channel cannot be written to so."""
    missing = [part for part in _PARTS if not hasattr(channel, part)]
    if not isinstance(channel, Channel) or missing:
        raise _unknown(f"its channels lack {', '.join(missing) or 'what they had'}")
    probe = Letter("", "probe", Basic.Properties(content_type="application/json"), b"{}")
    try:
        frame = _frame(channel, _frames(channel, probe))
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


async def write(channel: AbstractChannel, letters: Sequence[Letter]) -> list[asyncio.Future[Any]]:
    """Writes all in one go; a future for each, done when it is confirmed."""
    assert isinstance(channel, Channel)
    async with channel.lock:
        futures: list[asyncio.Future[Any]] = []
        frames: list[Any] = []
        for letter in letters:
            channel.delivery_tag += 1
            future = channel.create_future()
            channel.confirmations[channel.delivery_tag] = future
            futures.append(future)
            frames += _frames(channel, letter)
        try:
            await channel.write_queue.put(_frame(channel, frames))
        except BaseException:
            # The broker's count and ours would differ from here on.
            channel.close_soon = asyncio.ensure_future(channel.close())  # type: ignore[attr-defined]
            raise
    return futures


async def write_unconfirmed(channel: AbstractChannel, letters: Sequence[Letter]) -> None:
    assert isinstance(channel, Channel)
    frames = [frame for letter in letters for frame in _frames(channel, letter)]
    await channel.write_queue.put(_frame(channel, frames))


def _frames(channel: Channel, letter: Letter) -> list[Any]:
    publish = Basic.Publish(exchange=letter.exchange, routing_key=letter.routing_key)
    header = ContentHeader(properties=letter.properties, body_size=len(letter.body))
    size = channel.max_content_size
    bodies = [ContentBody(letter.body[at : at + size]) for at in range(0, len(letter.body), size)]
    return [publish, header, *bodies]


def _frame(channel: Channel, frames: list[Any]) -> ChannelFrame:
    return ChannelFrame.marshall(channel_number=channel.number, frames=frames)
