"""Voxloom: deploy Python imaging algorithms, run them on volumes.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from voxloom import compat  # noqa: F401  # It fills the hook of voxloom.runner.frameworks, in every process of ours.

if TYPE_CHECKING:
    from voxloom.checking import check
    from voxloom.client import AsyncClient, Client
    from voxloom.errors import VoxloomError
    from voxloom.runner import BaseRunner, Runner

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "voxloom.client",
    "BaseRunner": "voxloom.runner",
    "Client": "voxloom.client",
    "Runner": "voxloom.runner",
    "VoxloomError": "voxloom.errors",
    "check": "voxloom.checking",
}

__all__ = ["AsyncClient", "BaseRunner", "Client", "Runner", "VoxloomError", "__version__", "check"]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'voxloom' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *globals()])
