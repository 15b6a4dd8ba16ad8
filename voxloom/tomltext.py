"""TOML that somebody has sent: looked over before it is parsed, and parsed only where that cannot take long.

A key of thousands of dotted parts costs the parser their square in time and memory, and every value is an object.
"""

from __future__ import annotations

import re
import tomllib
from itertools import accumulate
from typing import Any

LARGEST = 1 << 20
"""Bytes."""
MOST_PARTS = 16
"""Parts of a dotted key."""
DEEPEST = 32
"""Levels of lists and inline tables."""
MOST_VALUES = 20_000
"""Keys, items and tables together."""

_OPENS = re.compile(r"""#|\"\"\"|'''|"|'""")
_NEXT = {
    "#": re.compile(r"(?=\n)|\Z"),
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\[^\n]|["\n]'),
    "'": re.compile(r"['\n]"),
}
"""What counts in what is opened so: its end, an escape, or the line's end, which no string of one line goes beyond."""
_KEY = re.compile(r"[\w.\-]+")
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


class Unusable(ValueError):
    """It is no TOML, or more than anybody needs; says why."""


def parse(raw: bytes) -> dict[str, Any]:
    """Raises Unusable."""
    if len(raw) > LARGEST:
        raise Unusable(f"it is larger than {LARGEST} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Unusable("it is not UTF-8; save it as UTF-8") from None
    if (fault := excess(text)) is not None:
        raise Unusable(fault)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unusable(f"it is not TOML: {error}") from None
    except (ValueError, RecursionError):  # Numbers with thousands of digits.
        raise Unusable("it is not TOML that makes sense: a number is too long or the nesting too deep") from None


def excess(text: str) -> str | None:
    """What there is too much of in a document, of which nothing is believed; None if it can be parsed soon."""
    plain = outline(text)
    if max((word.count(".") for word in _KEY.findall(plain)), default=0) >= MOST_PARTS:
        return f"a key has more than {MOST_PARTS} dotted parts"
    if sum(map(plain.count, "=,[{")) > MOST_VALUES:
        return f"it has more than {MOST_VALUES} values; put large data into a file of its own"
    levels = accumulate(_BRACKETS[sign] for sign in plain if sign in _BRACKETS)
    if max(levels, default=0) > DEEPEST:
        return f"it is nested more than {DEEPEST} levels deep"
    return None


def outline(text: str) -> str:
    """The text without blanks and comments, and with `_` for every string; it ends where a string has no end, which is
    as far as a parser comes."""
    pieces: list[str] = []
    at = 0
    while opening := _OPENS.search(text, at):
        pieces.append(text[at : opening.start()])
        end = _end_of(opening.group(), text, opening.end())
        if end is None:
            return _without_blanks(pieces)
        pieces.append("" if opening.group() == "#" else "_")
        at = end
    return _without_blanks([*pieces, text[at:]])


def _end_of(opening: str, text: str, at: int) -> int | None:
    """Without a pattern for the whole: possessive ones are wrong in Python before 3.11.5, others take memory."""
    for found in _NEXT[opening].finditer(text, at):
        if not found.group().startswith("\\"):
            return None if found.group() == "\n" else found.end()
    return None


def _without_blanks(pieces: list[str]) -> str:
    return "".join(pieces).translate({ord(" "): None, ord("\t"): None})
