"""`voxloom admin retention`: how long a project keeps what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.limits import NONE, number_between, read
from voxloom.cli.session import connect
from voxloom.cli.text import columns, moment

if TYPE_CHECKING:
    from voxloom.models import RetentionRecord

LEAST_DAYS, MOST_DAYS = 1.0, 36_500.0
"""As `models.RetentionRequest`."""
_NAMES = {"file_days": "files", "execution_days": "executions", "training_days": "trainings"}


def retention(
    ctx: typer.Context,
    project_id: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.", show_default=False)],
    files: Annotated[str | None, typer.Option(metavar="DAYS", help="Uploads and outputs.", show_default=False)] = None,
    executions: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Records and logs of executions.", show_default=False)
    ] = None,
    trainings: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Records and logs of trainings.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show after how many days a project's things go, or change that: what is not said stays as it is.

    `none`: as long as the server keeps them, which is the longest. `voxloom keep` keeps single things.
    """
    said = {"file_days": files, "execution_days": executions, "training_days": trainings}
    told = {name: read(f"--{_NAMES[name]}", text, _days) for name, text in said.items()}
    wanted = {name: value[0] for name, value in told.items() if value}
    with connect(ctx) as client:
        found = client.retention(project_id)
        if wanted:
            found = client.put_retention(project_id, **{**{name: getattr(found, name) for name in said}, **wanted})
    if as_json:
        show(found)
        return
    for line in columns(_rows(found)):
        typer.echo(line)


def _days(text: str) -> float:
    return number_between(text, LEAST_DAYS, MOST_DAYS, f"a number of days from {LEAST_DAYS:g} to {MOST_DAYS:g}")


def _rows(one: RetentionRecord) -> list[tuple[str, str, str]]:
    return [
        ("WHAT", "GOES AFTER", "THE SERVER'S"),
        *((told, _shown(getattr(one, name)), _shown(getattr(one.server, name))) for name, told in _NAMES.items()),
        *([("set", moment(one.changed_at), f"by {one.changed_by}")] if one.changed_at is not None else []),
    ]


def _shown(days: float | None) -> str:
    return NONE if days is None else f"{days:g} days"
