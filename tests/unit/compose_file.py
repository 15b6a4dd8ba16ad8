"""compose.yaml as `docker compose` reads it: parsed, then with its variables filled in."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
RACK = ROOT / "deploy" / "compose.rack.yaml"
OPS_PORT = 5482
CORE = {"gateway", "ingest", "deployer", "scheduler", "recorder"}

Service = dict[str, Any]

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+))")


def read(path: Path) -> dict[str, Any]:
    """With variables as they are written."""
    return copy.deepcopy(_parsed(path))


@functools.cache
def _parsed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def load(path: Path = COMPOSE, /, **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = _filled(read(path), variables)
    return found


def services(path: Path = COMPOSE, /, **variables: str) -> dict[str, Service]:
    found: dict[str, Service] = load(path, **variables)["services"]
    return found


def ours(**variables: str) -> dict[str, Service]:
    """Those that run Voxloom."""
    return {name: one for name, one in services(**variables).items() if one["image"].startswith("voxloom:")}


def filled(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME:-default}`, where the default may hold further ones; `$$` is a dollar."""
    done = ""
    while match := _VARIABLE.search(text):
        done += text[: match.start()]
        if match[1]:
            done, text = f"{done}$", text[match.end() :]
            continue
        default, text = _until_closed(text[match.end() :])
        done += variables.get(match[2]) or filled(default.removeprefix(":-"), variables)
    return done + text


def variables_of(text: str) -> Iterator[tuple[str, str]]:
    """Every variable of a text with its default."""
    for match in _VARIABLE.finditer(text):
        if match[2]:
            yield match[2], _until_closed(text[match.end() :])[0].removeprefix(":-")


def texts(tree: Any) -> Iterator[str]:
    """Every text in a parsed file."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for one in tree.values() if isinstance(tree, dict) else tree:
            yield from texts(one)


def seconds(period: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m|h)", period)
    assert match is not None, f"{period!r} is no period that this test can read"
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _filled(tree: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(tree, str):
        return filled(tree, variables)
    if isinstance(tree, list):
        return [_filled(one, variables) for one in tree]
    if isinstance(tree, dict):
        return {name: _filled(one, variables) for name, one in tree.items()}
    return tree


def _until_closed(text: str) -> tuple[str, str]:
    """Up to the brace that closes what was opened before, and what comes after it."""
    depth = 1
    for place, sign in enumerate(text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if not depth:
            return text[:place], text[place + 1 :]
    raise AssertionError(f"a brace is never closed: {text!r}")
