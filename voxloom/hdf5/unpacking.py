"""What the filters of a chunk have done to it, undone; never to more bytes than the chunk may have."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 18
_AT_ONCE = 1 << 22
"""Bytes up to which a chunk is unpacked in one call."""
MOST_RATIO = 1032
"""Deflate makes at most so many bytes of one."""
_BLOCK = 1 << 20

Bytes = bytes | memoryview


class Wrong(Exception):
    """The bytes are not what the filter has made; the message completes "a chunk of it …"."""


def wrong_size(size: int | str, wanted: int) -> Wrong:
    return Wrong(f"has {size} bytes where {wanted} are declared")


def inflate(packed: Bytes, size: int) -> Bytes:
    """Raises Wrong unless they unpack to exactly `size` bytes."""
    _check_ratio(packed, size)
    if size <= _AT_ONCE and len(packed) <= _AT_ONCE:
        return _in_one_call(packed, size)
    room = bytearray(size)
    at = 0
    for piece in _pieces(packed):
        if at + len(piece) > size:
            raise wrong_size("more", size)
        room[at : at + len(piece)] = piece
        at += len(piece)
    if at != size:
        raise wrong_size(at, size)
    return memoryview(room)


def inflate_up_to(packed: Bytes, most: int) -> Bytes:
    """Raises Wrong where they unpack to more."""
    found = bytearray()
    for piece in _pieces(packed):
        if len(found) + len(piece) > most:
            raise wrong_size("more", most)
        found += piece
    return memoryview(found)


def check_deflated(packed: Bytes, size: int) -> None:
    """As `inflate`, which keeps nothing."""
    _check_ratio(packed, size)
    found = 0
    for piece in _pieces(packed):
        found += len(piece)
        if found > size:
            raise wrong_size("more", size)
    if found != size:
        raise wrong_size(found, size)


def _check_ratio(packed: Bytes, size: int) -> None:
    if size > MOST_RATIO * len(packed):
        raise Wrong(f"has {len(packed)} packed bytes, too few for the {size} that are declared")


def _in_one_call(packed: Bytes, size: int) -> bytes:
    try:
        stream = zlib.decompressobj()
        found = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise Wrong(f"cannot be unpacked ({error})") from error
    if len(found) != size:
        raise wrong_size("more" if len(found) > size else len(found), size)
    if not stream.eof:
        raise Wrong("is cut off")
    return found


def _pieces(packed: Bytes) -> Iterator[bytes]:
    """What they unpack to, PIECE bytes at most at a time. Raises Wrong."""
    stream = zlib.decompressobj()
    view = memoryview(packed)
    try:
        for start in range(0, len(view), PIECE):
            left: Bytes = view[start : start + PIECE]
            while left and not stream.eof:
                yield stream.decompress(left, PIECE)
                left = stream.unconsumed_tail
        while not stream.eof and (rest := stream.decompress(b"", PIECE)):
            yield rest
    except zlib.error as error:
        raise Wrong(f"cannot be unpacked ({error})") from error
    if not stream.eof:
        raise Wrong("is cut off")


def unshuffle(data: Bytes, width: int) -> Bytes:
    """`width` planes of bytes to values again; what is left over at the end stays."""
    count = len(data) // width if width else 0
    if count < 2 or width < 2:
        return data
    planes = np.frombuffer(data, np.uint8)
    values = np.empty(len(data), np.uint8)
    body = values[: count * width].reshape(count, width)
    for plane in range(width):
        body[:, plane] = planes[plane * count : (plane + 1) * count]
    values[count * width :] = planes[count * width :]
    return values.data


def without_checksum(data: Bytes) -> Bytes:
    """Raises Wrong where the checksum, the last four bytes, is another's."""
    if len(data) < 4:
        raise Wrong("is too short for its checksum")
    body, stored = memoryview(data)[:-4], int.from_bytes(data[-4:], "little")
    sums = fletcher32(body)
    swapped = (sums & 0x00FF00FF) << 8 | (sums >> 8) & 0x00FF00FF  # As HDF5 1.6.2 wrote it, which readers accept.
    if stored not in (sums, swapped):
        raise Wrong("does not fit its checksum: the file was damaged")
    return body


def fletcher32(data: Bytes) -> int:
    """Of words in the order of the network, as HDF5 has it (H5_checksum_fletcher32)."""
    words = np.frombuffer(data, np.uint8)
    if len(words) % 2:
        words = np.append(words, np.uint8(0))
    first = second = 0
    pairs = words.view(np.uint16)
    for start in range(0, len(pairs), _BLOCK):
        block = _of_the_network(pairs[start : start + _BLOCK])
        second += first * len(block) + int(block @ np.arange(len(block), 0, -1, dtype=np.uint64))
        first += int(block.sum())
    return _folded(second) << 16 | _folded(first)


def _of_the_network(pairs: NDArray[np.uint16]) -> NDArray[np.uint64]:
    return (pairs.byteswap() if sys.byteorder == "little" else pairs).astype(np.uint64)


def _folded(total: int) -> int:
    """Modulo 65535, with 65535 for all multiples of it but zero."""
    return (total - 1) % 65535 + 1 if total else 0
