"""Under which address a server says that it is reached, and whether others may reach it."""

from __future__ import annotations

import socket

import pytest

from services.gateway.http.address import OwnAddress, is_open_to_others, own_address, shown_host, warning


def having(**addresses: str | None) -> OwnAddress:
    families = {socket.AF_INET: addresses.get("v4"), socket.AF_INET6: addresses.get("v6")}
    return lambda family: families[family]


@pytest.mark.parametrize(
    ("host", "own", "shown"),
    [
        ("127.0.0.1", having(v4="10.0.0.7"), "127.0.0.1"),
        ("lab.example", having(v4="10.0.0.7"), "lab.example"),
        ("fe80::7", having(), "[fe80::7]"),
        ("0.0.0.0", having(v4="10.0.0.7", v6="2001:db8::7"), "10.0.0.7"),
        ("", having(v4="10.0.0.7"), "10.0.0.7"),
        ("0.0.0.0", having(), "127.0.0.1"),
        ("::", having(v4="10.0.0.7", v6="2001:db8::7"), "[2001:db8::7]"),
        ("::", having(v4="10.0.0.7"), "10.0.0.7"),
        ("::", having(), "[::1]"),
    ],
)
def test_the_address_that_is_shown_is_one_that_others_reach_it_by(host: str, own: OwnAddress, shown: str) -> None:
    assert shown_host(host, own) == shown


def test_an_own_address_is_one_that_can_be_listened_on() -> None:
    address = own_address(socket.AF_INET)
    if address is not None:
        with socket.create_server((address, 0)) as listening:
            assert listening.getsockname()[0] == address


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("127.1.2.3", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        ("192.168.1.7", True),
        ("lab.example", True),
    ],
)
def test_whether_others_may_reach_it(host: str, is_open: bool) -> None:
    assert is_open_to_others(host) is is_open


def test_the_warning_names_the_address_and_what_it_means() -> None:
    assert "http://10.0.0.7:5481 can run code on this machine" in warning("http://10.0.0.7:5481", ["10.0.0.0/8"])
