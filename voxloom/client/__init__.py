"""The Python client: `Client` for scripts and notebooks, `AsyncClient` with the same methods for asyncio.

    with voxloom.Client() as client:
        client.deploy("my_algorithm/")
        run = client.submit("my_algorithm", volume, parameters={"sigma": 2.0})
        segmented = run.result()

Names are loaded when they are first used: the HTTP library takes its time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxloom.client._async.client import AsyncClient
    from voxloom.client._async.runs import AsyncRun, AsyncTraining
    from voxloom.client._events import LogUpdate, ProgressUpdate, StatusUpdate, Update
    from voxloom.client._sync.client import Client
    from voxloom.client._sync.runs import Run, Training

_HOMES = {
    "AsyncClient": "_async.client",
    "AsyncRun": "_async.runs",
    "AsyncTraining": "_async.runs",
    "Client": "_sync.client",
    "LogUpdate": "_events",
    "ProgressUpdate": "_events",
    "Run": "_sync.runs",
    "StatusUpdate": "_events",
    "Training": "_sync.runs",
    "Update": "_events",
}

__all__ = [
    "AsyncClient",
    "AsyncRun",
    "AsyncTraining",
    "Client",
    "LogUpdate",
    "ProgressUpdate",
    "Run",
    "StatusUpdate",
    "Training",
    "Update",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *globals()])
