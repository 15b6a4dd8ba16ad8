"""When a card's memory does not suffice: what the libraries say of it, in words of ours."""

from __future__ import annotations

import re

CARD_FULL = "cuda_out_of_memory"

_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+ ?\w+)|allocating ([\d,]+ bytes)")
_FREE = re.compile(r"of which ([\d.]+ ?\w+) is free|([\d.]+ ?\w+) free\b")
_LIBRARIES = ("torch", "cupy")


def is_full_card(error: BaseException) -> bool:
    """torch's `OutOfMemoryError`, CuPy's, or the plain RuntimeError that torch's older parts raise."""
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError":
        return kind.__module__.partition(".")[0] in _LIBRARIES
    return isinstance(error, RuntimeError) and "CUDA out of memory" in str(error)


def full_card(message: str) -> str:
    """How much was asked for and how much was free, as far as the library says; then all that it says."""
    asked, free = _found(_ASKED, message), _found(_FREE, message)
    facts = f": {asked} asked for" if asked else ""
    facts += f", {free} free" if facts and free else ""
    return f"The card has too little memory{facts}. Use smaller inputs, or parts of them at a time. ({message})"


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next(filter(None, match.groups()), "") if match else ""
