"""From an algorithm's bytes, or its folder on this machine, to the end of its deploy."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from messages.deploys import DeployRequested
from services.gateway.context import Context
from services.gateway.http.bodies import Body
from services.gateway.http.idempotency import Digest, Key, Once, fingerprint_of
from services.gateway.operations.uploads import read_through, store_body
from services.gateway.views.answers import answer, end_of_deploy
from shared.bus.limits import check_first
from shared.caller import Caller
from shared.objects.base import CHUNK, EXPIRING
from shared.records.deploys import DEPLOY, DeployState
from shared.records.store import DEPLOYS
from voxloom.bundle import pack_folder
from voxloom.errors import InvalidInput, NotAllowed, NotFound, StoreFull, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import DeployOverrides, RunError

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")


def source_key(deploy_id: str) -> str:
    return f"sources/{deploy_id}.zip"


def _invalid_zip(why: str) -> InvalidInput:
    return InvalidInput(
        f"{why}; send a zip with Runner.py and pyproject.toml in it.", code="invalid_deployment_zip", http_status=400
    )


async def begin(context: Context, event: DeployRequested, *, once: bool = False) -> DeployState | None:
    """Asks for the deploy of what lies in the store. If that cannot be asked, it is taken away again, unless others
    may be asking for it, too.

    `once`: it may have been asked for before, or even be over; then it is not asked for again, and what is known of it
    is returned.
    """
    if once and (known := await context.view.of(DEPLOY).look_up(event.subject)) is not None:
        return known
    try:
        await context.publish(event)
    except Unavailable:
        if not once:
            await context.store.delete(DEPLOYS, event.source_key)
        raise
    return None


async def run_to_end(context: Context, event: DeployRequested, timeout: float, *, once: bool = False) -> DeployState:
    """As `begin`. Raises what the deploy failed with, or Unavailable when it takes too long (it goes on)."""
    with context.answers.expect(end_of_deploy(event.subject)) as ended:
        state = await begin(context, event, once=once)
        if state is None or not state.ended:
            await answer(ended, timeout, f"The deploy {event.subject}")
            state = await context.view.of(DEPLOY).find(event.subject)
    if state is None or not state.ended:
        raise VoxloomError(f"there is no end of the deploy {event.subject}, though it was told")
    if state.error is not None:
        raise failure_of(state.error, event.subject)
    return state


def failure_of(error: RunError, deploy_id: str) -> VoxloomError:
    if error.retryable:
        kind = StoreFull if error.code == StoreFull.code else Unavailable
        return kind(error.message, code=error.code, details={"deploy_id": deploy_id})
    return InvalidInput(error.message, code=error.code, http_status=400, details={"deploy_id": deploy_id})


class Wanted(NamedTuple):
    """What is asked for. `path` is the source of a local deploy, and else what the record shows; `sent` is the request
    as it came, by which it is known again."""

    operation: str
    path: str
    overrides: DeployOverrides
    sent: Mapping[str, Any]
    merge: bool = False


async def ask_local(context: Context, caller: Caller, wanted: Wanted, key: Key | None) -> DeployRequested:
    """What is to be said, the bytes of a folder or zip on this machine being in the store. With a key it may have been
    said before."""
    deploy = _DeployLocal(context, caller, wanted)
    return await deploy.make() if key is None else await deploy.event(context.keys, key)


async def ask_upload(context: Context, caller: Caller, wanted: Wanted, key: Key | None, body: Body) -> DeployRequested:
    """The same for a zip that the client sends."""
    deploy = _DeployUpload(context, caller, wanted, body)
    return await deploy.make() if key is None else await deploy.event(context.keys, key)


def _requested(caller: Caller, wanted: Wanted) -> DeployRequested:
    deploy_id = new_id()
    event = DeployRequested(
        subject=deploy_id,
        project=caller.project,
        actor=caller.actor,
        source_key=source_key(deploy_id),
        path=wanted.path,
        overrides=wanted.overrides,
        merge=wanted.merge,
    )
    check_first(event)  # before anything is stored for it
    return event


class _DeployOnce(Once[DeployRequested]):
    """A deploy that failed for a reason that may pass, or of which nobody knows any more, has no claim to its key."""

    kind = DeployRequested

    def __init__(self, context: Context, caller: Caller, wanted: Wanted) -> None:
        self._context = context
        self._caller = caller
        self._wanted = wanted

    async def holds(self, event: DeployRequested) -> bool:
        state = await self._context.view.of(DEPLOY).look_up(event.subject)
        if state is not None:
            return state.error is None or not state.error.retryable
        try:
            await self._context.store.head(DEPLOYS, event.source_key)
        except NotFound:
            return False
        return True

    async def undo(self, event: DeployRequested) -> None:
        await self._context.store.delete(DEPLOYS, event.source_key)


class _DeployLocal(_DeployOnce):
    """Known again by what was asked for: the folder may have changed, and is not looked at again."""

    async def make(self) -> DeployRequested:
        event = _requested(self._caller, self._wanted)
        await store_local(self._context, event.source_key, self._wanted.path)
        return event

    def fingerprint(self) -> str:
        return fingerprint_of(self._wanted.operation, self._wanted.sent)


class _DeployUpload(_DeployOnce):
    def __init__(self, context: Context, caller: Caller, wanted: Wanted, body: Body) -> None:
        super().__init__(context, caller, wanted)
        self._body = body
        self._digest = Digest()

    async def make(self) -> DeployRequested:
        event, limit = _requested(self._caller, self._wanted), self._context.settings.max_algorithm_bytes
        zipped = replace(self._body, chunks=_zip_chunks(self._body.chunks))
        self._digest.note(await store_body(self._context, zipped, (DEPLOYS, event.source_key), limit=limit))
        return event

    def fingerprint(self) -> str:
        return fingerprint_of(self._wanted.operation, [self._digest.text, self._wanted.sent])

    async def read_again(self) -> None:
        digested = replace(self._body, chunks=self._digest.of(self._body.chunks))
        await read_through(digested, limit=self._context.settings.max_algorithm_bytes)


async def _zip_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body, if it begins as a zip does."""
    begin = b""
    async for chunk in chunks:
        if len(begin) < 4:
            begin += chunk[:4]
            if not any(signature.startswith(begin[:4]) for signature in ZIP_SIGNATURES):
                raise _invalid_zip("The body is no zip")
        yield chunk
    if len(begin) < 4:
        raise _invalid_zip("The body is no zip")


# --- a folder or zip on this machine ----------------------------------------------------------------------


async def store_local(context: Context, key: str, path: str) -> None:
    """Puts a folder (packed) or a zip into the store. Raises NotAllowed outside the deploy roots, else InvalidInput
    for what cannot be deployed."""
    source = await asyncio.to_thread(allowed_source, path, context.settings.deploy_roots)
    if await asyncio.to_thread(source.is_dir):
        with await asyncio.to_thread(_spool) as packed:
            await asyncio.to_thread(pack_folder, source, packed)
            await asyncio.to_thread(packed.seek, 0)
            await _store(context, key, packed)
        return
    await store_file(context, key, source)


async def store_file(context: Context, key: str, source: Path) -> None:
    """Puts a zip into the store as it is."""
    with await asyncio.to_thread(source.open, "rb") as file:
        await _store(context, key, file)


def _spool() -> IO[bytes]:
    return tempfile.TemporaryFile()


async def _store(context: Context, key: str, file: IO[bytes]) -> None:
    limit = context.settings.max_algorithm_bytes
    await context.store.put_stream(DEPLOYS, key, _pieces(file), limit=limit, tags=EXPIRING)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, CHUNK):
        yield piece


def allowed_source(path: str, roots: Sequence[Path]) -> Path:
    """The folder or zip that a user means by `path`, with all links followed. Blocks.

    Raises:
        NotAllowed: `deploy_path_not_allowed`: outside the roots, whether it exists or not.
        InvalidInput: `deploy_path_not_found`, `deployment_zip_not_found`, `invalid_deploy_path_type`,
            `invalid_deployment_zip`.
    """
    try:
        resolved = Path(path).resolve()
        allowed = any(resolved.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError):
        allowed = False  # A loop of links, a NUL: nothing below a root is like that.
    if not allowed:
        raise NotAllowed(
            "This path cannot be deployed from. An operator allows folders with the setting `deploy_roots`; "
            "or send the algorithm as a zip to POST /api/v1/algorithms.",
            code="deploy_path_not_allowed",
            details={"path": path},
        )
    return _checked_source(resolved, path)


def _checked_source(source: Path, path: str) -> Path:
    if source.is_dir():
        return source
    is_zip = source.suffix.lower() == ".zip"
    if not source.exists():
        code = "deployment_zip_not_found" if is_zip else "deploy_path_not_found"
        raise _unfit(path, "does not exist; check its spelling", code)
    if not is_zip or not source.is_file():
        raise _unfit(path, "is neither a folder nor a zip; name one of those", "invalid_deploy_path_type")
    with source.open("rb") as file:
        if file.read(4) not in ZIP_SIGNATURES:
            raise _unfit(path, "is no zip, though it is called so", "invalid_deployment_zip")
    return source


def _unfit(path: str, why: str, code: str) -> InvalidInput:
    return InvalidInput(f"The path {path[:200]!r} {why}.", code=code, http_status=400, details={"path": path})
