"""Small decisions of the gateway: devices, HDF5 at a glance, origins, problems."""

from __future__ import annotations

import pytest

from services.gateway.cors import is_own
from services.gateway.execute import choose_devices
from services.gateway.intake import HDF5_SIGNATURE, LARGEST_USER_BLOCK, Hdf5Probe
from shared.algorithms import AlgorithmEntry
from shared.versions import Description
from voxloom.errors import InvalidInput


def entry(supported: list[str], default: str) -> AlgorithmEntry:
    about = Description(algorithm_type="Generic", supported_devices=supported, default_device=default)
    return AlgorithmEntry(
        algorithm_id="a", project="default", name="A", major="1", minors={}, next_minor=0, about=about
    )


@pytest.mark.parametrize(
    ("supported", "default", "override", "classes", "warned"),
    [
        (["cpu"], "cpu", None, ["cpu"], False),
        (["cpu", "gpu"], "gpu", None, ["gpu", "cpu"], False),
        (["gpu"], "gpu", None, ["gpu"], False),
        (["cpu", "gpu"], "gpu", "cpu", ["cpu"], False),
        (["cpu", "gpu"], "cpu", " GPU ", ["gpu", "cpu"], False),
        (["cpu"], "cpu", "gpu", ["cpu"], True),
        (["cpu", "gpu"], "gpu", "cuda", ["gpu", "cpu"], True),
    ],
)
def test_the_wanted_device_comes_first_and_what_is_not_supported_is_warned_of(
    supported: list[str], default: str, override: str | None, classes: list[str], warned: bool
) -> None:
    devices = choose_devices(entry(supported, default), override)
    assert (devices.classes, devices.warning is not None) == (classes, warned)


@pytest.mark.parametrize("block", [0, 512, 1024, 65536])
@pytest.mark.parametrize("step", [1, 7, 512, 1 << 20])
def test_hdf5_is_recognised_behind_a_user_block_however_it_is_cut(block: int, step: int) -> None:
    data = bytes(block) + HDF5_SIGNATURE + b"rest"
    probe = Hdf5Probe()
    for start in range(0, len(data), step):
        probe.feed(data[start : start + step])
    probe.finish()
    assert probe.found


@pytest.mark.parametrize("data", [b"", b"\x89HDF", bytes(100) + HDF5_SIGNATURE, b"text " * 1000])
def test_what_has_no_signature_in_the_right_place_is_refused(data: bytes) -> None:
    probe = Hdf5Probe()
    probe.feed(data)
    with pytest.raises(InvalidInput, match="no HDF5 file"):
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
