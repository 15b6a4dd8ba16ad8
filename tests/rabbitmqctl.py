"""Lines that operators type, as documents show them, done at the tests' broker over its management: a program of Erlang
for each takes two seconds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.brokers import Broker

_LINE = re.compile(r"^rabbitmqctl (.*)$", re.MULTILINE)


def lines_of(document: Path, about: str) -> list[str]:
    """Those that have this word."""
    return [line for line in _LINE.findall(document.read_text()) if about in shlex.split(line)]


def typed(broker: Broker, lines: Sequence[str], **told: str) -> None:
    """`told`: what stands in the place of words of the document; in patterns, of parts of them."""
    for line in lines:
        words = [_told(word, told) for word in shlex.split(line)]
        options = {name: words.pop(words.index(name) + 1) for name in ("--vhost", "--apply-to") if name in words}
        words = [word for word in words if word not in options]
        vhost = quote(options.get("--vhost", "/"), safe="")
        _do(broker, words[0], words[1:], vhost, options.get("--apply-to", "all"))


def _told(word: str, told: Mapping[str, str]) -> str:
    if word in told or not word.startswith("^"):
        return told.get(word, word)
    for name, meant in told.items():
        word = re.sub(rf"\b{name}\b", meant, word)
    return word


def _do(broker: Broker, command: str, words: Sequence[str], vhost: str, apply_to: str) -> None:
    match command, *words:
        case "add_vhost", name:
            broker.add_vhost(name)
        case "add_user", name, password:
            _put(broker, f"users/{name}", {"password": password, "tags": ""})
        case "set_permissions", user, configure, write, read:
            _put(broker, f"permissions/{vhost}/{user}", {"configure": configure, "write": write, "read": read})
        case "set_topic_permissions", user, exchange, write, read:
            rights = {"exchange": exchange, "write": write, "read": read}
            _put(broker, f"topic-permissions/{vhost}/{user}", rights)
        case "set_policy", name, pattern, definition:
            policy = {"pattern": pattern, "definition": json.loads(definition), "apply-to": apply_to}
            _put(broker, f"policies/{vhost}/{name}", policy)
        case "set_vhost_limits", limits:
            for name, value in json.loads(limits).items():
                _put(broker, f"vhost-limits/{vhost}/{name}", {"value": value})
        case "set_user_limits", user, limits:
            for name, value in json.loads(limits).items():
                _put(broker, f"user-limits/{user}/{name}", {"value": value})
        case _:
            raise AssertionError(f"the tests do not know `rabbitmqctl {command}` so: {words}")


def _put(broker: Broker, path: str, body: Mapping[str, Any]) -> None:
    broker.ask("PUT", path, body)
