"""How objects come to paths that callers have chosen, each checked once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from shared.objects.base import ObjectInfo
from shared.objects.embedded.digesting import Checks, place_body
from shared.objects.embedded.engine import Engine
from shared.objects.embedded.rows import Address, info_of


async def check_out(engine: Engine, checks: Checks, address: Address, target: Path, *, check: bool) -> ObjectInfo:
    """Raises NotFound and Damaged."""
    row, _ = await engine.with_file(address, partial(engine.blobs.check_out, target=target))
    if row.body is not None:
        await engine.movers.run(place_body, target, row)
    elif check and row.digest is not None:
        await engine.movers.run(checks.check_all, [(row, target)])
    return info_of(row)


async def link_many(
    engine: Engine, checks: Checks, addresses: Mapping[str, Address], targets: Mapping[str, Path]
) -> tuple[dict[str, ObjectInfo], dict[str, Path]]:
    """Those that are files, all in one go. And the targets of the others that are there: they are in the database, or
    were replaced this very moment. Raises Damaged."""
    rows = await engine.find_many(list(addresses.values()))
    files = {key: row.file for key, at in addresses.items() if (row := rows.get(at)) is not None and row.file}
    wanted = [(file, targets[key]) for key, file in files.items()]
    linked = await engine.movers.run(engine.blobs.check_out_many, wanted) if wanted else []
    placed = {key: rows[addresses[key]] for key, done in zip(files, linked, strict=True) if done}
    infos = {key: info_of(row) for key, row in placed.items()}
    if infos:
        await engine.movers.run(checks.check_all, [(row, targets[key]) for key, row in placed.items()])
    return infos, {key: targets[key] for key, at in addresses.items() if at in rows and key not in infos}
