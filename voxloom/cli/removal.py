"""`voxloom rm`: files, records and algorithms go from the server, also where its disk is full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.file_removal import KEPT, Choice, OlderThan, ask, remove_files
from voxloom.cli.files import SOON_DAYS, Expiring, Within
from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect, find_run
from voxloom.errors import InvalidInput, Unavailable, VoxloomError

if TYPE_CHECKING:
    from voxloom.client import Client

ALGORITHMS = "algorithms"
FORMS = (
    "Say `voxloom rm NAME MAJOR` for an algorithm, or `voxloom rm files ID...`, `rm executions ID...`, "
    "`rm trainings ID...`."
)

Remove = Callable[["Client", str], object]

KINDS: dict[str, Remove] = {
    "executions": lambda client, one: client.delete_execution(find_run(client, one).id),
    "trainings": lambda client, one: client.delete_training(one),
    "samples": lambda client, one: client.delete_sample(one),
    "checkpoints": lambda client, one: client.delete_checkpoint(one),
}
"""What there can be many of, by the word for it."""


_IS_KEPT: dict[str, Callable[[Client, str], bool]] = {
    "executions": lambda client, one: find_run(client, one).record().kept,
    "trainings": lambda client, one: client.training(one).record().kept,
}


def rm(
    ctx: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME MAJOR | KIND ID...",
            help=f"An algorithm, by name and major version; or ids of files, {', '.join(KINDS)}, after that word.",
            show_default=False,
        ),
    ],
    minor: Annotated[int | None, typer.Option(min=0, help="Of an algorithm, only this minor version.")] = None,
    expiring: Expiring = False,
    within: Within = None,
    older_than: OlderThan = None,
    kept: Annotated[bool, typer.Option("--kept", help="Also what somebody keeps.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an algorithm, files, or the records of runs from the server."""
    kind, rest = what[0], what[1:]
    if kind == "files" and (rest or expiring or within is not None or older_than is not None):
        choice = Choice(rest, within or (SOON_DAYS if expiring else None), older_than, minor)
        remove_files(ctx, choice, also_kept=kept, yes=yes, as_json=as_json)
        return
    if expiring or within is not None or older_than is not None:
        raise InvalidInput("--expiring, --within and --older-than are for files: voxloom rm files --older-than DAYS.")
    if kind in KINDS and rest:
        if minor is not None:
            raise InvalidInput("--minor is for algorithms: voxloom rm algorithms NAME MAJOR --minor N.")
        _remove_many(ctx, kind, list(dict.fromkeys(rest)), also_kept=kept, yes=yes, as_json=as_json)
        return
    named = rest if kind == ALGORITHMS and len(what) == 3 else what
    _remove_algorithm(ctx, *_name_and_major(named), minor, yes=yes, as_json=as_json)


def _name_and_major(named: Sequence[str]) -> tuple[str, int]:
    """Raises InvalidInput."""
    if len(named) != 2 or not (named[1].isascii() and named[1].isdecimal()):
        raise InvalidInput(f"That names nothing to remove. {FORMS}")
    return named[0], int(named[1])


def _remove_algorithm(
    ctx: typer.Context, name: str, major: int, minor: int | None, *, yes: bool, as_json: bool
) -> None:
    what = f"{name} {major}" if minor is None else f"{name} {major}.{minor}"
    if not yes:
        ask(what)
    with connect(ctx) as client:
        said = client.remove(name, major, minor)
    if as_json:
        from voxloom.cli.answers import Done

        show(Done(what=what, said=said))
        return
    typer.echo(f"{what}: {said}")


def _remove_many(
    ctx: typer.Context, kind: str, ids: Sequence[str], *, also_kept: bool, yes: bool, as_json: bool
) -> None:
    """All that can be, whatever becomes of the others."""
    if not yes:
        ask(f"{len(ids)} {kind if len(ids) > 1 else kind.removesuffix('s')}")
    left: dict[str, str] = {}
    with connect(ctx) as client:
        for one in ids:
            if (fault := _fault_of_removing(client, kind, one, also_kept=also_kept)) is not None:
                left[one] = fault
                typer.echo(f"{one}: {fault}", err=True)
    if as_json:
        from voxloom.cli.answers import Removed

        show(Removed(kind=kind, removed=[one for one in ids if one not in left], left=left))
    else:
        typer.echo(f"Removed {len(ids) - len(left)} of {len(ids)} {kind}.")
    if left:
        raise typer.Exit(1)


def _fault_of_removing(client: Client, kind: str, one: str, *, also_kept: bool) -> str | None:
    """Why it was not removed. Raises Unavailable: then it is no use to go on."""
    try:
        if not also_kept and kind in _IS_KEPT and _IS_KEPT[kind](client, one):
            return KEPT
        KINDS[kind](client, one)
    except Unavailable:
        raise
    except VoxloomError as error:
        return error.message
    return None
