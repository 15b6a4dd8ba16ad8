"""`voxloom doctor --scrub`: every byte that the server has stored, compared with what was stored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer

from voxloom.cli.insides import size_text
from voxloom.cli.servers import load

CHECKS = "voxloom.checks"


class Report:
    """Says what is not as it should be as soon as it is found, and in the end what there was."""

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self.losses = 0

    def tell(self, one: Any) -> None:
        self._counts[str(one.state)] += 1
        self._bytes += one.size
        self.losses += one.state.is_loss
        if self._everything or one.state != "fine":
            what = f"{one.collection} {one.key!r}" if one.key else "the index of the object store"
            typer.echo(f"{one.state}: {what}" + (f" ({one.detail})" if one.detail else ""))

    def close(self) -> None:
        total = sum(self._counts.values())
        each = ", ".join(f"{count} {state}" for state, count in sorted(self._counts.items())) or "none"
        typer.echo(f"{total} objects, {size_text(self._bytes)}: {each}")
        if self.losses:
            typer.echo("Restore what is lost from a backup, or upload it and run again. Look at the disk, too.")
        if self._counts["no digest"]:
            typer.echo(
                "Objects without a digest were stored by an older version, or a moment ago. Nobody can tell whether "
                "they have changed. With --give-digests they get that of their bytes as they are now."
            )


def scrub(*, data: Path | None, give: bool, everything: bool) -> None:
    """Raises typer.Exit with code 1 where something is lost."""
    report = Report(everything=everything)
    load("scrub", CHECKS)(report.tell, data=data, give=give)
    report.close()
    if report.losses:
        raise typer.Exit(1)
