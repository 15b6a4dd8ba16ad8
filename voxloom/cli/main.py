"""The `voxloom` program. What takes long to import is imported inside the commands: `--help` must be quick."""

from __future__ import annotations

import errno
import os
import sys
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voxloom.cli import algorithms, doctor, runs, servers
from voxloom.client._address import DEFAULT_URL
from voxloom.errors import Misconfigured, VoxloomError

INTERRUPTED = 130


class Program(TyperGroup):
    """Turns what goes wrong into one sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (VoxloomError, OSError) as error:
            if debugging() or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            typer.echo(sentence_of(error), err=True)
            raise typer.Exit(2 if isinstance(error, Misconfigured) else 1) from None


app = typer.Typer(
    cls=Program,
    name="voxloom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def voxloom(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="VOXLOOM_URL", help=f"The server's address (default {DEFAULT_URL})."),
    ] = None,
) -> None:
    """Deploy Python imaging algorithms and run them on volumes."""
    ctx.obj = url


app.command()(algorithms.deploy)
app.command()(runs.run)
app.command()(algorithms.ls)
app.command()(runs.status)
app.command()(runs.logs)
app.command()(runs.stop)
app.command()(algorithms.rm)
app.command()(doctor.doctor)
servers.add_to(app)


@app.command()
def version() -> None:
    """Show the version of this program."""
    from voxloom import __version__

    typer.echo(__version__)


def sentence_of(error: VoxloomError | OSError) -> str:
    if isinstance(error, VoxloomError) or error.strerror is None:
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror}. Set VOXLOOM_DEBUG=1 to see where it happened."


def debugging() -> bool:
    return os.environ.get("VOXLOOM_DEBUG", "") not in ("", "0")


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    typer.echo(
        f"Voxloom ran into something unexpected, {kind.__name__}: {error}. Set VOXLOOM_DEBUG=1 to see where.", err=True
    )


def main() -> None:
    if not debugging():
        sys.excepthook = _unexpected
    typer.main.get_command(app)(prog_name="voxloom")
