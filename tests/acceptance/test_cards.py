"""Cards: what is so on any machine, and, where there is a card that PyTorch can use, the real thing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.acceptance.support import Api, generic

HAS_CARD = importlib.util.find_spec("torch") is not None and Path("/dev/nvidiactl").exists()
on_a_card = pytest.mark.skipif(not HAS_CARD, reason="this machine has no card, or no PyTorch")
DEVICES = 'supported_devices = ["gpu", "cpu"]\ndefault_device = "gpu"'

SEES = """
import os
print("device", self.device, "visible", os.environ.get("CUDA_VISIBLE_DEVICES"))
"""
SUM = """
import torch
x = torch.arange(1000, device=self.device, dtype=torch.float64)
print("sum", int(x.sum().item()), "cards", torch.cuda.device_count(), x.device.type)
"""
TOO_LARGE = """
import torch
torch.empty(1 << 43, dtype=torch.uint8, device=self.device)
"""


@pytest.mark.skipif(HAS_CARD, reason="this machine has a card")
def test_without_a_card_it_runs_on_the_processor_with_a_warning(api: Api) -> None:
    record = api.run(api.deployed(generic("wants_card", SEES, toml=DEVICES)))
    assert (record["status"], record["resolved_execution_device"], record["execution_card"]) == (
        "COMPLETED",
        "cpu",
        None,
    )
    assert "WARNING" in record["log"]
    assert "device cpu visible" in record["log"]


@on_a_card
def test_a_run_has_one_card_and_sees_no_other(api: Api) -> None:
    record = api.run(api.deployed(generic("on_card", SUM, toml=DEVICES)))
    assert record["status"] == "COMPLETED", record["log"]
    assert (record["resolved_execution_device"], record["execution_card"]) == ("cuda", "cuda:0")
    assert "sum 499500 cards 1 cuda" in record["log"]


@on_a_card
def test_a_run_on_the_processor_sees_none(api: Api) -> None:
    algorithm_id = api.deployed(generic("on_either", SUM, toml=DEVICES))
    record = api.run(algorithm_id, execution_device_override="cpu")
    assert "sum 499500 cards 0 cpu" in record["log"]


@on_a_card
def test_a_card_that_is_too_small_is_a_failure_of_its_own_kind_and_serves_the_next_run(api: Api) -> None:
    record = api.run(api.deployed(generic("too_large", TOO_LARGE, toml=DEVICES)))
    assert (record["status"], record["error"]["code"]) == ("FAILED", "cuda_out_of_memory")
    assert "asked for" in record["error"]["message"]
    again = api.run(api.deployed(generic("on_card", SUM, toml=DEVICES)))
    assert again["status"] == "COMPLETED"


@on_a_card
def test_workers_show_their_cards(api: Api) -> None:
    (lane,) = [lane for worker in api.http.get("/api/v1/workers").json() for lane in worker["lanes"] if lane["cards"]]
    assert (lane["device_class"], lane["device"]) == ("gpu", "cuda")
