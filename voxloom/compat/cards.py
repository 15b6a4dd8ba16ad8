"""How many cards the driver knows, asked without starting CUDA in this process: what is forked from one where that is
started cannot use cards any more."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

_MANAGEMENT = "libnvidia-ml.so.1"
_DRIVER = "libcuda.so.1"
_ASK_DRIVER = f"""
import ctypes
driver, count = ctypes.CDLL("{_DRIVER}"), ctypes.c_int(-1)
if not driver.cuInit(0):
    driver.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""
_ASK_SECS = 30.0

Load = Callable[[str], Any]


def count(load: Load = ctypes.CDLL, environment: Mapping[str, str] = os.environ) -> int | None:
    """The cards that this process may use: CUDA_VISIBLE_DEVICES hides the others. None where there is no driver."""
    there = _by_management(load)
    if there is None:
        return _by_driver(load)
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    return there if shown is None else min(there, len([one for one in shown.split(",") if one.strip()]))


def _by_management(load: Load) -> int | None:
    """NVML: `nvmlInit_v2`, `nvmlDeviceGetCount_v2`, `nvmlShutdown`. None where it is not there or does not answer."""
    try:
        library = load(_MANAGEMENT)
    except OSError:
        return None
    if library.nvmlInit_v2():
        return None
    found = ctypes.c_uint()
    failed = library.nvmlDeviceGetCount_v2(ctypes.byref(found))
    library.nvmlShutdown()
    return None if failed else found.value


def _by_driver(load: Load) -> int | None:
    """Containers may have the driver without NVML. It starts CUDA, so a process of its own asks it."""
    try:
        load(_DRIVER)
    except OSError:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # our own lines
            [sys.executable, "-c", _ASK_DRIVER], capture_output=True, text=True, timeout=_ASK_SECS, check=True
        )
        cards = int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return None if cards < 0 else cards
