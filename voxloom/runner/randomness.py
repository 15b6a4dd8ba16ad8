"""The global generators of random numbers: every run begins with them as it would in a new process.

What the module or `load_assets` has seeded begins each run in that state. A generator that nobody has seeded is seeded
by the system, anew for each run, so that no two runs draw the same numbers.
"""

from __future__ import annotations

import ctypes
import random
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.random import mtrand as _global

_KEY_BYTES = 624 * 4
_MOST_DRAWN = 10_000_000
"""So many numbers may be drawn while an algorithm is loaded, before it looks as if it had seeded."""
_PIECE = 1_000_000
_ENOUGH = 8
_LARGEST_PLAIN_SEED = 1 << 32
"""Torch begins with a random seed of 53 bits; people choose smaller ones."""


class Twister(NamedTuple):
    """A state of the generator that both `random` and numpy use."""

    key: bytes
    position: int

    def generator(self) -> np.random.MT19937:
        made = np.random.MT19937()
        state: Any = made.state
        state["state"] = {"key": np.frombuffer(self.key, np.uint32), "pos": self.position}
        made.state = state
        return made


def _of_python() -> Twister:
    words = random.getstate()[1]
    return Twister(np.array(words[:-1], np.uint32).tobytes(), words[-1])


def _of_numpy() -> Twister:
    raw = _numpy_now()[1]
    return Twister(raw[:_KEY_BYTES], int.from_bytes(raw[_KEY_BYTES:], sys.byteorder))


def _numpy_now() -> tuple[Any, bytes]:
    """The generator itself and its memory: `get_state` takes a hundred times as long."""
    generator = _global.get_bit_generator()
    plain = type(generator) is np.random.MT19937
    raw = ctypes.string_at(generator.ctypes.state_address, _KEY_BYTES + 4) if plain else _text(generator).encode()
    return generator, raw


def _text(generator: Any) -> str:
    return str(generator.state)


def is_seeded(before: Twister, after: Twister) -> bool:
    """Whether `after` is not what has merely been drawn from since `before`."""
    if before == after:
        return False
    ahead, wanted = before.generator(), after.generator().random_raw(_ENOUGH)
    numbers = ahead.random_raw(_ENOUGH)
    for _ in range(_MOST_DRAWN // _PIECE):
        numbers = np.concatenate([numbers[-_ENOUGH:], ahead.random_raw(_PIECE)])
        places = np.flatnonzero(numbers == wanted[0])
        if any(np.array_equal(numbers[at : at + _ENOUGH], wanted) for at in places):
            return False
    return True


class Randomness:
    """Made before the algorithm is loaded; `remember` is called after that, and `put_back` after every run."""

    def __init__(self) -> None:
        self._new = _of_python(), _of_numpy()

    def remember(self) -> None:
        self._python = random.getstate() if is_seeded(self._new[0], _of_python()) else None
        self._generator = _global.get_bit_generator()
        chosen = type(self._generator) is not np.random.MT19937 or is_seeded(self._new[1], _of_numpy())
        self._numpy = self._generator.state if chosen else None
        self._torch = _torch_seeded()
        self._last = _now()

    def put_back(self) -> None:
        now = _now()
        if now == self._last:
            return
        if now[0] != self._last[0]:
            random.seed() if self._python is None else random.setstate(self._python)
        if now[1] != self._last[1]:
            self._put_numpy_back()
        if now[2] is not None:
            _put_torch_back(self._torch)
        self._last = _now()

    def _put_numpy_back(self) -> None:
        _global.set_bit_generator(self._generator)
        if self._numpy is None:
            np.random.seed()
        else:
            self._generator.state = self._numpy


def _now() -> tuple[Any, ...]:
    return random.getstate(), _numpy_now(), _torch_state()


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "default_generator") else None


def _torch_state() -> bytes | None:
    torch = _torch()
    return None if torch is None else torch.get_rng_state().numpy().tobytes()


def _torch_seeded() -> tuple[Any, int] | None:
    """The state and the seed, where somebody has chosen the seed."""
    torch = _torch()
    if torch is None or torch.initial_seed() >= _LARGEST_PLAIN_SEED:
        return None
    return torch.get_rng_state(), torch.initial_seed()


def _put_torch_back(seeded: tuple[Any, int] | None) -> None:
    torch = _torch()
    cards = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    if seeded is None:
        for generator in (torch.default_generator, *cards):
            generator.seed()
        return
    torch.set_rng_state(seeded[0])
    for generator in cards:
        generator.manual_seed(seeded[1])
