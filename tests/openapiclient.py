"""Clients that openapi-python-client makes of our document, in an environment of its own: its packages are not ours.

`python -m tests.openapiclient` installs it; a test that needs it does so itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WANTED = "openapi-python-client==0.29.1"
PLACE = Path(sys.prefix) / "openapi-python-client-0.29.1"
"""Within our own environment, so it goes with it."""
MISSING = f"pip could not install {WANTED}; run `make test` where the package index is."


def installed() -> Path:
    """The environment; made first if it is not there. Raises RuntimeError."""
    with (Path(sys.prefix) / ".openapi-client-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PLACE / "complete").exists():
            _install()
    return PLACE


def _install() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    venv.create(PLACE)
    uv = Path(sys.executable).with_name("uv")
    _run([str(uv), "pip", "install", "--quiet", "--python", str(PLACE / "bin/python"), WANTED], MISSING)
    (PLACE / "complete").touch()


def generate(document: Mapping[str, Any], folder: Path) -> Path:
    """A folder from which the generated package `generated` can be imported."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.json").write_text('{"post_hooks": []}')
    told = ["--path", "openapi.json", "--config", "config.json", "--meta", "none", "--output-path", "generated"]
    _run([str(installed() / "bin/openapi-python-client"), "generate", *told], "No client could be made.", folder)
    return folder


def run(folder: Path, program: str, *arguments: str) -> str:
    """What a program prints that imports the generated client."""
    command = [str(installed() / "bin/python"), "-c", program, *arguments]
    return _run(command, "The client does not do it.", folder)


def _run(command: Sequence[str], otherwise: str, folder: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, cwd=folder, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{otherwise}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    installed()
