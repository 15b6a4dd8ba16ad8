"""Files that somebody has put through a URL: looked at when they are first asked for, and then like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from messages.base import Event
from messages.files import FileRejected, FileUploaded
from services.gateway.views.answers import Answers, answer, inspection_of
from shared.caller import Caller
from shared.file_names import Names
from shared.files import COLLECTION, free_id
from shared.objects.base import ObjectInfo, ObjectStore
from voxloom.errors import InvalidInput, StoreFull, Unavailable
from voxloom.models import RunError

AT_ONCE = 16


class Uploads:
    """`publish` says an event; `timeout` is how long ingest may take for one file."""

    def __init__(
        self, store: ObjectStore, answers: Answers, publish: Callable[[Event], Awaitable[None]], timeout: float
    ) -> None:
        self._store = store
        self._answers = answers
        self._publish = publish
        self._timeout = timeout

    async def commit(self, caller: Caller, texts: Sequence[str]) -> None:
        """Has those looked at that wait for it; the texts are what the caller calls files. Raises InvalidInput for one
        that is no good."""
        names = Names.of(caller)
        keys = {names.upload_key(text): text for text in texts}
        found = await self._store.head_many(COLLECTION, list(keys))
        waiting = [(keys[key], key, info) for key, info in found.items()]
        for start in range(0, len(waiting), AT_ONCE):
            await asyncio.gather(*(self._commit(caller, names, *one) for one in waiting[start : start + AT_ONCE]))

    async def _commit(self, caller: Caller, names: Names, text: str, key: str, info: ObjectInfo) -> None:
        file_id = await free_id(self._store, names, text)
        told = {"project": caller.project, "actor": caller.actor, "size": info.size, "etag": info.etag}
        event = FileUploaded(subject=file_id, staged=key, **told)
        with self._answers.expect(inspection_of(event.subject)) as inspected:
            await self._publish(event)
            outcome = await answer(inspected, self._timeout, "Looking into the file")
        if isinstance(outcome, FileRejected):
            raise refusal_of(outcome.error, event.subject)


def refusal_of(error: RunError, file_id: str) -> InvalidInput | Unavailable:
    kind = StoreFull if error.code == StoreFull.code else Unavailable if error.retryable else InvalidInput
    return kind(error.message, code=error.code, details={"file_id": file_id})
