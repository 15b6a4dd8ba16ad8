"""Text for terminals and pipes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TextIO

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Without what could steer a terminal (logs are authors' text); of a line that rewrites itself, the end."""
    text = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def moment(time: str) -> str:
    """A time of a record, to the second."""
    return time[:19].replace("T", " ")


def tell(results: Sequence[object]) -> None:
    """What a command has made, a line each, on stdout."""
    sys.stdout.writelines(f"{printable(str(one))}\n" for one in results)


def is_terminal(stream: TextIO) -> bool:
    """Whether it can show more than lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: str) -> None:
    """A table on a terminal, one line per row, with the column `flexible` cut short where it is narrow; columns of
    plain text elsewhere."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        sys.stdout.writelines(f"{line}\n" for line in columns([heads, *rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head != flexible)
    for row in rows:
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    Console().print(table)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of a column under one another."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
