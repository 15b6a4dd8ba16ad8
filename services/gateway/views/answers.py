"""What other services answer to what the gateway has said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from messages.base import Event
from messages.deploys import AlgorithmDeleted, AlgorithmDeleteRefused, DeployCompleted, DeployFailed
from messages.files import FileCommitted, FileDeleted, FileDeleteRefused, FileRejected
from voxloom.errors import Unavailable


def inspection_of(file_id: str) -> str:
    return f"inspection:{file_id}"


def deletion_of(file_id: str) -> str:
    return f"deletion:{file_id}"


def end_of_deploy(deploy_id: str) -> str:
    return f"deploy:{deploy_id}"


def removal_asked_by(event_id: str) -> str:
    return f"removal:{event_id}"


def question_of(event: Event) -> str | None:
    """What the event is an answer to."""
    match event:
        case FileCommitted() | FileRejected():
            return inspection_of(event.subject)
        case FileDeleted() | FileDeleteRefused():
            return deletion_of(event.subject)
        case DeployCompleted() | DeployFailed():
            return end_of_deploy(event.subject)
        case AlgorithmDeleted() | AlgorithmDeleteRefused():
            return removal_asked_by(event.request_id)
        case _:
            return None


class Answers:
    """Requests that wait for an event. Ask with `expect` before you publish, or the answer may be missed."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[Event]]] = {}

    def hear(self, event: Event) -> None:
        question = question_of(event)
        for future in self._waiting.get(question, ()) if question else ():
            if not future.done():
                future.set_result(event)

    @contextmanager
    def expect(self, question: str) -> Iterator[asyncio.Future[Event]]:
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(future)
        try:
            yield future
        finally:
            waiting = self._waiting[question]
            waiting.remove(future)
            if not waiting:
                del self._waiting[question]
            future.cancel()

    def give_up(self) -> None:
        """Tells all who wait that the server stops."""
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(Unavailable("The server is stopping; ask again in a moment.", code="stopping"))


async def answer(future: asyncio.Future[Event], timeout: float, what: str) -> Event:
    """Raises Unavailable (`answer_timeout`) if nothing comes within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return await future
    except TimeoutError:
        raise Unavailable(
            f"{what} takes longer than {timeout:g} s. It may still happen: look again in a while.",
            code="answer_timeout",
        ) from None
