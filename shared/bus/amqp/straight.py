"""What comes over a connection and goes straight to whoever waits for it: messages, confirms, answers to one question.

aiormq puts each frame into a queue of its channel, from which a task takes it, which makes a task for each message. All
other frames still go that way, in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared.bus.amqp.confirms import Confirms

Take = Callable[[DeliveredMessage], None]


class _Content:
    """A message whose end has not come."""

    def __init__(self, delivery: Basic.Deliver, channel: AbstractChannel, take: Take) -> None:
        self._delivery = delivery
        self._channel = channel
        self._take = take
        self._header: ContentHeader | None = None
        self._body: list[bytes] = []
        self._missing = 0

    def add(self, frame: ContentHeader | ContentBody) -> bool:
        """Whether that was its end; then it has been taken."""
        if isinstance(frame, ContentHeader):
            self._header, self._missing = frame, frame.body_size
        else:
            self._body.append(frame.value)
            self._missing -= len(frame.value)
        if self._missing > 0 or self._header is None:
            return False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._take(DeliveredMessage(self._delivery, self._header, body, self._channel))
        return True


class Straight:
    """Of one connection. Channels are known by their numbers."""

    def __init__(self) -> None:
        self._takers: dict[tuple[int, str], tuple[AbstractChannel, Take]] = {}
        self._confirms: dict[int, Confirms] = {}
        self._answered: dict[int, Callable[[], None]] = {}
        self._begun: dict[int, _Content] = {}

    def hand_to(self, take: Take, channel: AbstractChannel, consumer: str) -> None:
        """What comes for that consumer, from now on. `take` must not raise."""
        self._takers[channel.number, consumer] = channel, take

    def answer(self, answered: Callable[[], None], channel: AbstractChannel) -> None:
        """From now on `answered` is called whenever the broker has set how many messages may be out there."""
        self._answered[channel.number] = answered

    def forget(self, channel: AbstractChannel, consumer: str, answered: Callable[[], None]) -> None:
        """The channel is closed. Another one may have its number by now."""
        self._takers.pop((channel.number, consumer), None)
        if self._answered.get(channel.number) == answered:
            del self._answered[channel.number]

    def confirms_of(self, channel: AbstractChannel, *, insists: bool = True) -> Confirms:
        """To be asked for before the first publish. `insists`: what the broker refuses is not confirmed."""
        confirms = self._confirms[channel.number] = Confirms(insists)
        channel.closing.add_done_callback(lambda _: confirms.lose())
        return confirms

    def takes(self, channel: int, frame: Any) -> bool:
        """Whether nobody else has to see this frame."""
        match frame:
            case Basic.Deliver():
                return self._begin(channel, frame)
            case ContentHeader() | ContentBody():
                return self._go_on(channel, frame)
            case Basic.QosOk() if (answered := self._answered.get(channel)) is not None:
                answered()
                return True
            case Basic.Ack() | Basic.Nack() if (confirms := self._confirms.get(channel)) is not None:
                good = isinstance(frame, Basic.Ack) or not confirms.insists
                confirms.hear(frame.delivery_tag or 0, good=good, multiple=bool(frame.multiple))
                return True
            case _:
                return False

    def _begin(self, channel: int, frame: Basic.Deliver) -> bool:
        taker = self._takers.get((channel, frame.consumer_tag or ""))
        if taker is None:
            return False
        self._begun[channel] = _Content(frame, *taker)
        return True

    def _go_on(self, channel: int, frame: ContentHeader | ContentBody) -> bool:
        content = self._begun.get(channel)
        if content is None:
            return False
        if content.add(frame):
            del self._begun[channel]
        return True
