"""Exchanges and queues as the broker has them. Every process declares all it knows, on every new connection."""

from __future__ import annotations

from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection

from shared.bus.base import Queue
from shared.bus.topology import STREAM_PATTERN

EVENTS = "events"
"""Of lifecycle events; the stream that keeps them all has the same name."""
LIVE = "live"
DEAD = "dead"
PARKED = "parked"

_SEGMENT_BYTES = 50_000_000
_QUORUM = {"x-queue-type": "quorum"}


async def declare_base(channel: AbstractChannel, *, hours: float, size: int) -> None:
    """What is there whatever queues there are: both exchanges, the stream, the dead letters."""
    for name in (EVENTS, LIVE):
        await channel.exchange_declare(name, exchange_type="topic", durable=True)
    await channel.queue_declare(EVENTS, durable=True, arguments=stream_arguments(hours, size))
    await channel.queue_bind(EVENTS, EVENTS, STREAM_PATTERN)
    await channel.queue_unbind(EVENTS, EVENTS, "#")  # What earlier versions have bound it to.
    for name in (DEAD, PARKED):
        await channel.queue_declare(name, durable=True, arguments=quorum_arguments(channel.connection))


async def declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    """The queue, its bindings, and one more for each delay of its policy, out of which its messages return."""
    await channel.queue_declare(queue.name, durable=True, arguments=queue_arguments(queue, channel.connection))
    for pattern in queue.bindings:
        await channel.queue_bind(queue.name, EVENTS, pattern)
    for pattern in queue.former_bindings:
        await channel.queue_unbind(queue.name, EVENTS, pattern)
    for delay in queue.policy.delays or ():
        name = delay_queue(queue.name, delay)
        await channel.queue_declare(name, durable=True, arguments=delay_arguments(queue, delay, channel.connection))


def stream_arguments(hours: float, size: int) -> dict[str, Any]:
    return {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, round(hours * 3600))}s",
        "x-max-length-bytes": size,
        "x-stream-max-segment-size-bytes": min(_SEGMENT_BYTES, max(1, size // 4)),
    }


def quorum_arguments(connection: AbstractConnection) -> dict[str, Any]:
    """From RabbitMQ 4 on a message that was delivered twenty times would be dropped, unless told otherwise; before, to
    tell so is an error."""
    return {**_QUORUM, "x-delivery-limit": -1} if major_version(connection) >= 4 else dict(_QUORUM)


def queue_arguments(queue: Queue, connection: AbstractConnection) -> dict[str, Any]:
    arguments = quorum_arguments(connection)
    if queue.single_active:
        arguments["x-single-active-consumer"] = True
    if queue.expires is not None:
        arguments["x-expires"] = round(queue.expires * 1000)
    if queue.longest is not None:
        arguments["x-max-length"] = queue.longest
    return arguments


def delay_arguments(queue: Queue, delay: float, connection: AbstractConnection) -> dict[str, Any]:
    arguments = {
        **quorum_arguments(connection),
        "x-message-ttl": round(delay * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue.name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if queue.expires is not None:
        arguments["x-expires"] = round((queue.expires + delay) * 1000)
    return arguments


def delay_queue(name: str, delay: float) -> str:
    return f"{name}.again-in-{round(delay * 1000)}ms"


def major_version(connection: AbstractConnection) -> int:
    version = connection.server_properties.get("version", b"")
    text = version.decode() if isinstance(version, bytes) else str(version)
    major = text.partition(".")[0]
    return int(major) if major.isdecimal() else 0
