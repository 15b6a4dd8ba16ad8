"""`voxloom keep`, `voxloom release`: what does not expire."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect, find_run
from voxloom.cli.text import moment
from voxloom.errors import InvalidInput, Unavailable, VoxloomError

if TYPE_CHECKING:
    from voxloom.client import Client
    from voxloom.keepmodels import KeepRecord

Act = Callable[["Client", str], "KeepRecord"]

KEEP: dict[str, Act] = {
    "files": lambda client, one: client.keep(one),
    "executions": lambda client, one: client.keep_execution(find_run(client, one).id),
    "trainings": lambda client, one: client.keep_training(one),
}
RELEASE: dict[str, Act] = {
    "files": lambda client, one: client.release(one),
    "executions": lambda client, one: client.release_execution(find_run(client, one).id),
    "trainings": lambda client, one: client.release_training(one),
}
What = Annotated[
    list[str],
    typer.Argument(metavar="KIND ID...", help=f"Ids of {', '.join(KEEP)}, after that word.", show_default=False),
]


def keep(
    ctx: typer.Context,
    what: What,
    let_go: Annotated[bool, typer.Option("--not", help="Let them expire again, as `voxloom release` does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep files, or runs with their log and outputs, from expiring."""
    _each(ctx, what, RELEASE if let_go else KEEP, as_json=as_json)


def release(ctx: typer.Context, what: What, as_json: AsJson = False) -> None:
    """Let files or runs that were kept expire again."""
    _each(ctx, what, RELEASE, as_json=as_json)


def _each(ctx: typer.Context, what: list[str], acts: dict[str, Act], *, as_json: bool) -> None:
    """All that can be, whatever becomes of the others."""
    kind, ids = what[0], list(dict.fromkeys(what[1:]))
    if kind not in acts or not ids:
        raise InvalidInput(
            "Say what, and which: `voxloom keep files ID...`, `keep executions ID...`, `keep trainings ID...`."
        )
    done: dict[str, KeepRecord] = {}
    with connect(ctx) as client:
        for one in ids:
            try:
                done[one] = acts[kind](client, one)
            except Unavailable:
                raise
            except VoxloomError as error:
                typer.echo(f"{one}: {error.message}", err=True)
    _tell(done, as_json=as_json)
    if len(done) < len(ids):
        raise typer.Exit(1)


def _tell(done: dict[str, KeepRecord], *, as_json: bool) -> None:
    if as_json:
        from voxloom.cli.answers import KeepTold

        show([KeepTold(id=one, **record.model_dump()) for one, record in done.items()])
        return
    for one, record in done.items():
        typer.echo(f"{one}: {sentence_of(record)}")


def sentence_of(record: KeepRecord) -> str:
    count = f"{record.file_count} {'file' if record.file_count == 1 else 'files'}"
    parts = f"its record, its log and {count}" if record.record else "the file"
    if record.kept:
        return f"kept: {parts}, {record.size_bytes} bytes."
    return "not kept; " + (
        "it stays." if record.expires_at is None else f"it may go from {moment(record.expires_at)} UTC on."
    )
