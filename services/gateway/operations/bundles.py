"""Bundles that are imported when the gateway starts, by the rules of every deploy."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from pathlib import Path

from messages.deploys import DeployRequested
from services.gateway.context import Context
from services.gateway.operations import deploys
from shared.algorithms import load_entry
from shared.caller import LOCAL
from shared.outages import waiting
from shared.records.deploys import DeployState
from voxloom.backoff import Backoff
from voxloom.bundles import Bundle, Item, Packed, read_keys
from voxloom.errors import NotFound, Unavailable, VoxloomError
from voxloom.ids import new_id

log = logging.getLogger("voxloom.gateway")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


async def import_bundles(context: Context) -> None:
    """One after the other. What cannot be imported is a warning; nothing of it is raised."""
    for path in await asyncio.to_thread(_find, context.settings.bundles):
        await _import_patiently(context, path)


def _find(places: list[Path]) -> list[Path]:
    return [path for place in places for path in (sorted(place.glob("*.vxb")) if place.is_dir() else [place])]


async def _import_patiently(context: Context, path: Path) -> None:
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        pause = backoff.next()
        try:
            await _import(context, path)
            return
        except Unavailable as error:
            log.warning(
                "the bundle %s has to wait, the next try is in %.0f s: %s", path, pause, error, extra=waiting(error)
            )
        except (VoxloomError, OSError) as error:
            log.warning("the bundle %s was not imported: %s", path, error)
            return
        await asyncio.sleep(pause)


async def _import(context: Context, path: Path) -> None:
    settings = context.settings
    keys = await asyncio.to_thread(read_keys, settings.bundle_key_file, settings.bundle_passphrase_file, log.warning)
    work = context.store.scratch / f"bundle-{secrets.token_hex(8)}"
    with await asyncio.to_thread(path.open, "rb") as source:
        bundle = await asyncio.to_thread(Bundle, source, keys)
        await asyncio.to_thread(bundle.check)
        try:
            await asyncio.to_thread(work.mkdir)
            await _import_all(context, path, bundle, work)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


async def _import_all(context: Context, path: Path, bundle: Bundle, work: Path) -> None:
    items = bundle.items(work, limit=context.settings.max_algorithm_bytes)
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        try:
            await _import_one(context, path, item)
        except Unavailable:
            raise
        except VoxloomError as error:
            name = item.packed.name if item.packed else f"number {item.number + 1}"
            log.warning("of the bundle %s, %s was refused: %s", path, name, error)


async def _import_one(context: Context, path: Path, item: Item) -> None:
    if item.packed is None:
        raise item.fault or VoxloomError("it cannot be used")
    if await _is_there(context, item.packed):
        return
    deploy_id = new_id()
    key = deploys.source_key(deploy_id)
    event = DeployRequested(subject=deploy_id, project=LOCAL.project, source_key=key, path=path.name, merge=True)
    await deploys.store_file(context, key, item.archive)
    state = await _to_end(context, event)
    if state.completed is not None and state.completed.changed:
        log.info("of the bundle %s, %s %s was added", path, item.packed.name, item.packed.version)


async def _is_there(context: Context, packed: Packed) -> bool:
    """Whether a minor version has this very content: then nothing is sent at all."""
    try:
        entry = await load_entry(context.store, LOCAL.project, packed.name, packed.major)
    except NotFound:
        return False
    return any((one.module, one.assets) == (packed.module, packed.assets) for one in entry.minors.values())


async def _to_end(context: Context, event: DeployRequested) -> DeployState:
    """Waits as long as it takes: a deployer may come later."""
    again = False
    while True:
        try:
            return await deploys.run_to_end(context, event, context.settings.answer_timeout, once=again)
        except Unavailable as error:
            if error.code != "answer_timeout":
                raise
            again = True
