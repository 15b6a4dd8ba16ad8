"""`voxloom info`, `voxloom ls files`: files on the server, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect
from voxloom.cli.text import columns, moment, printable, show_table

if TYPE_CHECKING:
    from voxloom.filemodels import DatasetRecord, FileInfo, FileRecord, FileSummary


def info(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(help="The file's id.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show what is known of a file, and what is in it."""
    with connect(ctx) as client:
        record, inside = client.file(file_id), client.file_info(file_id)
    if as_json:
        from voxloom.cli.answers import Info

        show(Info(**{**record.model_dump(), **inside.model_dump()}))
        return
    for line in columns([(name, printable(value)) for name, value in facts_of(record)]):
        typer.echo(line)
    typer.echo()
    _show_datasets(inside)


def facts_of(record: FileRecord) -> list[tuple[str, str]]:
    """What people want to know of a file, by name; what is not known is left out."""
    facts = [
        ("file", record.file_id),
        ("size", size_text(record.size_bytes)),
        ("made", record.time_created),
        ("by run", record.execution_id or ""),
        ("expires", record.expires or ""),
        ("kept", "yes" if record.kept else ""),
        ("state", record.state if record.state != "available" else ""),
        *(("sample", one) for one in record.sample_ids),
    ]
    return [(name, value) for name, value in facts if value]


def _show_datasets(inside: FileInfo) -> None:
    if not inside.datasets:
        typer.echo("There is no dataset in it.")
        return
    heads = ("DATASET", "SHAPE", "DTYPE", "CHUNKS", "FILTERS", "STORED", "MIN", "MAX", "MEAN")
    show_table(heads, [_row(one) for one in inside.datasets], flexible="DATASET")
    for one in inside.datasets:
        for name, value in one.attributes.items():
            typer.echo(printable(f"{one.name} @ {name} = {json.dumps(value, ensure_ascii=False)}"))
    if inside.datasets_left_out:
        typer.echo(f"There are {inside.datasets_left_out} more.")


def _row(one: DatasetRecord) -> tuple[str, ...]:
    told = one.statistics
    figures = (told.min, told.max, told.mean) if told is not None else (None, None, None)
    return (
        one.name,
        _lengths(one.shape),
        one.dtype,
        _lengths(one.chunks or []),
        ", ".join(one.compression),
        size_text(one.stored_bytes),
        *("" if figure is None else f"{figure:.6g}" for figure in figures),
    )


def _lengths(lengths: list[int]) -> str:
    return " × ".join(map(str, lengths))


def size_text(size: float) -> str:
    """`512 B`, `1.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1024
    return f"{size:.3g} TiB"


Expiring = Annotated[bool, typer.Option("--expiring", help="Only files that expire within 2 days, or --within.")]
Within = Annotated[
    float | None,
    typer.Option(min=0.001, help="Only files that expire within so many days.", metavar="DAYS", show_default=False),
]
SOON_DAYS = 2.0
"""What `--expiring` means, where nobody says how many days."""


def show_files(
    ctx: typer.Context, number: int, sort: str | None, *, as_json: bool, expiring: float | None = None
) -> None:
    """`expiring`: only those that can go within so many days."""
    with connect(ctx) as client:
        # Which sorts there are, the server says.
        files = list(client.files(limit=number, sort=cast("Any", sort), expiring_within=expiring))
    if as_json:
        show(files)
    elif not files:
        typer.echo("There are no files yet." if expiring is None else f"No file expires within {expiring:g} days.")
    elif expiring is not None:
        rows = [
            (*row[:2], row[4], moment(one.expires_at or "")) for row, one in zip(_file_rows(files), files, strict=True)
        ]
        show_table(("FILE", "SIZE", "MADE (UTC)", "EXPIRES (UTC)"), rows, flexible="FILE")
        typer.echo("\n`voxloom keep files ID...` keeps them.")
    else:
        show_table(("FILE", "SIZE", "KIND", "RUN", "MADE (UTC)"), list(_file_rows(files)), flexible="RUN")


def _file_rows(files: list[FileSummary]) -> Iterator[tuple[str, ...]]:
    for one in files:
        made = one.time_created[:19].replace("T", " ")
        yield one.file_id, size_text(one.size_bytes), one.kind, one.execution_id or "", made
