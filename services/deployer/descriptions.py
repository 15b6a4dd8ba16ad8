"""What an algorithm says of itself, read in a process of its own: a pyproject may be made to take for ever."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import NamedTuple

import orjson

from services.deployer import limited_process
from shared.forkserver import ForkServer
from voxloom.bundle import PYPROJECT
from voxloom.errors import InvalidInput
from voxloom.manifest import Manifest
from voxloom.unpack import Algorithm

SECS = 30.0
MEMORY = 4 << 30
"""Bytes of address space, of which what it has imported reserves the most."""
_BY_THE_KERNEL = {-signal.SIGXCPU, -signal.SIGKILL}
"""How a process ends that has used its processor time up."""


class Described(NamedTuple):
    """`plain`: the sha256 of its pyproject without name and version. `lacks` says which dependencies are not here."""

    manifest: Manifest
    plain: str
    lacks: str


async def describe(forks: ForkServer, algorithm: Algorithm, work: Path) -> Described:
    """`work` is an empty folder of its own. Raises InvalidInput: `algorithm_runner_not_found`, `invalid_pyproject`."""
    told, report = work / "told.json", work / "report.json"
    pyproject = algorithm.assets.get(PYPROJECT)
    asked = {"pyproject": pyproject and str(pyproject.place), "files": sorted(algorithm.paths)}
    await asyncio.to_thread(told.write_bytes, orjson.dumps(asked))
    arguments = [str(told), str(report), str(MEMORY), str(int(SECS))]
    tried = await limited_process.run(forks, "describe", arguments, work, _left)
    said = await limited_process.report_of(report)
    if said is None:
        raise _unreadable(tried)
    if refused := said.get("refused"):
        raise InvalidInput(refused["message"], code=refused["code"], http_status=400)
    return Described(Manifest.model_validate(said["manifest"]), said["plain"], said["lacks"])


async def _left(passed: float) -> float:
    return SECS - passed


def _unreadable(tried: limited_process.Tried) -> InvalidInput:
    late = not tried.ended or tried.returncode in _BY_THE_KERNEL
    why = f"takes longer than {SECS:g} s" if late else f"needs more memory than {MEMORY} bytes"
    return InvalidInput(
        f"The pyproject.toml cannot be used: to read it {why}; make it smaller and simpler.",
        code="invalid_pyproject",
        http_status=400,
        details={"log": tried.printed},
    )
