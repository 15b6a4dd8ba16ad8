"""Text of HDF5 files: UTF-8 whatever they declare, else Latin-1, as old programs wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np


def decoded(raw: bytes) -> tuple[str, bool]:
    """The text, and whether it had to be taken for Latin-1."""
    try:
        return raw.decode(), False
    except UnicodeDecodeError:
        return raw.decode("latin-1"), True


def all_decoded(values: Any) -> tuple[Any, bool]:
    """Of what h5py gives for text, a bytes object or an array of them: a str or nested lists of str."""
    if isinstance(values, bytes):
        return decoded(values)
    array = np.asarray(values)
    texts = [decoded(bytes(one)) for one in array.ravel().tolist()]
    room = np.empty(len(texts), object)
    room[:] = [text for text, _ in texts]
    return room.reshape(array.shape).tolist(), any(guessed for _, guessed in texts)


def latin_1_warning(name: str) -> str:
    return f"The text in {name} is not UTF-8; it was read as Latin-1. Write it as UTF-8 to be sure of it."
