"""The server's commands. They live outside `voxloom`, which knows nothing of the server but their names."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer

import voxloom
from voxloom.errors import Misconfigured

GROUP = "voxloom.commands"
_HELP = {
    "up": "Start a whole server in this process.",
    "serve": "Start some services of a server that is spread over processes and machines.",
    "asyncapi": "Print the AsyncAPI document of the events.",
}
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}


def add_to(app: typer.Typer) -> None:
    """Commands that load the real one when they are called, and hand their arguments on."""
    for name, told in _HELP.items():
        app.command(name, help=told, context_settings=_PASS_ON)(_call)


def _call(ctx: typer.Context) -> None:
    name = str(ctx.info_name)
    real = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    real.command(name, context_settings={"help_option_names": ["-h", "--help"]})(load(name))
    typer.main.get_command(real)(args=ctx.args, prog_name=f"voxloom {name}")


def load(name: str, group: str = GROUP) -> Any:
    """The function behind a server command. Raises Misconfigured when the server is not installed."""
    installed = Path(voxloom.__file__).parent / "_server"
    if installed.is_dir() and str(installed) not in sys.path:
        sys.path.insert(0, str(installed))
    try:
        (found,) = entry_points(group=group, name=name)
        return found.load()
    except (ImportError, AttributeError, ValueError) as error:
        command = name.replace("-", " ")
        raise Misconfigured(
            f"`voxloom {command}` needs the server, which cannot be loaded here ({error}); install Voxloom anew."
        ) from error
