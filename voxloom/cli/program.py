"""All commands, put together. What takes long to import is imported inside them: `--help` must be quick."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voxloom.cli import (
    access,
    admin,
    algorithms,
    audit,
    bundles,
    doctor,
    downloads,
    files,
    keeping,
    local,
    login,
    operations,
    removal,
    runs,
    servers,
    training,
)
from voxloom.cli.interrupts import INTERRUPTED
from voxloom.cli.json_output import AsJson, show, show_problem, wants_json
from voxloom.cli.session import Told
from voxloom.client._address import DEFAULT_URL
from voxloom.errors import Misconfigured, VoxloomError

_ADVICE = {
    errno.ENOSPC: "Free some space, or choose another place.",
    errno.EDQUOT: "Free some space, or choose another place.",
    errno.EROFS: "Choose another place.",
    errno.EACCES: "Check its permissions, or choose another place.",
    errno.EPERM: "Check its permissions, or choose another place.",
}


class Program(TyperGroup):
    """Turns what goes wrong into one sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (VoxloomError, OSError) as error:
            if debugging() or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            if wants_json(ctx):
                show_problem(error, sentence_of(error))
            else:
                typer.echo(sentence_of(error), err=True)
            raise typer.Exit(2 if isinstance(error, Misconfigured) else 1) from None


app = typer.Typer(
    cls=Program,
    name="voxloom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from voxloom import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def voxloom(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="VOXLOOM_URL", help=f"The server's address (default {DEFAULT_URL})."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(envvar="VOXLOOM_PROJECT", help="For which project; needed if you are in several."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version of this program.")
    ] = False,
) -> None:
    """Deploy Python imaging algorithms and run them on volumes."""
    ctx.obj = Told(url, project)


app.command()(local.new)
app.command()(local.check)
app.command()(local.debug)
app.command()(algorithms.deploy)
app.command()(runs.run)
app.command()(training.train)
app.command()(training.checkpoints)
app.command()(algorithms.ls)
app.command()(files.info)
app.command()(runs.status)
app.command()(runs.logs)
app.command()(runs.stop)
app.command()(downloads.save)
app.command()(algorithms.export)
app.command()(removal.rm)
app.command()(keeping.keep)
app.command()(keeping.release)
app.command()(operations.queues)
app.command()(operations.workers)
app.add_typer(bundles.bundle, name="bundle")
app.add_typer(operations.dead, name="dead")
app.command()(login.login)
app.command()(login.logout)
app.command()(login.passwd)
app.command()(access.whoami)
app.add_typer(access.token, name="token")
app.command()(audit.audit)
app.add_typer(admin.admin, name="admin")
app.command()(doctor.doctor)
servers.add_to(app)


@app.command("version")
def show_version(as_json: AsJson = False) -> None:
    """Show the version of this program."""
    if as_json:
        from voxloom import __version__
        from voxloom.cli.answers import Version

        show(Version(version=__version__))
        return
    _show_version(True)


def sentence_of(error: VoxloomError | OSError) -> str:
    if isinstance(error, VoxloomError) or error.strerror is None:
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    advice = _ADVICE.get(error.errno or 0, "Set VOXLOOM_DEBUG=1 to see where it happened.")
    said = os.strerror(error.errno) if error.errno else error.strerror  # h5py puts a whole story there
    return f"{place}{said}. {advice}"


def debugging() -> bool:
    return os.environ.get("VOXLOOM_DEBUG", "") not in ("", "0")


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    typer.echo(
        f"Voxloom ran into something unexpected, {kind.__name__}: {error}. Set VOXLOOM_DEBUG=1 to see where.", err=True
    )


def _silence(library: str) -> None:
    """What is wrong with a file we say ourselves; `voxloom.tiffwhole` listens."""
    logger = logging.getLogger(library)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())


def start() -> None:
    if not debugging():
        sys.excepthook = _unexpected
        warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
        _silence("tifffile")
    typer.main.get_command(app)(prog_name="voxloom")
