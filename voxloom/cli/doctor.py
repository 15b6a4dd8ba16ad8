"""`voxloom doctor`: is this machine fit to run Voxloom, and is the server well?"""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli import datafolder
from voxloom.cli.json_output import AsJson, show
from voxloom.cli.scrub import scrub
from voxloom.cli.servers import load
from voxloom.cli.session import connect
from voxloom.errors import Misconfigured, Unavailable, VoxloomError

if TYPE_CHECKING:
    from voxloom.client import Client

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1 << 30
RUNNER_SECS = 30.0
CHECKS = "voxloom.checks"
"""Entry points of what the server knows to look at."""
LIBRARIES = (
    *("aiohttp", "h5py", "httpx", "numpy", "orjson", "prometheus_client"),
    *("pydantic", "pydantic_settings", "rich", "tifffile", "typer", "uvloop"),
)


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was seen, and, where that is a problem, what to do."""

    what: str
    seen: str
    next_step: str | None = None
    weak: bool = False
    """It works so, and may be meant so."""

    @property
    def is_problem(self) -> bool:
        return self.next_step is not None and not self.weak


def doctor(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(help="The server's data folder, where it was started with --data.", show_default=False),
    ] = None,
    scrubs: Annotated[
        bool,
        typer.Option("--scrub", help="Instead, read every stored object and compare it with its digest; takes long."),
    ] = False,
    give: Annotated[
        bool,
        typer.Option(
            "--give-digests",
            help="With --scrub: objects without a digest get that of their bytes as they are now.",
        ),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --scrub: name the objects that are fine, too.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend a damaged data folder, with the server stopped. Nothing is deleted."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine and the server; exit code 1 when something needs doing. What the settings leave open to
    others is named, too.
    """
    if scrubs:
        scrub(data=data, give=give, everything=everything, as_json=as_json)
        return
    findings: list[Finding] = []
    for finding in mend(data) if repair else examine(ctx, data):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{finding.what}: {finding.seen}" if repair else line_of(finding))
    sick = any(one.is_problem for one in findings)
    if as_json:
        from voxloom.cli.answers import Examined, FindingTold

        show(Examined(well=not sick, findings=[FindingTold(**asdict(one)) for one in findings]))
    if sick:
        raise typer.Exit(1)


def mend(data: Path | None) -> Iterator[Finding]:
    """What was mended in the data folder. Raises Misconfigured where nothing could be, or a server uses it."""
    for what, seen, _ in load("platform", CHECKS)(data=data, repair=True):
        yield Finding(what, seen)


def line_of(finding: Finding) -> str:
    if finding.next_step is None:
        return f"ok       {finding.what}: {finding.seen}"
    return f"{'weakness' if finding.weak else 'problem '} {finding.what}: {finding.seen}. {finding.next_step}"


def examine(ctx: typer.Context, data: Path | None = None) -> Iterator[Finding]:
    yield check_python(sys.version_info[:3])
    yield check_libraries(LIBRARIES)
    yield from check_settings(Path("voxloom.toml"))
    yield from check_data(data)
    yield from check_platform(data)
    yield from check_weaknesses(data)
    with connect(ctx) as client:
        yield from check_server(client)
    yield check_runner([sys.executable, "-c", "import voxloom.runner.base"])


def check_python(version: tuple[int, ...]) -> Finding:
    seen = ".".join(map(str, version))
    fits = version >= OLDEST_PYTHON
    return Finding("Python", seen, None if fits else "Voxloom needs 3.11 or newer; install one and Voxloom into it.")


def check_libraries(names: tuple[str, ...], load: Callable[[str], object] = importlib.import_module) -> Finding:
    failed = []
    for name in names:
        try:
            load(name)
        except ImportError as error:
            failed.append(f"{name} ({error})")
    if failed:
        return Finding("libraries", f"cannot import {', '.join(failed)}", "Install Voxloom anew: pip install voxloom.")
    return Finding("libraries", f"all {len(names)} can be imported")


def data_folder(told: Path | None = None) -> Path:
    """The one named, or the one that a server started here would take. Raises Misconfigured for settings that cannot
    be."""
    try:
        of_server = load("data_folder", CHECKS)
    except Misconfigured:
        of_server = None
    return datafolder.find(told, of_server)


def check_data(told: Path | None) -> Iterator[Finding]:
    try:
        folder = data_folder(told)
    except Misconfigured as error:
        yield Finding("data folder", "cannot be found", str(error))
        return
    yield check_folder(folder)


def check_settings(file: Path) -> Iterator[Finding]:
    """Whether the settings of a server that is started here can be read, where there are any."""
    import tomllib

    if not file.is_file():
        return
    try:
        tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        yield Finding("settings", f"{file} cannot be read ({error})", "Correct it; no server starts here until then.")
        return
    yield Finding("settings", f"{file} is read by a server that is started here")


def check_folder(folder: Path) -> Finding:
    """Whether the folder, or the one it will be made in, can be written to and has room."""
    place = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding("data folder", f"{folder}: {error.strerror}", "Give it to your user, or set VOXLOOM_DATA.")
    free = shutil.disk_usage(place).free
    seen = f"{folder}, {free / 2**30:.1f} GiB free{datafolder.use_of(folder)}"
    return Finding("data folder", seen, None if free >= LEAST_FREE_BYTES else "Make room, or set VOXLOOM_DATA.")


def check_platform(data: Path | None = None) -> Iterator[Finding]:
    """Whether a server that is started here reaches its broker and its store, where they are others'."""
    try:
        findings = load("platform", CHECKS)(data=data)
    except Misconfigured as error:
        yield Finding("broker and store", "cannot be looked at", str(error))
        return
    for what, seen, next_step in findings:
        yield Finding(what, seen, next_step)


def check_weaknesses(data: Path | None = None) -> Iterator[Finding]:
    """What the settings of a server that is started here leave open; nothing of settings that cannot be, which is told
    before."""
    with suppress(Misconfigured):
        for what, seen, next_step in load("weaknesses", CHECKS)(data=data):
            yield Finding(what, seen, next_step, weak=True)


def check_server(client: Client) -> Iterator[Finding]:
    """Whether a server answers and is ready, or else whether one could start there."""
    try:
        root = client.server()
    except Unavailable as error:
        yield check_port(client.url) if error.code == "no_server" else _silent(client.url, error)
        return
    except VoxloomError as error:
        yield _silent(client.url, error)
        return
    yield Finding("server", f"{root.name} {root.version} answers at {client.url}")
    yield _check_ready(client)


def _silent(url: str, error: VoxloomError) -> Finding:
    return Finding("server", f"what answers at {url} is no Voxloom server", f"{error} Or set VOXLOOM_URL.")


def _check_ready(client: Client) -> Finding:
    try:
        client.ready()
    except VoxloomError as error:
        return Finding("server ready", "no", f"{error} Look into the server's log.")
    return Finding("server ready", "yes")


def check_port(url: str) -> Finding:
    """For a server of this machine that does not answer, whether its port is free; a remote one must answer."""
    from voxloom.client._address import find_address

    address = find_address(url)
    if not address.local:
        return Finding("server", f"none answers at {url}", "Check the address (VOXLOOM_URL), or that it runs.")
    try:
        with socket.create_server((address.host, address.port)):
            pass
    except OSError as error:
        return Finding("server", f"port {address.port}: {error.strerror}", "Take another one: voxloom up --port N.")
    return Finding("server", f"none runs; port {address.port} is free, `voxloom up` starts one")


def check_runner(command: list[str]) -> Finding:
    """Whether a process for authors' code can be started, and how long that takes."""
    begun = time.monotonic()
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=RUNNER_SECS, check=True)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return Finding("runner process", f"not up after {RUNNER_SECS:g} s", "See what keeps this machine so busy.")
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no output"])[-1]
        return Finding("runner process", f"fails: {last}", "Install Voxloom anew: pip install voxloom.")
    except OSError as error:
        return Finding("runner process", f"cannot be started: {error.strerror}", "Check this Python installation.")
    return Finding("runner process", f"starts in {(time.monotonic() - begun) * 1000:.0f} ms")
