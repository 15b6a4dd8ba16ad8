"""What part of the workers' time each project had, drawn over time: lines in SVG, made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.shares import Seen

WIDTH, HEIGHT = 720, 230
"""Of one panel."""
LEFT, RIGHT, TOP, BOTTOM = 46, 130, 44, 34
COLOURS = ("#0072b2", "#d55e00", "#009e73")
"""Okabe and Ito's, which people who see few colours tell apart."""
WINDOW = 2.0
"""Lengths of a run over which a part is taken."""


def draw(seen: Sequence[Seen]) -> str:
    panels = "\n".join(
        f'<g transform="translate(0 {HEIGHT * at})">\n{_panel(one)}\n</g>' for at, one in enumerate(seen)
    )
    day = datetime.now(UTC).date().isoformat()
    height = HEIGHT * len(seen) + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#222">\n<title>The part of the workers\' time that each project has, over time</title>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{panels}\n'
        f'<text x="{LEFT}" y="{height - 8}" font-size="10" fill="#666">Measured on an embedded server, {day}. '
        "Each point is the part of the last two lengths of a run.</text>\n</svg>\n"
    )


def _panel(one: Seen) -> str:
    fairness = one.fairness()
    single = f", single run begun after {one.begun_after('single'):.1f} lengths" if "single" in one.story.runs else ""
    lines = [
        f'<text x="{LEFT}" y="18" font-weight="bold">{one.story.title}</text>',
        f'<text x="{LEFT}" y="34" font-size="11" fill="#555">Jain\'s index {"by weight " if one.story.weights else ""}'
        f"at least {min(fairness):.3f}{single}; runs of {one.story.run_secs:g} s</text>",
        *_axes(one),
    ]
    for at, project in enumerate(one.story.runs):
        lines += _line(one, project, COLOURS[at], TOP + 16 + 18 * at)
    return "\n".join(lines)


def _axes(one: Seen) -> Iterator[str]:
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="10">{percent} %</text>'
    whole = one.until - one.since
    for second in range(0, int(whole) + 1, 5):
        place = f'x="{_x(second, whole):.1f}" y="{HEIGHT - BOTTOM + 15}"'
        yield f'<text {place} text-anchor="middle" font-size="10">{second} s</text>'


def _line(one: Seen, project: str, colour: str, label: float) -> Iterator[str]:
    whole = one.until - one.since
    points = " ".join(f"{_x(at - one.since, whole):.1f},{_y(part):.1f}" for at, part in _parts(one, project))
    weight = one.story.weights.get(project, 1.0)
    name = f"{project}: {one.story.runs[project]} runs" + (f", weight {weight:g}" if one.story.weights else "")
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield f'<text x="{WIDTH - RIGHT + 8}" y="{label}" fill="{colour}" font-size="11">{name}</text>'


def _parts(one: Seen, project: str) -> Iterator[tuple[float, float]]:
    """Moments, and its part of what all had shortly before."""
    for moment in one.times():
        since = max(one.since, moment - WINDOW * one.story.run_secs)
        all_had = sum(one.had(other, since, moment) for other in one.story.runs)
        if all_had:
            yield moment, one.had(project, since, moment) / all_had


def _x(seconds: float, whole: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / whole


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part
