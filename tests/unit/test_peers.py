"""Which machines an open server answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.gateway.http.address import check_reach
from services.gateway.http.peers import bare, check_peer, may_come
from services.system import System, chosen
from tests.each import each
from tests.given import Given
from voxloom.errors import Misconfigured, NotAllowed

LAB = ["10.1.0.0/16", "2001:db8::/32"]
MAY_COME = {
    "127.0.0.1": True,
    "127.8.8.8": True,
    "::1": True,
    "::ffff:127.0.0.1": True,
    "10.1.2.3": True,
    "::ffff:10.1.2.3": True,
    "10.2.2.3": False,
    "2001:db8::7": True,
    "2001:db9::7": False,
    "192.0.2.7": False,
    "unknown": False,
    "_hidden": False,
    "": False,
    "lab.example": False,
}


@each("address", MAY_COME)
def test_this_machine_may_come_and_those_of_the_networks(address: str) -> None:
    assert may_come(address, LAB) == MAY_COME[address]


BARE = {"10.1.2.3:80": "10.1.2.3", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "10.1.2.3": "10.1.2.3"}


@each("address", BARE)
def test_a_port_is_no_part_of_an_address(address: str) -> None:
    assert bare(address) == BARE[address]


HERE = {"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 5481)}


def asked(headers: dict[str, str], ends: dict[str, Any] = HERE, **settings: Any) -> None:
    transport = mock.Mock()
    transport.get_extra_info = ends.get
    request: web.Request = make_mocked_request("GET", "/", headers=headers, transport=transport)
    check_peer(request, Given(**settings))


OTHERS: dict[str, dict[str, Any]] = {
    "another machine": {"peername": ("192.0.2.7", 1), "sockname": ("192.0.2.1", 2)},
    "one that has hung up": {"sockname": ("127.0.0.1", 5481)},
    "one without any address": {"peername": "", "sockname": ""},
}


@each("who", OTHERS)
def test_another_machine_is_refused(who: str) -> None:
    with pytest.raises(NotAllowed):
        asked({}, OTHERS[who])


def test_this_machine_is_known_by_its_other_addresses_too() -> None:
    asked({}, {"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.1", 2)})


FOR_OTHERS = {
    "X-Forwarded-For": "192.0.2.7",
    "x-forwarded-for": "127.0.0.1, 192.0.2.7",
    "X-Real-IP": "192.0.2.7",
    "Forwarded": 'for="[2001:db8::7]:4711";proto=http, for=127.0.0.1',
    "forwarded": "proto=https;for=unknown",
}


@each("name", FOR_OTHERS)
def test_what_a_proxy_asks_for_another_machine_is_refused(name: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        asked({name: FOR_OTHERS[name]})
    assert refused.value.code == "address_not_allowed"


@each(
    "headers",
    [{}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1;proto=https"}, {"X-Forwarded-Proto": "https"}],
)
def test_what_it_asks_for_this_machine_is_not(headers: dict[str, str]) -> None:
    asked(headers)


def test_what_is_named_in_the_settings_may_ask_through_a_proxy() -> None:
    asked({"X-Forwarded-For": "10.1.2.3"}, open_to=LAB)


def test_a_closed_server_asks_who_and_not_from_where() -> None:
    asked({"X-Forwarded-For": "192.0.2.7"}, auth="closed")


STARTS: list[dict[str, Any]] = [
    {},
    {"host": "::1"},
    {"host": "192.0.2.1", "open_to": LAB},
    {"auth": "closed"},
    {"auth": "closed", "host": "0.0.0.0", "tls_certificate": "/c"},
    {"auth": "closed", "host": "0.0.0.0", "tls_elsewhere": True},
]
STARTS_NOT: list[dict[str, Any]] = [
    {"host": "0.0.0.0"},
    {"host": ""},
    {"host": "lab.example"},
    {"host": "0.0.0.0", "tls_certificate": "/c"},
    {"auth": "closed", "host": "0.0.0.0"},
    {"auth": "closed", "host": "0.0.0.0", "open_to": LAB},
]


@each("settings", STARTS)
def test_a_server_starts_where_it_cannot_be_misused(settings: dict[str, Any]) -> None:
    check_reach(Given(**settings))


@each("settings", STARTS_NOT)
def test_and_else_it_does_not(settings: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match=r"VOXLOOM_OPEN_TO|tls_elsewhere"):
        check_reach(Given(**settings))


async def test_a_server_that_may_not_start_opens_nothing(tmp_path: Path) -> None:
    """A closed one would write into the store that it is closed for good."""
    system = System(Given(data=tmp_path / "data", host="0.0.0.0", auth="closed"), chosen(["gateway"]))
    with pytest.raises(Misconfigured, match="tls_elsewhere"):
        await system.start()
    assert not (tmp_path / "data").exists()
