"""Name and version in the text of a pyproject: changed there, and nowhere else.

An exported algorithm says which minor version it is, so that it deploys as that one. Its pyproject is a file of its own
like any other, so everything else in it (comments, order, quotes) has to stay byte by byte. So what a deploy has
overridden is not written over what the author wrote but below it, in a section that can be taken off again.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, NamedTuple

from voxloom.bundle import RUNNER
from voxloom.manifest import CARRIED, EXPORTED, parse_manifest

_TOKEN = re.compile(
    r"""\#[^\n]*|(?P<equals>=[ \t]*)?(?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')""",
    re.DOTALL,
)
"""Comments and strings of TOML, and whether a string follows `=`: that of a value does, and no key's."""

_TITLE = f"""
# The algorithm that this is an export of was deployed with these in place of what is said above.
[{EXPORTED}]
"""
_SECTION = re.compile(re.escape(_TITLE) + rf"(?:(?:{'|'.join(CARRIED)}) = (?:true|false)\n)+\Z")


class _Span(NamedTuple):
    start: int
    stop: int


def with_identity(pyproject: bytes, name: str, major: str, minor: str) -> bytes:
    """A pyproject that says this name and version; what follows the second number of its version stays.

    What says so already is returned as it is. `pyproject` is one that `parse_manifest` has taken.
    """
    text = pyproject.decode()
    project = tomllib.loads(text)["project"]
    if project["name"] != name:
        text = _replaced(text, "name", project["name"], name)
    numbers, rest = _split(project["version"])
    if [int(number) for number in numbers] != [int(major), int(minor)]:
        text = _replaced(text, "version", project["version"], _joined(major, minor, rest))
    return text.encode()


def with_overrides(pyproject: bytes, *, removable: bool, exportable: bool) -> bytes:
    """A pyproject that says these two at its end, where it does not say so anyway.

    `pyproject` is one that `parse_manifest` has taken.
    """
    plain = _without_section(pyproject)
    said = parse_manifest(plain, {RUNNER})
    wanted = {"removable": removable, "exportable": exportable}
    lines = [f"{key} = {json.dumps(wanted[key])}\n" for key in CARRIED if wanted[key] != getattr(said, key)]
    return plain + (_TITLE + "".join(lines)).encode() if lines else plain


def _without_section(pyproject: bytes) -> bytes:
    return _SECTION.sub("", pyproject.decode()).encode()


def without_identity(pyproject: bytes) -> bytes:
    """The same bytes for all that `with_identity` and `with_overrides` make of one pyproject, and other ones for any
    other."""
    text = _without_section(pyproject).decode()
    project = tomllib.loads(text)["project"]
    text = _replaced(text, "name", project["name"], "")
    return _replaced(text, "version", project["version"], _joined("", "", _split(project["version"])[1])).encode()


def _split(version: str) -> tuple[list[str], list[str]]:
    parts = version.strip().split(".")
    return parts[:2], parts[2:]


def _joined(major: str, minor: str, rest: list[str]) -> str:
    return ".".join((major, minor, *rest))


def _replaced(text: str, key: str, old: str, new: str) -> str:
    start, stop = _place(text, key, old)
    return f"{text[:start]}{_quoted(new)}{text[stop:]}"


def _place(text: str, key: str, value: str) -> _Span:
    """Where the string `project.<key>`, which is `value`, stands, quotes and all.

    Every value that reads so gets a number in its place; parsed again, the document says which one it was.
    """
    spans = [span for span in _values(text) if _read(text[span.start : span.stop]) == value]
    marked, at = "", 0
    for index, span in enumerate(spans):
        marked += f"{text[at : span.start]}{index}"
        at = span.stop
    number = int(tomllib.loads(marked + text[at:])["project"][key])
    return spans[number]


def _values(text: str) -> list[_Span]:
    return [_Span(*token.span("string")) for token in _TOKEN.finditer(text) if token["equals"] is not None]


def _read(string: str) -> Any:
    return tomllib.loads(f"value = {string}")["value"]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
