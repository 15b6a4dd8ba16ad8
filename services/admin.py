"""What `voxloom admin init` does on behalf of a server: the first admin, and a token for them in a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from messages.base import DEFAULT_PROJECT
from shared.audit.doing import Doing
from shared.audit.log import AuditLog
from shared.control import bootstrap, tokens
from shared.control.bootstrap import Unsure
from shared.control.store import ControlStore
from shared.objects.disk.placing import sync_folder
from shared.platform import make_store
from shared.settings import Settings, load_settings
from voxloom.errors import Conflict, StoreUnavailable, VoxloomError
from voxloom.values import format_time, utc_now

BESIDE = "beside the server"
"""In the audit, where an address would be."""
TOKEN_FILE = "admin.token"  # noqa: S105 - the name of a file


class FirstAdmin(NamedTuple):
    principal_id: str
    project_id: str
    file: Path
    """Where the token is."""
    expires_at: str
    auth: str
    """As the settings have it now."""


def init(*, principal: str, data: Path | None, store: str | None, out: Path | None, renew: bool = False) -> FirstAdmin:
    """Makes the first admin of the store that a server started here would use; with `renew` another token for one who
    is an admin. On one machine the server must be stopped for that. Raises Misconfigured, InvalidInput, NotFound,
    Conflict and StoreUnavailable."""
    settings = load_settings(data=data, store=store)
    bootstrap.check_id(principal)
    file = (out or _place(settings)).absolute()
    _check_free(file)
    return asyncio.run((_renew if renew else _init)(settings, principal, file))


def _place(settings: Settings) -> Path:
    return Path(TOKEN_FILE) if settings.store else settings.data / TOKEN_FILE


def _check_free(file: Path) -> None:
    if os.path.lexists(file):
        raise _taken(file)


def _taken(file: Path) -> Conflict:
    return Conflict(
        f"There is a {file} already, and a token may be in it; move it away, or name another file with --out.",
        code="file_exists",
    )


async def _init(settings: Settings, principal: str, file: Path) -> FirstAdmin:
    async with _opened(settings) as control:
        await bootstrap.check_nobody(control)
        return await first_admin(control, principal, file, settings.auth)


async def _renew(settings: Settings, principal: str, file: Path) -> FirstAdmin:
    async with _opened(settings) as control:
        return await another_token(control, principal, file, settings.auth)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[ControlStore]:
    store = make_store(settings)
    try:
        await store.open()
        yield ControlStore(store)
    finally:
        await store.close()


async def first_admin(control: ControlStore, principal: str, file: Path, auth: str) -> FirstAdmin:
    """The file is there before there is an admin, and goes where there is none: nobody else knows the token."""
    minted = tokens.mint()
    first = bootstrap.beginning(principal, minted, utc_now())
    with _kept(file, minted.text):
        await bootstrap.begin(control, first)
    return FirstAdmin(principal, first.project.id, file, format_time(first.token.expires_at), auth)


async def another_token(control: ControlStore, principal: str, file: Path, auth: str) -> FirstAdmin:
    minted = tokens.mint()
    with _kept(file, minted.text):
        async with _in_audit(control, "token.renew", principal, f"tokens/{minted.id}"):
            token = await bootstrap.renew(control, principal, minted, utc_now())
    return FirstAdmin(principal, DEFAULT_PROJECT, file, format_time(token.expires_at), auth)


@asynccontextmanager
async def _in_audit(control: ControlStore, action: str, principal: str, key: str) -> AsyncIterator[None]:
    """Written down before, and how it ended. Raises AuditUnavailable."""
    told = Doing(AuditLog(control.objects), action, principal, subject=principal, address=BESIDE)
    await told.begin(key)
    try:
        yield
    except VoxloomError as error:
        told.end("refused", error.code)
        raise
    else:
        told.end("done")
    finally:
        await told.log.close()


@contextmanager
def _kept(file: Path, token: str) -> Iterator[None]:
    """The file goes again where what is done meanwhile fails for sure. Raises Conflict, StoreUnavailable, OSError."""
    _write(file, token)
    try:
        yield
    except Unsure as error:
        raise StoreUnavailable(
            f"It is not known whether there is an admin now ({error}). Start the server, and see with `voxloom whoami` "
            f"whether it lets in the token in {file}; if not, remove that file and do it again."
        ) from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _write(file: Path, token: str) -> None:
    """For its owner's eyes only, and on the disk, or not at all. Raises Conflict and OSError."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _taken(file) from None
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(f"{token}\n")
            opened.flush()
            os.fsync(opened.fileno())
        sync_folder(file.parent)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
