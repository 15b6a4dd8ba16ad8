"""What a machine offers, from what was found on it; and what is said when a card is full."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from services.worker import devices
from services.worker.devices import Device, discover, offers_of, visible
from shared.settings import Settings
from voxloom.runner.cards import CARD_FULL, full_card, is_full_card
from voxloom.runner.serving import run_error

TWO = {"cuda": ["H100", "H100"], "mps": False}


@pytest.mark.parametrize(
    ("found", "lanes"),
    [
        ({}, []),
        ({"cuda": [], "mps": False}, []),
        (TWO, [("gpu", "cuda", 2, ["H100", "H100"])]),
        ({"cuda": [], "mps": True}, [("mps", "mps", 1, [])]),
    ],
)
def test_what_was_found_is_offered(found: Mapping[str, Any], lanes: list[tuple[str, str, int, list[str]]]) -> None:
    offered = [offer.lane for offer in offers_of(found, Settings(), {})]
    assert [(one.device_class, one.device, one.slots, one.cards) for one in offered] == lanes


def test_every_slot_has_a_card_and_sees_no_other() -> None:
    (offer,) = offers_of(TWO, Settings(), {})
    assert offer.devices == [Device("cuda", "cuda:0", "0"), Device("cuda", "cuda:1", "1")]


def test_a_card_may_be_shared_by_so_many_runs_as_the_operator_says() -> None:
    (offer,) = offers_of(TWO, Settings(card_slots=2), {})
    assert offer.lane.slots == 4
    assert sorted(device.visible for device in offer.devices) == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    ("shown", "number", "one"),
    [(None, 1, "1"), ("", 1, "1"), ("2,3", 1, "3"), (" GPU-a , GPU-b ", 0, "GPU-a"), ("5", 0, "5")],
)
def test_cards_that_an_operator_has_hidden_stay_hidden(shown: str | None, number: int, one: str) -> None:
    assert visible(number, {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}) == one


def test_the_processor_is_always_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_DRIVER_FILES", ())
    (offer,) = discover(Settings(slots=3))
    assert (offer.lane.device_class, offer.lane.slots, len(offer.devices)) == ("cpu", 3, 3)


@pytest.mark.parametrize("says", ["", "no JSON", "{"])
def test_a_look_that_fails_costs_the_cards_and_not_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, stdout=says)

    monkeypatch.setattr(subprocess, "run", run)
    assert devices.look() == {}
    assert "cannot be looked at" in caplog.text


def test_looking_says_what_there_is_as_json() -> None:
    assert isinstance(devices.look()["cuda"], list)


# --- full cards ---

TORCH = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which 5.31 GiB is "
    "free. Including non-PyTorch memory, this process has 73.87 GiB memory in use."
)


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


OutOfMemoryError.__module__ = "torch"


def test_a_full_card_is_told_with_how_much_was_asked_for_and_how_much_was_free() -> None:
    told = run_error(OutOfMemoryError(TORCH))
    assert (told.type, told.code) == ("OutOfMemoryError", CARD_FULL)
    assert "20.00 GiB asked for, 5.31 GiB free" in told.message


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OutOfMemoryError(TORCH), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 MiB"), True),
        (RuntimeError("something else"), False),
        (MemoryError(), False),
    ],
)
def test_a_full_card_is_told_apart(error: BaseException, is_full: bool) -> None:
    assert is_full_card(error) is is_full


def test_a_library_that_gives_no_figures_is_quoted() -> None:
    assert (
        full_card("no luck")
        == "The card has too little memory. Use smaller inputs, or parts of them at a time. (no luck)"
    )
