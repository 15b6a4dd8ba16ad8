"""The environments of the peers: each has its own below ours, with the versions of this table, from the package index
that pip is set up for. They go with ours."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

WANTED = {
    "celery": ("celery==5.7.0",),
    "taskiq": ("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", "uvloop==0.23.0"),
    "dramatiq": ("dramatiq==2.2.1", "pika==1.4.4"),
    "compox": ("compox==3.2.0",),
}
PLACE = Path(sys.prefix) / "peers"
INSTALL_SECS = 900.0
SAID = 300
"""Characters of what pip says when it fails."""


class NotThere(Exception):
    """It could not be installed: the text says why."""


def folder_of(name: str, wanted: tuple[str, ...], python: str = sys.version) -> str:
    """Another one for other versions."""
    return f"{name}-{sha256(repr((wanted, python)).encode()).hexdigest()[:12]}"


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, which is made if it is not there.

    Raises:
        NotThere
    """
    PLACE.mkdir(exist_ok=True)
    folder = PLACE / folder_of(name, WANTED[name])
    with (PLACE / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder, WANTED[name])
    return folder / "bin" / "python"


def _make(folder: Path, wanted: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    _run([*pip, "install", "--disable-pip-version-check", "--quiet", *wanted])
    (folder / "complete").touch()


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotThere(f"installing took longer than {INSTALL_SECS:g} s") from error
    if done.returncode:
        raise NotThere(f"it could not be installed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines() or ["pip failed"]
    return lines[-1][:SAID]
