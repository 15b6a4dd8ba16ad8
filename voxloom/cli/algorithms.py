"""`voxloom deploy`, `ls`, `export`: algorithms from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.files import SOON_DAYS, Expiring, Within, show_files
from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect, principal
from voxloom.cli.text import printable, show_table
from voxloom.errors import InvalidInput

if TYPE_CHECKING:
    from voxloom.models import AlgorithmRecord, ExecutionSummary, TrainingSummary


def deploy(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The algorithm's folder, or a zip of it.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="A name in place of the algorithm's own.")] = None,
    major: Annotated[int | None, typer.Option(min=0, help="A major version in place of its own.")] = None,
    removable: Annotated[bool | None, typer.Option(help="Whether anybody may remove it.", show_default=False)] = None,
    exportable: Annotated[bool | None, typer.Option(help="Whether anybody may export it.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Put an algorithm on the server."""
    with connect(ctx) as client:
        record = client.deploy(path, name=name, major=major, removable=removable, exportable=exportable)
    if as_json:
        show(record)
        return
    for warning in record.warnings:
        typer.echo(f"Warning: {printable(warning)}", err=True)
    version = f"{record.algorithm_major_version}.{record.algorithm_minor_version}"
    typer.echo(f"Deployed {record.algorithm_name} {version}. Run it with `voxloom run {record.algorithm_name} FILE`.")


def ls(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(help="`files` or `trainings`: those in place of algorithms and runs.", show_default=False),
    ] = None,
    number: Annotated[int, typer.Option("-n", min=0, help="How many recent runs (files, trainings) to show.")] = 10,
    status: Annotated[str | None, typer.Option(help="Only runs of this status: FAILED, say.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="Only runs of this algorithm, by name or id.")] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="PRINCIPAL", help="Only runs that they have asked for; `me`: yours.", show_default=False),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="What comes first: newest, oldest, longest, shortest or status; of files newest, oldest, largest or "
            "smallest."
        ),
    ] = None,
    expiring: Expiring = False,
    within: Within = None,
    as_json: AsJson = False,
) -> None:
    """Show the algorithms and the recent runs, or the newest files, or the recent trainings."""
    if what not in (None, "files", "trainings"):
        raise InvalidInput(
            f"There is no list of {what!r}; say `files` or `trainings`, or nothing for algorithms and runs."
        )
    if what == "files":
        if by is not None or status is not None or algorithm is not None:
            raise InvalidInput("--by, --status and --algorithm are for runs: voxloom ls --by me.")
        show_files(ctx, number, sort, as_json=as_json, expiring=within or (SOON_DAYS if expiring else None))
        return
    if expiring or within is not None:
        raise InvalidInput("What expires is told of files: voxloom ls files --expiring.")
    wanted = status.upper() if status is not None else None
    if what == "trainings":
        with connect(ctx) as client:
            asked = principal(client, by)
            trainings = list(
                client.trainings(limit=number, status=wanted, algorithm=algorithm, sort=sort, submitted_by=asked)
            )
        _show_trainings(trainings, as_json=as_json)
        return
    with connect(ctx) as client:
        algorithms = client.algorithms()
        asked = principal(client, by)
        recent = list(
            client.executions(limit=number, status=wanted, algorithm=algorithm, sort=sort, submitted_by=asked)
        )
    if as_json:
        from voxloom.cli.answers import Listed

        show(Listed(algorithms=algorithms, executions=recent))
        return
    _show_algorithms(algorithms)
    if number:
        typer.echo()
        _show_executions(recent)


def _show_algorithms(algorithms: list[AlgorithmRecord]) -> None:
    if not algorithms:
        typer.echo("No algorithm is deployed yet. Deploy one with `voxloom deploy FOLDER`.")
        return
    rows = [
        (
            one.algorithm_name,
            f"{one.algorithm_version}.{one.latest_algorithm_minor_version}",
            one.algorithm_type,
            one.default_device,
            one.algorithm_description,
        )
        for one in algorithms
    ]
    show_table(("ALGORITHM", "VERSION", "TYPE", "DEVICE", "DESCRIPTION"), rows, flexible="DESCRIPTION")


def _show_executions(recent: list[ExecutionSummary]) -> None:
    if not recent:
        typer.echo("Nothing has been run yet. Run something with `voxloom run ALGORITHM FILE -o OUT`.")
        return
    _show_runs("RUN", [(one.execution_id, one) for one in recent])


def _show_trainings(recent: list[TrainingSummary], *, as_json: bool) -> None:
    if as_json:
        show(recent)
    elif recent:
        _show_runs("TRAINING", [(one.training_id, one) for one in recent])
    else:
        typer.echo("Nothing has been trained yet. Train an algorithm with `voxloom train ALGORITHM -d KEY=FILE`.")


def _show_runs(what: str, recent: Sequence[tuple[str, ExecutionSummary | TrainingSummary]]) -> None:
    """With the errors of those that have failed, where there are such."""
    rows = [
        (
            run,
            f"{one.algorithm_name} {one.algorithm_major_version}.{one.algorithm_minor_version or '?'}",
            str(one.status),
            "" if str(one.status) == "FAILED" else f"{one.progress:.0%}",
            (one.time_submitted or one.time_started or "")[:19].replace("T", " "),
            one.error.message if one.error else "",
        )
        for run, one in recent
    ]
    titles = (what, "ALGORITHM", "STATUS", "DONE", "SUBMITTED (UTC)", "ERROR")
    if any(row[-1] for row in rows):
        show_table(titles, rows, flexible="ERROR")
    else:
        show_table(titles[:-1], [row[:-1] for row in rows], flexible=what)


def export(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The algorithm's name.", show_default=False)],
    major: Annotated[int, typer.Argument(min=0, help="Its major version.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The zip to write; else NAME_vMAJOR.zip.", show_default=False)
    ] = None,
    minor: Annotated[int | None, typer.Option(min=0, help="This minor version; else the latest.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="With what this checkpoint has learnt.")] = None,
    as_json: AsJson = False,
) -> None:
    """Save an algorithm of the server as a zip that can be deployed again."""
    named = re.sub(r"[^\w.-]", "_", name)
    target = out or Path(f"{named}_v{major}.zip")
    with connect(ctx) as client:
        path = client.export(name, major, target, minor=minor, checkpoint=checkpoint)
    if as_json:
        from voxloom.cli.answers import FileMade

        show(FileMade(file=str(path)))
        return
    typer.echo(f"Exported {name} to {path}. Deploy it with `voxloom deploy {path}`.")
