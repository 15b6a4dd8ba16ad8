"""What is sent to a route, and what comes back, as the documents show it. A test asks each route's models whether they
would take it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

LONGEST_LINE = 120
LEFT_OUT = "…"
_SHORT = 100
"""An answer up to this length is shown with its ids whole."""
_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])*,?')
"""JSON up to and with a comma that is in no string."""


@dataclass(frozen=True)
class News:
    """A server-sent event."""

    name: str
    data: Mapping[str, Any]
    id: int | None = None


@dataclass(frozen=True)
class Example:
    command: str
    """For a shell. `{sent}` stands for the JSON of `sent`, `$U` for the address of the server."""
    answer: Any = None
    """JSON, text, or a list of News; of a record those fields that are worth showing. None: bytes."""
    sent: Any = None
    status: int = 200
    complete: bool = False
    """The server says no more than that, though its record has more fields: some it leaves out if they are empty."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Ids in `sent` that the command takes from variables of the shell, with the names of these."""


def command_of(example: Example) -> str:
    sent = orjson.dumps(example.sent).decode()
    for identifier, variable in example.variables.items():
        sent = sent.replace(identifier, f"'${variable}'")
    return example.command.replace("{sent}", sent)


def news_text(news: Sequence[News]) -> str:
    """As it comes over the line."""
    return "\n".join(_one_text(one, orjson.dumps(one.data).decode()) for one in news)


def _one_text(one: News, data: str) -> str:
    return (f"id: {one.id}\n" if one.id is not None else "") + f"event: {one.name}\ndata: {data}\n"


def shown(answer: Any, *, partial: bool) -> str:
    """An answer for people: long ids are cut short, long JSON has more lines. `partial`: records have other fields,
    too."""
    if isinstance(answer, str):
        return answer.rstrip("\n")
    if isinstance(answer, list) and answer and isinstance(answer[0], News):
        told = (_one_text(one, _cut(_json(one.data, partial and one.name == "status"))) for one in answer)
        return "\n".join(told).rstrip("\n")
    return "\n".join(wrapped(_cut(_json(answer, partial))))


def _json(answer: Any, partial: bool) -> str:
    text = orjson.dumps(answer).decode()
    if not partial:
        return text
    end = "}]" if isinstance(answer, list) else "}"
    return f"{text.removesuffix(end)},{LEFT_OUT}{end}"


def _cut(json: str) -> str:
    return json if len(json) <= _SHORT else _ID.sub(rf"\1-{LEFT_OUT}", json)


def wrapped(json: str) -> list[str]:
    """Lines of compact JSON, each but the first indented by a space."""
    lines = [""]
    for piece in filter(None, _PIECE.findall(json)):
        if lines[-1].strip() and len(lines[-1]) + len(piece) > LONGEST_LINE:
            lines.append(" ")
        lines[-1] += piece
    return lines
