"""Exports beyond what a plain zip holds. The limit is brought near, so that nothing large has to be written."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.gateway.operations import archives

PIECE = bytes(range(250)) * 400
PIECES = 12
LIMIT = 300_000
LARGE = len(PIECE) * PIECES


class Pieces:
    """A store whose every asset comes in pieces."""

    async def stream(self, collection: str, key: str) -> AsyncIterator[bytes]:
        for _ in range(PIECES if key == "large" else 1):
            yield PIECE


@pytest.fixture
async def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    module = tmp_path / "module.zip"
    with zipfile.ZipFile(module, "w") as archive:
        archive.writestr("Runner.py", "x = 1\n")
    assets = {"weights/large.bin": "large", "weights/small.bin": "small"}
    sizes = {"large": LARGE, "small": len(PIECE)}
    plan = cast(
        Any, SimpleNamespace(pyproject=b"[project]\n", assets=assets, sizes=sizes, executable={"weights/small.bin"})
    )
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", LIMIT)
    return b"".join([piece async for piece in archives._zip(cast(Any, Pieces()), plan, module)])


async def test_an_export_with_a_very_large_asset_is_read_whole(exported: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        assert archive.testzip() is None
        assert archive.read("weights/large.bin") == PIECE * PIECES
        assert archive.read("weights/small.bin") == PIECE


async def test_it_says_so_from_the_large_asset_on(exported: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        offset = archive.getinfo("weights/large.bin").header_offset
    version, flags = struct.unpack_from("<HH", exported, offset + 4)
    assert (version >= 45, bool(flags & 0x08)) == (True, True)
    assert b"PK\x06\x06" in exported[-200:]


async def test_what_can_be_executed_is_marked_so(exported: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        marked = [info.filename for info in archive.infolist() if info.external_attr >> 16 & 0o100]
    assert marked == ["weights/small.bin"]
