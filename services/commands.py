"""The server's commands of the `voxloom` program."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from voxloom.errors import Misconfigured, VoxloomError

if TYPE_CHECKING:
    from shared.settings import Settings

CANNOT_START = 2
DIED = 3

Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).", show_default=False)]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0 takes a free one (default 5481).", show_default=False)
]
Data = Annotated[Path | None, typer.Option(help="Folder for all data.", show_default=False)]
Slots = Annotated[int | None, typer.Option(help="Runs at once (default: one per core).", show_default=False)]


Broker = Annotated[
    str | None,
    typer.Option(
        help="amqp://user:password@host:5672/vhost, or amqps://. Better given as VOXLOOM_BROKER: flags can be read by "
        "all users of the machine.",
        show_default=False,
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        help="s3://prefix-?endpoint=https://host; its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        show_default=False,
    ),
]
OpsPort = Annotated[
    int | None, typer.Option(help="Port for /livez, /readyz and /metrics (default: none).", show_default=False)
]


def up(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    slots: Slots = None,
    broker: Broker = None,
    store: Store = None,
    ops_port: OpsPort = None,
) -> None:
    """Start the whole system in this process; broker and store are embedded unless others are named."""
    _serve(
        list(_names()),
        host=host,
        port=port,
        data=data,
        slots=slots,
        broker=broker,
        store=store,
        ops_port=ops_port,
    )


def serve(
    services: Annotated[
        list[str], typer.Argument(help="gateway, ingest, deployer, scheduler, worker, recorder; one or several.")
    ],
    broker: Broker = None,
    store: Store = None,
    host: Host = None,
    port: Port = None,
    data: Data = None,
    slots: Slots = None,
    ops_port: OpsPort = None,
) -> None:
    """Start some services of a system that is spread over processes and machines, which share broker and store."""
    _serve(
        services,
        apart=True,
        host=host,
        port=port,
        data=data,
        slots=slots,
        broker=broker,
        store=store,
        ops_port=ops_port,
    )


def _names() -> Iterable[str]:
    from services.system import KINDS

    return KINDS


def _serve(names: list[str], *, apart: bool = False, **flags: object) -> None:
    """`apart`: the other services are elsewhere, so broker and store have to be ones that they reach, too."""
    from shared.settings import load_settings, unknown_variables
    from shared.telemetry import configure_logging

    try:
        settings = load_settings(**flags)
        configure_logging(settings.log_level)
        for warning in unknown_variables(os.environ):
            logging.getLogger("voxloom").warning(warning)
        if apart and not (settings.broker and settings.store):
            raise Misconfigured(
                "Services apart need a broker and a store that all of them reach: give --broker amqp://… and "
                "--store s3://… (or VOXLOOM_BROKER and VOXLOOM_STORE), or start everything at once with `voxloom up`."
            )
        _run(settings, names)
    except VoxloomError as error:
        _leave(str(error), CANNOT_START)
    except Exception as error:  # noqa: BLE001 - a service died of it; it is in the log, and the process must end with a code
        _leave(_farewell(error), DIED)


def _farewell(error: Exception) -> str:
    from services.system import ServiceLeft

    if isinstance(error, ServiceLeft):
        return f"Voxloom stopped to make way for another process: {error}. Start it again, and it stands by."
    return f"Voxloom stopped because a service died: {error}. The log above says where."


def _run(settings: Settings, names: list[str]) -> None:
    import uvloop

    from services.system import chosen, run
    from shared import openfiles
    from shared.memory import keep_buffers, keep_imports

    kinds = chosen(names)

    def ready(url: str) -> None:
        what = "Voxloom" if len(kinds) > 1 or url else f"The {kinds[0].name}"
        typer.echo(f"{what} is ready at {url}" if url else f"{what} is ready")

    keep_buffers()
    keep_imports()
    openfiles.allow_many()
    uvloop.run(run(settings, kinds, ready))


def _leave(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
