"""What algorithms choose their device with."""

from __future__ import annotations

import importlib
import uuid
from typing import Any


def generate_uuid(version: int = 1) -> str:
    """A new id of that version, 1 or 4."""
    from voxloom.ids import new_id

    if version not in (1, 4):
        raise ValueError(f"There are ids of version 1 and 4 here, not of {version}.")
    return new_id() if version == 1 else str(uuid.uuid4())


def check_system_gpu_availability() -> tuple[bool | None, int | None]:
    """Whether this process sees cards, and how many; None where nobody can tell."""
    torch = _torch()
    if torch is None:
        return None, None
    return bool(torch.cuda.is_available()), int(torch.cuda.device_count())


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
    from voxloom.compat.absent import gone

    raise gone("compox.server_utils", name)
