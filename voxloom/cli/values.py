"""Parameters as people type them: `-p sigma=2.5 -p modes=fast,safe`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from voxloom.errors import InvalidInput

if TYPE_CHECKING:
    from voxloom.models import Parameter

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def parse_parameters(typed: Sequence[str], declared: Sequence[Parameter]) -> dict[str, Any]:
    """Each `key=value` by the type that the algorithm declares for it; else as JSON, else as a text."""
    kinds = {parameter.name: parameter.config.type for parameter in declared}
    values: dict[str, Any] = {}
    for one in typed:
        name, equals, text = one.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"The parameter {one!r} has no value; write it as -p name=value.")
        values[name.strip()] = _parse(name.strip(), text, kinds.get(name.strip()))
    return values


def _parse(name: str, text: str, kind: str | None) -> Any:
    if kind is None:
        return _json_or_text(text)
    base, _, form = kind.partition("_")
    try:
        return _parse_list(base, text) if form == "list" else _PARSERS[base](text)
    except ValueError:
        raise InvalidInput(f"The parameter {name} takes {_expected(base, form)}, and {text!r} is none.") from None


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parse_list(base: str, text: str) -> list[Any]:
    """A JSON list, or items between commas."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [_PARSERS[base](item.strip()) for item in text.split(",")] if text.strip() else []


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _truth(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE


_PARSERS: dict[str, Callable[[str], Any]] = {"string": str, "int": _whole, "float": float, "bool": _truth}
_WORDS = {"string": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _expected(base: str, form: str) -> str:
    return f"a list, each item {_WORDS[base]}," if form == "list" else _WORDS[base]
