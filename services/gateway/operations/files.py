"""A file comes in, is looked into, and goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from messages.base import Event
from messages.files import FileCommitted, FileDeleteRefused, FileDeleteRequested, FileRejected, FileUploaded
from services.gateway.context import Context
from services.gateway.http.bodies import Body
from services.gateway.http.idempotency import Digest, Key, Once, fingerprint_of
from services.gateway.operations import limits
from services.gateway.operations.uploads import hdf5_chunks, read_through, store_body
from services.gateway.views.answers import answer, deletion_of, inspection_of
from services.gateway.views.presigned import refusal_of
from shared.caller import Caller
from shared.file_names import Names
from shared.files import COLLECTION, Located, bytes_key, check_name, entry_key, locate_many
from voxloom.errors import Conflict, NotFound, Unavailable, VoxloomError
from voxloom.ids import new_id

URL_SECS = 3600.0
CLOSED_URL_SECS = 900.0
"""Where the server asks who people are: whoever has the URL is not asked."""


async def upload(context: Context, caller: Caller, key: Key | None, body: Body) -> str:
    """The id of the file, which can be used. Raises what it was refused for."""
    with limits.charge_of(context, caller) as charge:
        if key is None:
            event = await _take_in(context, caller, body, charge)
            await _inspect(context, event)
        else:
            event = await _UploadOnce(context, caller, body, charge).event(context.keys, key)
            await _inspect_once(context, event)
        return event.subject


async def _take_in(
    context: Context, caller: Caller, body: Body, charge: limits.Charge, digest: Digest | None = None
) -> FileUploaded:
    """Stores the body under a new id; `digest` knows it afterwards."""
    file_id = new_id()
    body = await charge.of(body)
    info = await store_body(
        context,
        replace(body, chunks=hdf5_chunks(body.chunks)),
        (COLLECTION, bytes_key(file_id)),
        limit=context.settings.max_file_bytes,
        metadata={"project": caller.project},
    )
    if digest is not None:
        digest.note(info)
    return FileUploaded(subject=file_id, project=caller.project, actor=caller.actor, size=info.size, etag=info.etag)


class _UploadOnce(Once[FileUploaded]):
    """If the file is gone, or was refused, so is its claim to the key."""

    kind = FileUploaded

    def __init__(self, context: Context, caller: Caller, body: Body, charge: limits.Charge) -> None:
        self._context = context
        self._caller = caller
        self._body = body
        self._charge = charge
        self._digest = Digest()

    async def make(self) -> FileUploaded:
        return await _take_in(self._context, self._caller, self._body, self._charge, self._digest)

    def fingerprint(self) -> str:
        return fingerprint_of("files", self._digest.text)

    async def read_again(self) -> None:
        digested = replace(self._body, chunks=self._digest.of(self._body.chunks))
        await read_through(digested, limit=self._context.settings.max_file_bytes)

    async def holds(self, event: FileUploaded) -> bool:
        return await _exists(self._context, bytes_key(event.subject))

    async def undo(self, event: FileUploaded) -> None:
        await self._context.store.delete(COLLECTION, bytes_key(event.subject))


async def _inspect(context: Context, event: FileUploaded) -> None:
    """Returns when the file can be used. Raises what it was refused for."""
    with context.answers.expect(inspection_of(event.subject)) as inspected:
        try:
            await context.publish(event)
        except Unavailable:
            await context.store.delete(COLLECTION, bytes_key(event.subject))  # Nobody will ever look at it.
            raise
        await _inspected(context, event, inspected)


async def _inspect_once(context: Context, event: FileUploaded) -> None:
    """The same for a file that others may be asking for, too, or will: it stays where it is."""
    with context.answers.expect(inspection_of(event.subject)) as inspected:
        if not await _exists(context, entry_key(event.subject)):
            await context.publish(event)
            await _inspected(context, event, inspected)


async def _inspected(context: Context, event: FileUploaded, inspected: asyncio.Future[Event]) -> None:
    outcome = await answer(inspected, context.settings.answer_timeout, "Looking into the file")
    if isinstance(outcome, FileRejected):
        raise refusal_of(outcome.error, event.subject)
    if not isinstance(outcome, FileCommitted):
        raise VoxloomError(f"{outcome.type_name} is no answer to an upload")


async def _exists(context: Context, key: str) -> bool:
    try:
        await context.store.head(COLLECTION, key)
    except NotFound:
        return False
    return True


async def upload_url(context: Context, caller: Caller, name: str) -> str:
    """Where to put the bytes of a new file: what is put there becomes one when it is first asked for. Raises Conflict
    (`file_exists`, `stored_bytes_exceeded`)."""
    names = Names.of(caller)
    check_name(names, name)
    context.room.check()
    await limits.check_stored(context, caller)
    found = await locate_many(context.store, names.possible(name))
    if any(caller.owns(file.project) for file in found.values()):
        raise Conflict(
            f"There is a file {name[:200]!r} already, and files never change; choose another name, or delete it first.",
            code="file_exists",
            details={"object_name": name},
        )
    return await context.store.presign("PUT", COLLECTION, names.upload_key(name), expires=_secs(context))


async def download_url(context: Context, file: Located) -> str:
    return await context.store.presign("GET", COLLECTION, bytes_key(file.file_id), expires=_secs(context))


def _secs(context: Context) -> float:
    return URL_SECS if context.control is None else CLOSED_URL_SECS


async def named_file(context: Context, caller: Caller, name: str) -> Located:
    """The file that a path of v1 names. Raises NotFound (`file_not_found`), and InvalidInput where it is no good."""
    try:
        return await context.files.find(caller, name)
    except NotFound as error:
        raise NotFound(error.message, code="file_not_found", details={"object_name": name}) from None


async def delete(context: Context, caller: Caller, file: Located, *, expired: bool = False) -> None:
    """`expired`: nobody has asked for it, so what somebody keeps stays. Raises Conflict (`file_in_use`)."""
    told = {"project": file.project, "actor": caller.actor, "expired": expired}
    with context.answers.expect(deletion_of(file.file_id)) as deleted:
        await context.publish(FileDeleteRequested(subject=file.file_id, **told))
        outcome = await answer(deleted, context.settings.answer_timeout, "Deleting the file")
    if isinstance(outcome, FileDeleteRefused):
        raise Conflict(
            f"The file is part of {len(outcome.sample_ids)} samples; delete those first.",
            code="file_in_use",
            details={"file_id": file.file_id, "sample_ids": outcome.sample_ids},
        )
