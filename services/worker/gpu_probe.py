"""Looks for cards and says what it has found, as JSON. It is run by its path, so it imports nothing of ours.

torch is asked where it is installed, since algorithms will; else the driver's own library (CUDA driver API, `cuInit`,
`cuDeviceGetCount`, `cuDeviceGetName`). In a process of its own: what is looked at in a worker stays open in it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
from typing import Any

_NAME_BYTES = 256


def found() -> dict[str, Any]:
    """`cuda`: the cards' models in the driver's order; `mps`: whether there is one; `trouble`: why there is none."""
    return _by_torch() if importlib.util.find_spec("torch") is not None else _by_driver()


def _by_torch() -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    mps = torch.backends.mps.is_available()
    if not torch.cuda.is_available():
        why = "" if mps else f"PyTorch {torch.__version__} finds none that it can use; install a build for CUDA"
        return {"cuda": [], "mps": mps, "trouble": why}
    return {"cuda": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())], "mps": mps}


def _by_driver() -> dict[str, Any]:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"cuda": [], "trouble": f"the driver's library cannot be loaded ({error})"}
    if code := driver.cuInit(0):
        return {"cuda": [], "trouble": f"the driver answers cuInit with {code}"}
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    return {"cuda": [_name(driver, number) for number in range(count.value)]}


def _name(driver: ctypes.CDLL, number: int) -> str:
    text = ctypes.create_string_buffer(_NAME_BYTES)
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(text, _NAME_BYTES, device)
    return text.value.decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps(found()))  # noqa: T201  # that is what it is for
