"""The server's commands of the `voxloom` program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from voxloom.errors import VoxloomError

CANNOT_START = 2
DIED = 3

Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).", show_default=False)]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0 takes a free one (default 5481).", show_default=False)
]
Data = Annotated[Path | None, typer.Option(help="Folder for all data.", show_default=False)]
Slots = Annotated[int | None, typer.Option(help="Runs at once (default: one per core).", show_default=False)]


def up(host: Host = None, port: Port = None, data: Data = None, slots: Slots = None) -> None:
    """Start the whole system in this process: embedded broker, embedded store, all services."""
    from shared.settings import load_settings
    from shared.telemetry import configure_logging

    try:
        settings = load_settings(host=host, port=port, data=data, slots=slots)
        configure_logging(settings.log_level)
        _run_up(settings)
    except VoxloomError as error:
        _leave(str(error), CANNOT_START)
    except Exception as error:  # noqa: BLE001 - a service died of it; it is in the log, and the process must end with a code
        _leave(f"Voxloom stopped because a service died: {error}. The log above says where.", DIED)


def _run_up(settings: object) -> None:
    import uvloop

    from services.up import run
    from shared import openfiles
    from shared.memory import keep_buffers
    from shared.settings import Settings

    assert isinstance(settings, Settings)

    def ready(url: str) -> None:
        typer.echo(f"Voxloom is ready at {url}")

    keep_buffers()
    openfiles.allow_many()
    uvloop.run(run(settings, ready))


def _leave(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
