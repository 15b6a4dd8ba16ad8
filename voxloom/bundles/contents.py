"""What is in an algorithm's zip, read from the zip itself."""

from __future__ import annotations

from pathlib import Path

from voxloom.contents import digest_of
from voxloom.manifest import LARGEST_PYPROJECT, parse_manifest
from voxloom.models import Value
from voxloom.unpack import LARGEST, look_into_zip


class Packed(Value):
    """An algorithm in a bundle. Module and assets go by the names that they have in a server's store, too."""

    name: str
    major: str
    minor: str
    algorithm_type: str
    files: int
    bytes: int
    zip_bytes: int
    module: str
    assets: str
    warnings: list[str] = []

    @property
    def version(self) -> str:
        return f"{self.major}.{self.minor}"


def describe(archive: Path, *, limit: int = LARGEST) -> Packed:
    """What a deploy would see of a zip. Raises InvalidInput with what is wrong with it."""
    look = look_into_zip(archive, limit=limit, pyproject_limit=LARGEST_PYPROJECT + 1)
    manifest = parse_manifest(look.pyproject, {*look.module, *look.assets})
    seen = [*look.module.values(), *look.assets.values()]
    return Packed(
        name=manifest.name,
        major=manifest.major,
        minor=manifest.minor,
        algorithm_type=manifest.algorithm_type,
        files=len(seen),
        bytes=sum(one.size for one in seen),
        zip_bytes=archive.stat().st_size,
        module=digest_of({path: one.content for path, one in look.module.items()}),
        assets=digest_of({path: one.content for path, one in look.assets.items()}),
        warnings=manifest.warnings,
    )
