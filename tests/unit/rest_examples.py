"""The command lines of the REST examples, read as a shell and curl would read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from string import Template
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from services.gateway.http.routing import Route

SERVER = "http://server"
IDS = dict.fromkeys(("FILE", "ALGORITHM", "RUN", "SAMPLE", "CHECKPOINT"), "f568cef1-e57d-11f1-81fd-4dbb386e52cf")
_VALUES = {"-X", "-d", "--data-binary", "-o", "-T", "-H"}


class Asked(NamedTuple):
    method: str
    path: str
    query: Mapping[str, list[str]]
    body: str | None = None
    """None: there is none, or it is a file."""

    def fits(self, route: Route) -> bool:
        pattern = re.sub(r"{\w+[^}]*}", "[^/]+", route.path)
        return self.method == route.method and re.fullmatch(pattern, self.path) is not None


def asked_by(command: str, ids: Mapping[str, str] = IDS) -> Iterator[Asked]:
    """What each of its calls asks the server for."""
    for line in command.splitlines():
        inner = re.search(r"\$\((curl [^|)]*)", line)
        line = Template(inner[1] if inner else line).safe_substitute(ids, U=SERVER)
        words = shlex.split(line)
        if words[0] == "curl":
            yield _asked_by_curl(words[1:])


def _asked_by_curl(words: list[str]) -> Asked:
    given: dict[str, str] = {}
    addresses = []
    rest = iter(words)
    for word in rest:
        if word in _VALUES:
            given[word] = next(rest)
        elif not word.startswith("-"):
            addresses.append(urlsplit(word))
    [address] = addresses
    assert f"{address.scheme}://{address.netloc}" == SERVER
    sends = given.keys() & {"-d", "--data-binary"}
    method = given.get("-X", "POST" if sends else "GET")
    return Asked(method, address.path, parse_qs(address.query, keep_blank_values=True), given.get("-d"))
