"""What an installation of the wheel leaves behind, and that it works from there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing of ours but the wheel; its dependencies are lent by the one that runs the tests."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "pip", "install", "--python", python]
    subprocess.run([*uv, "--quiet", "--offline", "--no-deps", wheel], check=True, cwd=folder)
    site = _site(python)
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _site(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", code], text=True).strip())


def test_the_wheel_puts_one_name_into_site_packages(installed: Path) -> None:
    names = {path.name for path in _site(installed).iterdir()} - {"lent.pth", "__pycache__"}
    assert {name for name in names if not name.endswith(".dist-info")} == {"voxloom"}


def test_up_works_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    command = [str(installed.parent / "voxloom"), "up", "--port", "0", "--data", str(tmp_path / "data")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=180)
    finally:
        process.kill()
    assert "ready at http://" in first, errors
    assert process.returncode == 0, errors


def test_importing_voxloom_pulls_in_nothing_heavy(installed: Path) -> None:
    code = """
import sys
before = set(sys.modules)
import voxloom
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    loaded = subprocess.check_output([installed, "-c", code], text=True)
    heavy = {"torch", "aio_pika", "aiobotocore", "numpy", "h5py", "httpx", "aiohttp", "pydantic", "typer", "rich"}
    assert not heavy & set(re.findall(r"'(\w+)'", loaded))


def test_a_runner_process_cannot_import_the_server(installed: Path) -> None:
    code = "import voxloom.runner, importlib.util as u; print([u.find_spec(n) for n in ('shared', 'services')])"
    assert subprocess.check_output([installed, "-c", code], text=True, cwd="/").strip() == "[None, None]"
