"""From algorithms' folders and zips to a bundle, which is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from voxloom.bundle import pack_folder
from voxloom.bundles.contents import Packed, describe
from voxloom.bundles.keys import Secret
from voxloom.bundles.reading import ALGORITHM, MOST_ALGORITHMS, SIZE_BYTES
from voxloom.bundles.sealing import SealedWriter
from voxloom.errors import InvalidInput
from voxloom.manifest import read_folder
from voxloom.unpack import LARGEST

_COPY = 1 << 20
_Ready = tuple[Packed, Path]


def build(out: Path, sources: Sequence[Path], secret: Secret | None = None) -> list[Packed]:
    """Writes the bundle `out` with these algorithms, each a folder or a zip, and says what is in it. Blocks.

    A bundle that was there is replaced once the new one is complete. The algorithms lie in it by name and version,
    so that minor versions are imported in their order.

    Raises:
        InvalidInput: something that could not be deployed; nothing was written.
        OSError: no room, no right to write.
    """
    if not 0 < len(sources) <= MOST_ALGORITHMS:
        _refuse(f"It takes 1 to {MOST_ALGORITHMS} algorithms, and {len(sources)} are given")
    _check_place(out, sources)
    with tempfile.TemporaryDirectory(prefix=".voxloom-bundle-", dir=out.parent) as folder:
        ready = [_prepare(source, Path(folder) / f"{number}.zip") for number, source in enumerate(sources)]
        ready.sort(key=lambda one: (one[0].name, int(one[0].major), int(one[0].minor)))
        _check_twice([packed for packed, _ in ready])
        made = Path(folder) / "bundle"
        _write(made, [archive for _, archive in ready], secret)
        made.replace(out)
    return [packed for packed, _ in ready]


def _refuse(why: str) -> NoReturn:
    raise InvalidInput(f"No bundle can be made: {why}.", code="invalid_bundle")


def _check_place(out: Path, sources: Sequence[Path]) -> None:
    if out.is_dir():
        _refuse(f"{out} is a folder; name a file, such as {out}.vxb")
    if not out.parent.is_dir():
        _refuse(f"there is no folder {out.parent} for it; make it first")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        _refuse(f"you may not write to {out.parent.absolute()}; choose another place")
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            _refuse(f"{out} would lie in {source} and become a part of it; choose another place")


def _prepare(source: Path, target: Path) -> _Ready:
    try:
        archive = _archive(source, target)
        return describe(archive), archive
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error.message}", code=error.code, http_status=error.http_status) from error


def _archive(source: Path, target: Path) -> Path:
    if source.is_file() and zipfile.is_zipfile(source):
        return source
    if not source.is_dir():
        raise InvalidInput("There is no algorithm there; name a folder with a Runner.py, or a zip of it.")
    read_folder(source)  # Says what is wrong before a whole disk is packed.
    with target.open("wb") as file:
        pack_folder(source, file)
    return target


def _check_twice(ready: Sequence[Packed]) -> None:
    for one, other in pairwise(ready):
        if (one.name, one.version) == (other.name, other.version):
            _refuse(f"{one.name!r} {one.version} is given twice; leave one out, or change its version")


def _write(place: Path, archives: Sequence[Path], secret: Secret | None) -> None:
    with place.open("wb") as file:
        writer = SealedWriter(file, secret)
        for archive in archives:
            _add(writer, archive)
        writer.close()
        file.flush()
        os.fsync(file.fileno())


def _add(writer: SealedWriter, archive: Path) -> None:
    with archive.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            _refuse(f"{archive} has more than {LARGEST} bytes")
        writer.write(ALGORITHM + size.to_bytes(SIZE_BYTES, "big"))
        while piece := file.read(min(_COPY, size)):
            writer.write(piece)
            size -= len(piece)
        if size:
            _refuse(f"{archive} has become shorter meanwhile; do it again")
