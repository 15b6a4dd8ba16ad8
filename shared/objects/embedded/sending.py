"""Files of the store, sent as the port says it."""

from __future__ import annotations

from shared.objects.base import ObjectInfo, Sender
from shared.objects.embedded.blobs import BlobSender
from shared.objects.embedded.threads import Pool


class FileSender(Sender):
    """`movers` are the threads that do it."""

    def __init__(self, movers: Pool, info: ObjectInfo, sender: BlobSender) -> None:
        self.info = info
        self._movers = movers
        self._sender = sender

    async def send(self, start: int, stop: int) -> int:
        return await self._movers.run(self._sender.send, start, stop)

    def close(self) -> None:
        self._movers.later(self._sender.close)
