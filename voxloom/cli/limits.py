"""`voxloom admin limits`: what a project may take at most."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect
from voxloom.cli.text import columns, moment
from voxloom.errors import InvalidInput
from voxloom.limits import HOW, parse_duration

if TYPE_CHECKING:
    from voxloom.models import LimitsRecord

NONE = "none"
DEFAULT_WEIGHT = 1.0
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000.0
"""As `models.LimitsRequest`."""
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_UNITS["ti"] = 1 << 40
_BYTES = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))? ?([kmgt]i?)?b?", re.ASCII | re.IGNORECASE)


def limits(
    ctx: typer.Context,
    project_id: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.", show_default=False)],
    runs_at_once: Annotated[
        str | None, typer.Option(metavar="N", help="Runs that workers have at a time.", show_default=False)
    ] = None,
    runs_waiting: Annotated[
        str | None, typer.Option(metavar="N", help="Runs that wait; more are refused.", show_default=False)
    ] = None,
    stored_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of its files: bytes, or 500GB, 2TiB.", show_default=False)
    ] = None,
    max_wall_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of one run: seconds, or 90m, 2h.", show_default=False)
    ] = None,
    devices: Annotated[
        str | None, typer.Option(metavar="NAMES", help="That its runs may use: cpu,gpu.", show_default=False)
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Its part of the workers' time beside other projects.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a project may take at most and what it uses, or change that: what is not said stays as it is.

    `none` takes a limit away: --runs-at-once none. Of the weight it makes 1 again, which all projects begin with.
    """
    said: dict[str, Any] = {
        "runs_at_once": read("--runs-at-once", runs_at_once, _number),
        "runs_waiting": read("--runs-waiting", runs_waiting, _number),
        "stored_bytes": read("--stored-bytes", stored_bytes, _size),
        "max_wall_time": read("--max-wall-time", max_wall_time, _seconds),
        "devices": read("--devices", devices, _names),
        "weight": [DEFAULT_WEIGHT if one is None else one for one in read("--weight", weight, _weight)],
    }
    wanted = {name: value[0] for name, value in said.items() if value}
    with connect(ctx) as client:
        found = client.limits(project_id)
        if wanted:
            found = client.put_limits(project_id, **{**{name: getattr(found, name) for name in said}, **wanted})
    if as_json:
        show(found)
        return
    for line in columns(_rows(found)):
        typer.echo(line)


def read(option: str, text: str | None, parse: Callable[[str], Any]) -> list[Any]:
    """Empty: nothing was said. Raises InvalidInput."""
    if text is None:
        return []
    if text.strip().lower() == NONE:
        return [None]
    try:
        return [parse(text.strip())]
    except ValueError as error:
        raise InvalidInput(f"{option} takes {error}, or `{NONE}`; {text!r} is neither.") from None


def number_between(text: str, least: float, most: float, what: str) -> float:
    """Raises ValueError with `what` where it is none, also for `nan` and `inf`."""
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ValueError(what)
    return number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) == 0:
        raise ValueError("a whole number from 1 on")
    return int(text)


def _weight(text: str) -> float:
    what = f"a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}"
    return number_between(text, LEAST_WEIGHT, MOST_WEIGHT, what)


def _size(text: str) -> int:
    """Bytes."""
    found = _BYTES.fullmatch(text)
    if found is None:
        raise ValueError("a size, such as 500GB or 2TiB")
    whole, part, unit = found[1], found[2] or "0", _UNITS[(found[3] or "").lower()]
    fraction: int = int(part) * unit // 10 ** len(part)
    if (size := int(whole) * unit + fraction) == 0:
        raise ValueError("a size of more than nothing, such as 500GB or 2TiB")
    return size


def _seconds(text: str) -> float:
    seconds = parse_duration(text)
    if seconds is None:
        raise ValueError(f"a time ({HOW})")
    return seconds


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError("names of devices, such as cpu,gpu")
    return names


def _rows(one: LimitsRecord) -> list[tuple[str, str, str]]:
    used = one.used
    stored = "not counted yet" if used.stored_bytes is None else str(used.stored_bytes)
    return [
        ("LIMIT", "MAY", "HAS"),
        ("runs at once", _shown(one.runs_at_once), str(used.runs_at_once)),
        ("runs waiting", _shown(one.runs_waiting), str(used.runs_waiting)),
        ("stored bytes", _shown(one.stored_bytes), stored),
        ("max wall time", _shown(one.max_wall_time, " s"), ""),
        ("devices", ", ".join(one.devices) if one.devices is not None else NONE, ""),
        ("weight", f"{one.weight:g}", ""),
        *([("set", moment(one.changed_at), f"by {one.changed_by}")] if one.changed_at is not None else []),
    ]


def _shown(limit: float | None, unit: str = "") -> str:
    return NONE if limit is None else f"{limit:.15g}{unit}"
