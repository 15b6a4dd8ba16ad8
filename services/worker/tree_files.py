"""An algorithm's folder, put together from its module and its assets as it was when it was packed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from shared.copying import copy_bytes

LINKED_FROM = 1 << 20
"""Bytes from which on a file is linked to the store's own, where nobody can write to that by mistake."""


class Asset(NamedTuple):
    path: str
    source: Path
    executable: bool = False


def add_assets(assets: Iterable[Asset], tree: Path) -> None:
    """To the folder `tree`, which has the modules. Small files are copies, which an algorithm may spoil for itself
    alone. Blocks. Raises OSError."""
    for asset in assets:
        place = tree.joinpath(*asset.path.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        if not _link(asset, place):
            _copy(asset, place)


def settle(fetched: Path, place: Path) -> None:
    """Puts an asset where runs find it by itself: a small one as a copy; a large one stays what it is. Blocks. Raises
    OSError."""
    if fetched.lstat().st_size < LINKED_FROM:
        place.unlink(missing_ok=True)
        _copy(Asset(place.name, fetched), place)
    else:
        fetched.replace(place)


def _copy(asset: Asset, place: Path) -> None:
    with asset.source.open("rb") as source, place.open("xb") as target:
        copy_bytes(source.fileno(), target.fileno())
    place.chmod(0o755 if asset.executable else 0o644)


def _link(asset: Asset, place: Path) -> bool:
    """Whether it could be linked: not where it is to be executable, which all links to it would be, nor for root, whom
    no mode keeps from writing."""
    told = asset.source.lstat()
    if asset.executable or told.st_size < LINKED_FROM or stat.S_IMODE(told.st_mode) & 0o222 or os.geteuid() == 0:
        return False
    try:
        os.link(asset.source, place, follow_symlinks=False)
    except OSError:
        return False  # Of another filesystem, or too many links.
    return True
