"""The life of one delivery: decode, handle, settle. The only place where anything is settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from messages.base import Event
from messages.wire import Message, UndecodableMessage, UnknownVersion, decode
from shared.bus.base import Handler, NotYet, Policy
from shared.outages import waiting
from voxloom.backoff import Backoff
from voxloom.errors import Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """It was handled."""


@dataclass(frozen=True)
class Again:
    """Deliver it once more after so many seconds, and meanwhile others."""

    after: float


@dataclass(frozen=True)
class Dead:
    """To the dead letters, with the reason. `parked`: to those that a newer program may replay."""

    reason: str
    parked: bool = False


Verdict = Done | Again | Dead


class Delivery(Protocol):
    """A message that an adapter has handed out and that waits for its verdict."""

    @property
    def message(self) -> Message: ...

    @property
    def event(self) -> Event | None:
        """The event where the adapter has it already decoded."""

    @property
    def tries(self) -> int:
        """How often a handler has failed on it before."""

    async def settle(self, verdict: Verdict) -> None: ...


def judge(error: Exception, tries: int, policy: Policy) -> Verdict:
    """What becomes of a delivery whose handler raised; only for policies that give up in the end."""
    delays = policy.delays or ()
    if tries < len(delays):
        return Again(after=delays[tries])
    return Dead(reason=f"{type(error).__name__}: {error} (after {tries + 1} tries)")


async def deliver(batch: Sequence[Delivery], handler: Handler, policy: Policy) -> None:
    """Handles a batch and settles every delivery in it, whatever happens; only cancellation leaves it unsettled."""
    good: list[Delivery] = []
    events: list[Event] = []
    for delivery in batch:
        try:
            events.append(_event_of(delivery))
        except UnknownVersion as error:
            await delivery.settle(Dead(str(error), parked=True))
        except UndecodableMessage as error:
            await delivery.settle(Dead(str(error)))
        else:
            good.append(delivery)
    if events:
        await _handle(good, events, handler, policy)


def _event_of(delivery: Delivery) -> Event:
    message = delivery.message
    return delivery.event or decode(message.headers, message.body, message.routing_keys)


async def _handle(good: list[Delivery], events: list[Event], handler: Handler, policy: Policy) -> None:
    backoff = Backoff(policy.first_pause, policy.longest_pause)
    while True:
        try:
            await handler(events)
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the events stay
            if policy.delays is not None:
                await _settle_failed(good, error, policy)
                return
            wait = backoff.next()
            _tell(handler, error, wait)
            await asyncio.sleep(wait)
    for delivery in good:
        await delivery.settle(Done())


def _tell(handler: Handler, error: Exception, wait: float) -> None:
    match error:
        case NotYet():
            log.info("%s does not take events yet, next try in %.1f s: %s", _name(handler), wait, error)
        case Unavailable():
            log.warning(
                "%s has to wait; nothing is dropped, next try in %.1f s: %s",
                _name(handler),
                wait,
                error,
                extra=waiting(error),
            )
        case _:
            log.exception("%s failed; nothing is dropped, next try in %.1f s", _name(handler), wait)


async def _settle_failed(good: list[Delivery], error: Exception, policy: Policy) -> None:
    for delivery in good:
        verdict = judge(error, delivery.tries, policy)
        waits = isinstance(verdict, Again) and isinstance(error, Unavailable)
        log.warning(
            "%s: %s → %s",
            delivery.message.routing_keys[0],
            error,
            verdict,
            exc_info=None if isinstance(error, Unavailable) else error,
            extra=waiting(error) if waits else None,
        )
        await delivery.settle(verdict)


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", repr(handler))
