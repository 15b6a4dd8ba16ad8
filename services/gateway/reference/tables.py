"""Pieces of Markdown: tables, and what they say of fields and parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LARGEST = 1 << 53
"""What is beyond is no limit that anybody comes to."""
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return _NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-")


def code(text: object) -> str:
    return f"`{text}`"


def codes(texts: Iterable[object]) -> str:
    return ", ".join(map(code, texts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("".join(f"| {one} " if one else "| " for one in line) + "|" for line in lines)


def kind(schema: Mapping[str, Any]) -> str:
    """The type in words, with its limits."""
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(map(kind, choices)))
    if "enum" in schema:
        *others, last = map(code, schema["enum"])
        return f"{', '.join(others)} or {last}" if others else last
    if "$ref" in schema:
        return code(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_plural(kind(schema.get('items', {})))}"
    return f"{schema.get('format') or schema.get('type', 'any')}{_limits(schema)}"


def _plural(word: str) -> str:
    return f"{word}s" if word in ("string", "integer", "number", "object") else word


def _limits(schema: Mapping[str, Any]) -> str:
    facts = {name: schema[name] for name in _LIMITS if abs(schema.get(name, _LARGEST)) < _LARGEST}
    if facts.keys() == {"minimum", "maximum"}:
        return f", {facts['minimum']} to {facts['maximum']}"
    return "".join(f", {_LIMITS[name]} {limit}" for name, limit in facts.items())


def default(schema: Mapping[str, Any], required: bool) -> str:
    value = schema.get("default")
    if required or value is None or value in ([], {}, ""):
        return "required" if required else ""
    return code(json.dumps(value).strip('"').removesuffix(".0"))
