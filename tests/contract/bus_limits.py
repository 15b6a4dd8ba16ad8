"""How large a message may be: as large on every bus, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messages.base import Event
from messages.files import FileUploaded
from messages.runs import RunStateSet
from messages.wire import Message, encode
from shared.bus.base import Bus, Queue
from shared.bus.limits import LATER_BYTES, MOST_BODY_BYTES, MOST_HEADER_BYTES, MOST_KEY_BYTES, header_bytes
from tests.contract.bus_tools import BusTests, Inbox, until
from tests.named import A, B
from voxloom.errors import InvalidInput, TooLarge, VoxloomError


def of_size(size: int, project: str, subject: str = "f") -> FileUploaded:
    """An event whose data has so many bytes."""
    bare = FileUploaded(subject=subject, project=project, size=1, etag="")
    return bare.model_copy(update={"etag": "e" * (size - len(encode(bare).body))})


class LimitBehaviour(BusTests):
    """At a limit all goes, and beyond it nothing."""

    async def test_what_an_event_says_first_leaves_room_for_what_is_said_later(self, bus: Bus) -> None:
        assert bus.largest == MOST_BODY_BYTES - LATER_BYTES == (16 << 20) - (64 << 10)

    async def test_events_up_to_the_limit_arrive_and_a_larger_one_is_refused_and_disturbs_no_other(
        self, bus: Bus, queue: Queue, project: str
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish(of_size(MOST_BODY_BYTES - 1, project, "below"))
        await bus.publish(of_size(MOST_BODY_BYTES, project, "at"))
        with pytest.raises(TooLarge, match=str(MOST_BODY_BYTES)):
            await bus.publish(of_size(10, project, "beside"), of_size(MOST_BODY_BYTES + 1, project, "beyond"))
        await bus.publish(of_size(100, project, "after"))
        await inbox.has("after")
        assert [(event.subject, len(encode(event).body)) for event in inbox.events] == [
            ("below", MOST_BODY_BYTES - 1), ("at", MOST_BODY_BYTES), ("after", 100),
        ]  # fmt: skip

    @pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
    async def test_headers_have_a_limit(self, bus: Bus, queue: Queue, project: str, more: int, fits: bool) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        keys, headers, body = encode(of_size(100, project))
        left = MOST_HEADER_BYTES - header_bytes({**headers, "x": ""})
        message = Message(keys, {**headers, "x": "y" * (left + more)}, body)
        await self.publish(bus, message, fits)
        await bus.publish(of_size(100, project, "end"))
        await inbox.has("end")
        assert inbox.subjects == (["f", "end"] if fits else ["end"])

    @pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
    async def test_routing_keys_have_a_limit(self, bus: Bus, project: str, more: int, fits: bool) -> None:
        key = f"no-event-of-ours.{project}."
        await self.publish(bus, Message((key + "é" + "x" * (MOST_KEY_BYTES - len(key) - 2 + more),), {}, b"{}"), fits)

    async def test_a_file_of_any_name_can_be_told_of(
        self, bus: Bus, queue: Queue, project: str, uploaded: Callable[[str], Event]
    ) -> None:
        inbox, names = Inbox(), ["x" * 900, "é" * 75, "two words.and/more"]
        await bus.consume(queue, inbox)
        await bus.publish(*map(uploaded, names))
        await inbox.has(*names)

    async def publish(self, bus: Bus, message: Message, fits: bool) -> None:
        if fits:
            await bus.publish_message(message)
        else:
            with pytest.raises(VoxloomError, match="bytes"):
                await bus.publish_message(message)

    async def test_what_json_cannot_say_is_refused(self, bus: Bus, project: str) -> None:
        with pytest.raises(InvalidInput, match="JSON"):
            await bus.publish(FileUploaded(subject="f", project=project, size=1, etag="\ud800"))

    @pytest.mark.parametrize("state", [{"x": "y" * (MOST_BODY_BYTES + 1)}, {"x": "\ud800"}], ids=["large", "no text"])
    async def test_live_news_that_no_bus_takes_is_lost_alone(
        self, bus: Bus, project: str, state: dict[str, object]
    ) -> None:
        heard: list[str] = []
        await bus.listen([f"#.{project}.#"], lambda event: heard.append(event.subject))
        bus.announce(RunStateSet(subject=A, project=project, state=state))
        bus.announce(RunStateSet(subject=B, project=project, state={}))
        await until(lambda: bool(heard))
        assert heard == [B]
