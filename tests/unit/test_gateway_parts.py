"""Small decisions of the gateway: JSON, hosts, logs, devices, HDF5 at a glance, origins, problems."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.http.cors import is_own
from services.gateway.http.hosts import may_be_called
from services.gateway.http.payloads import DEEPEST, parse_json
from services.gateway.operations.uploads import LARGEST_USER_BLOCK, Hdf5Probe
from services.gateway.views.live_logs import HALF, LiveLog
from shared.algorithms import AlgorithmEntry
from shared.pinning import choose_devices
from shared.settings import Settings
from shared.versions import Description
from voxloom.errors import InvalidInput
from voxloom.hdf5 import signatures


def entry(supported: list[str], default: str) -> AlgorithmEntry:
    about = Description(algorithm_type="Generic", supported_devices=supported, default_device=default)
    return AlgorithmEntry(
        algorithm_id="a", project="default", name="A", major="1", minors={}, next_minor=0, about=about
    )


@pytest.mark.parametrize(
    ("supported", "default", "override", "classes", "warned", "passed_over"),
    [
        (["cpu"], "cpu", None, ["cpu"], False, False),
        (["cpu", "gpu"], "gpu", None, ["gpu", "cpu"], False, False),
        (["gpu"], "gpu", None, ["gpu", "cpu"], False, False),
        (["gpu"], "gpu", "cpu", ["cpu"], True, False),
        (["gpu"], "gpu", "mps", ["gpu", "cpu"], True, True),
        (["cpu", "gpu"], "gpu", "cpu", ["cpu"], False, False),
        (["cpu", "gpu"], "cpu", " GPU ", ["gpu", "cpu"], False, False),
        (["cpu"], "cpu", "gpu", ["cpu"], True, True),
        (["cpu", "gpu"], "gpu", "cuda", ["gpu", "cpu"], True, True),
    ],
)
def test_the_wanted_device_comes_first_and_what_is_not_supported_is_warned_of(
    supported: list[str], default: str, override: str | None, classes: list[str], warned: bool, passed_over: bool
) -> None:
    devices = choose_devices(entry(supported, default), override)
    assert (devices.classes, devices.warning is not None, devices.passed_over) == (classes, warned, passed_over)


@pytest.mark.parametrize(("override", "passed_over"), [(None, False), ("cpu", True)])
def test_where_falling_back_is_off_an_algorithm_for_cards_waits_for_one(
    override: str | None, passed_over: bool
) -> None:
    devices = choose_devices(entry(["gpu"], "gpu"), override, fall_back=False)
    assert (devices.classes, devices.passed_over) == (["gpu"], passed_over)


@pytest.mark.parametrize("block", [0, 512, 1024, 65536])
@pytest.mark.parametrize("step", [1, 7, 512, 1 << 20])
def test_hdf5_is_recognised_behind_a_user_block_however_it_is_cut(block: int, step: int) -> None:
    data = bytes(block) + signatures.HDF5 + b"rest"
    probe = Hdf5Probe()
    for start in range(0, len(data), step):
        probe.feed(data[start : start + step])
    probe.finish()
    assert probe.found


@pytest.mark.parametrize("data", [b"", b"\x89HDF", bytes(100) + signatures.HDF5, b"text " * 1000])
def test_what_has_no_signature_in_the_right_place_is_refused(data: bytes) -> None:
    probe = Hdf5Probe()
    probe.feed(data)
    with pytest.raises(InvalidInput, match="no HDF5 file"):
        probe.finish()


def test_a_body_of_another_kind_is_told_what_it_is() -> None:
    probe = Hdf5Probe()
    for piece in (b"PK", b"\x03\x04 and so on"):
        probe.feed(piece)
    with pytest.raises(InvalidInput, match=r"no HDF5 file; it is a zip archive, as \.npz files are: save"):
        probe.finish()


def test_a_large_body_that_is_no_hdf5_is_refused_before_its_end() -> None:
    probe = Hdf5Probe()
    piece = bytes(1 << 20)
    for _ in range(LARGEST_USER_BLOCK // len(piece)):
        probe.feed(piece)
    with pytest.raises(InvalidInput):
        probe.feed(piece)


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:5481", "127.0.0.1:5481", True),
        ("https://Lab.example", "lab.example", True),
        ("http://evil.example", "127.0.0.1:5481", False),
        ("http://127.0.0.1:8080", "127.0.0.1:5481", False),
        ("null", "127.0.0.1:5481", False),
        ("http://[bad", "127.0.0.1:5481", False),
    ],
)
def test_a_page_is_own_if_it_came_from_the_same_address(origin: str, host: str, own: bool) -> None:
    assert is_own(origin, host) is own


@pytest.mark.parametrize(
    ("listening", "allowed", "host", "good"),
    [
        ("127.0.0.1", [], "127.0.0.1:5481", True),
        ("127.0.0.1", [], "localhost:5481", True),
        ("127.0.0.1", [], "LocalHost.", True),
        ("127.0.0.1", [], "[::1]:5481", True),
        ("127.0.0.1", [], "192.168.1.7", True),
        ("127.0.0.1", [], None, True),
        ("127.0.0.1", [], "evil.example:5481", False),
        ("127.0.0.1", [], "127.0.0.1.evil.example", False),
        ("127.0.0.1", [], "notlocalhost", False),
        ("127.0.0.1", [], "[::1", False),
        ("127.0.0.1", [], "localhost:80:80", False),
        ("localhost", [], "evil.example", False),
        ("::1", [], "evil.example", False),
        ("127.0.0.1", ["Lab.Example"], "lab.example:80", True),
        ("127.0.0.1", ["lab.example"], "other.example", False),
        ("0.0.0.0", [], "lab.example", True),
        ("0.0.0.0", ["lab.example"], "evil.example", False),
        ("0.0.0.0", ["lab.example"], "10.0.0.1:5481", True),
        ("lab.example", ["other.example"], "lab.example", True),
    ],
)
def test_a_server_goes_by_names_that_nobody_else_can_lead_to_it(
    listening: str, allowed: list[str], host: str | None, good: bool
) -> None:
    assert may_be_called(host, Settings(host=listening, allowed_hosts=allowed)) is good


JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text('"\\\\[]{},:a', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\\\[{', max_size=2), inner, max_size=3),
)


@given(JSON, st.integers(DEEPEST - 9, DEEPEST + 2))
def test_json_is_refused_when_it_is_nested_deeper_than_allowed_and_only_then(value: Any, wraps: int) -> None:
    for number in range(wraps):
        value = [value] if number % 2 else {'"[': value}
    raw = json.dumps(value).encode()
    if depth_of(value) > DEEPEST:
        with pytest.raises(InvalidInput, match="nested"):
            parse_json(raw)
    else:
        assert parse_json(raw) == value


def depth_of(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


@given(st.lists(st.tuples(st.integers(0, 3), st.text("ab", min_size=1, max_size=9)), max_size=20), st.integers(1, 12))
def test_a_log_read_piece_by_piece_is_what_was_heard(pieces: list[tuple[int, str]], most: int) -> None:
    # Given a log with gaps
    log, heard, end = LiveLog(1), dict[int, str](), 0
    for gap, text in pieces:
        log.add(end + gap, text)
        heard |= {end + gap + index: letter for index, letter in enumerate(text)}
        end += gap + len(text)
    # When it is read from its beginning on
    told, position = dict[int, str](), 0
    while (piece := log.next(position, most)) is not None:
        assert 0 < len(piece.text) <= most
        told |= {piece.offset + index: letter for index, letter in enumerate(piece.text)}
        position = piece.end
    # Then nothing is missing, and nothing made up
    assert told == heard


def test_a_log_that_is_too_long_is_read_on_after_the_gap_in_its_middle() -> None:
    log = LiveLog(1)
    for number in range(40):
        log.add(number * 50_000, "x" * 50_000)
    read, position = 0, 0
    while (piece := log.next(position, 1 << 14)) is not None:
        read, position = read + len(piece.text), piece.end
    assert position == 2_000_000
    assert 2 * HALF <= read < 2_000_000
