"""PNG pictures of arrays, and nothing else of PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_FASTEST = 1
"""Of zlib's levels: the others take several times as long, and save little of what a microscope sees."""


def encode(image: np.ndarray) -> bytes:
    """A PNG of uint8 values: (H, W) is grey, (H, W, 3) red, green and blue; H and W are 1 at least."""
    height, width = image.shape[:2]
    kind = _RGB if image.ndim == 3 else _GREY
    rows = np.zeros((height, 1 + image[0].size), np.uint8)  # Each begins with its filter: 0, none.
    rows[:, 1:] = image.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    body = zlib.compress(rows.data, _FASTEST)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"%b%b%b%b" % (
        struct.pack(">I", len(data)),
        name,
        data,
        struct.pack(">I", zlib.crc32(data, zlib.crc32(name))),
    )


def to_grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers or bools as uint8: `low` and what is under it is black, `high` and what is over it white; NaN is black.

    Where low is high, all is black but for what is over it.
    """
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    scaled = values.astype(np.float64)
    scaled -= low
    scaled /= (high - low) or 1.0
    scaled *= 255
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
