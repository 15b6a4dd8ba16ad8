"""What algorithms choose their device with."""

from __future__ import annotations

import importlib
from typing import Any

from voxloom.compat.uuids import generate_uuid as generate_uuid


def check_system_gpu_availability() -> tuple[bool | None, int | None]:
    """Whether this process sees cards, and how many, as the driver says; None where there is no driver to ask."""
    from voxloom.compat.cards import count

    cards = count()
    return (None, None) if cards is None else (cards > 0, cards)


def check_torch_with_cuda_available() -> bool:
    torch = _torch()
    return torch is not None and bool(torch.cuda.is_available())


def check_mps_availability() -> bool:
    torch = _torch()
    return torch is not None and bool(torch.backends.mps.is_available())


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


def __getattr__(name: str) -> Any:
    from voxloom.compat.absent import missing

    raise missing("compox.server_utils", name)
