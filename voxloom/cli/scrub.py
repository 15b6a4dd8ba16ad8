"""`voxloom doctor --scrub`: every byte that the server has stored, compared with what was stored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer

from voxloom.cli.files import size_text
from voxloom.cli.json_output import show
from voxloom.cli.servers import load

CHECKS = "voxloom.checks"
_ADVICE = "Restore what is lost from a backup, or upload it and run again. Look at the disk, too."


class Report:
    """Says what is not as it should be as soon as it is found, and in the end what there was."""

    def __init__(self, *, everything: bool, quiet: bool = False) -> None:
        self._everything = everything
        self._quiet = quiet
        self.lines: list[tuple[str, str, bool]] = []
        """Of each object that was told of: what it is, what was seen, and whether that is a loss."""
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self.losses = 0

    def tell(self, one: Any) -> None:
        self._counts[str(one.state)] += 1
        self._bytes += one.size
        self.losses += one.state.is_loss
        if self._everything or one.state != "fine":
            what = f"{one.collection} {one.key!r}" if one.key else "the index of the object store"
            more = f" ({one.detail})" if one.detail else ""
            self.lines.append((what, f"{one.state}{more}", one.state.is_loss))
            self._say(f"{one.state}: {what}{more}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            typer.echo(text)

    def close(self) -> None:
        total = sum(self._counts.values())
        each = ", ".join(f"{count} {state}" for state, count in sorted(self._counts.items())) or "none"
        self._say(f"{total} objects, {size_text(self._bytes)}: {each}")
        if self.losses:
            self._say(_ADVICE)
        if self._counts["no digest"]:
            self._say(
                "Objects without a digest were stored by an older version, or a moment ago. Nobody can tell whether "
                "they have changed. With --give-digests they get that of their bytes as they are now."
            )


def scrub(*, data: Path | None, give: bool, everything: bool, as_json: bool = False) -> None:
    """Raises typer.Exit with code 1 where something is lost."""
    report = Report(everything=everything, quiet=as_json)
    load("scrub", CHECKS)(report.tell, data=data, give=give)
    report.close()
    if as_json:
        _show(report)
    if report.losses:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    from voxloom.cli.answers import Examined, FindingTold

    findings = [
        FindingTold(what=what, seen=seen, next_step=_ADVICE if lost else None) for what, seen, lost in report.lines
    ]
    show(Examined(well=not report.losses, findings=findings))
