"""`voxloom rm files`: by id, or all that are old or expire soon; never what is kept or in use, unless told."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from voxloom.cli.files import size_text
from voxloom.cli.json_output import show
from voxloom.cli.session import connect
from voxloom.errors import InvalidInput, Unavailable, VoxloomError

if TYPE_CHECKING:
    from voxloom.client import Client
    from voxloom.filemodels import FileRecord

KEPT = "somebody keeps it; add --kept to remove it all the same, or `voxloom release` it first"
OlderThan = Annotated[
    float | None,
    typer.Option("--older-than", min=0, metavar="DAYS", help="All files older than so many days.", show_default=False),
]


class Choice(NamedTuple):
    """Which files: those that are named, or all that the other two say."""

    named: Sequence[str]
    within: float | None
    older_than: float | None
    minor: int | None = None

    def check(self) -> None:
        """Raises InvalidInput."""
        if self.minor is not None:
            raise InvalidInput("--minor is for algorithms: voxloom rm algorithms NAME MAJOR --minor N.")
        if self.named and (self.within is not None or self.older_than is not None):
            raise InvalidInput("Name the files, or say --expiring or --older-than, but not both.")
        for days in (self.within, self.older_than):
            if days is not None and not (math.isfinite(days) and days <= 36_500):
                raise InvalidInput("Say a number of days up to 36500.")


class Sorted(NamedTuple):
    """What is to be removed, and why the rest is not."""

    wanted: list[FileRecord]
    left: dict[str, str]


def remove_files(ctx: typer.Context, choice: Choice, *, also_kept: bool, yes: bool, as_json: bool) -> None:
    """All that can be, whatever becomes of the others."""
    choice.check()
    with connect(ctx) as client:
        wanted, left = _sorted(client, choice, also_kept=also_kept)
        total = len(wanted) + len(left)
        if wanted and not yes:
            ask(f"{_count(len(wanted))} ({size_text(sum(one.size_bytes for one in wanted))})")
        removed = [one for one in wanted if _is_removed(client, one, left, also_kept=also_kept)]
    _tell(removed, left, total, named=bool(choice.named), as_json=as_json)
    if choice.named and left:
        raise typer.Exit(1)


def _sorted(client: Client, choice: Choice, *, also_kept: bool) -> Sorted:
    found = Sorted([], {})
    for one in list(dict.fromkeys(choice.named)) or _found(client, choice):
        try:
            record = client.file(one)
        except Unavailable:
            raise
        except VoxloomError as error:
            found.left[one] = error.message
            continue
        if (why := why_left(record, also_kept=also_kept)) is None:
            found.wanted.append(record)
        else:
            found.left[one] = why
    return found


def why_left(record: FileRecord, *, also_kept: bool) -> str | None:
    """Why a file is not to be removed; None: it is."""
    if record.sample_ids:
        return f"The file is part of {len(record.sample_ids)} samples; delete those first."
    return KEPT if record.kept and not also_kept else None


def _found(client: Client, choice: Choice) -> list[str]:
    from voxloom.values import utc_now

    until = None if choice.older_than is None else utc_now() - timedelta(days=choice.older_than)
    return [one.file_id for one in client.files(until=until, expiring_within=choice.within, sort="oldest")]


def _is_removed(client: Client, one: FileRecord, left: dict[str, str], *, also_kept: bool) -> bool:
    """Looks once more: somebody may have kept it while we were asking."""
    try:
        if (why := why_left(client.file(one.file_id), also_kept=also_kept)) is not None:
            left[one.file_id] = why
        else:
            client.delete(one.file_id)
    except Unavailable:
        raise
    except VoxloomError as error:
        left[one.file_id] = error.message
    return one.file_id not in left


def _tell(removed: Sequence[FileRecord], left: dict[str, str], total: int, *, named: bool, as_json: bool) -> None:
    for one, why in left.items() if named else ():
        typer.echo(f"{one}: {why}", err=True)
    if as_json:
        from voxloom.cli.answers import Removed

        show(Removed(kind="files", removed=[one.file_id for one in removed], left=left))
        return
    typer.echo(f"Removed {len(removed)} of {total} files.")
    if removed and not named:
        typer.echo(f"They had {size_text(sum(one.size_bytes for one in removed))}.")
    if left and not named:
        typer.echo(f"Kept or in use, and left alone: {_count(len(left))}.")


def _count(number: int) -> str:
    return f"{number} {'file' if number == 1 else 'files'}"


def ask(what: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(f"Removing {what} cannot be undone; add --yes to do it without being asked.")
    typer.confirm(f"Remove {what} from the server for good?", abort=True)
