"""How many bytes nbit and scaleoffset need, found out without unpacking them.

The library's own unpacking does not look: it reads on behind the packed bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

SCALEOFFSET_HEADER = 21
_ATOMIC, _NOTHING_TO_DO = 1, 4
"""What nbit knows of a type: one number with bits to spare, or a type that it leaves alone."""


class Unsized(Exception):
    """The size cannot be known."""


def nbit_size(values: Sequence[int], count: int, width: int) -> int:
    """The least bytes that `count` values of `width` bytes are packed into, as the filter's parameters tell.

    Raises Unsized for parameters that do not fit the dataset, and for records and arrays."""
    if len(values) < 5 or (values[2], values[4]) != (count, width):
        raise Unsized("its parameters do not fit the dataset")
    if values[1] or values[3] == _NOTHING_TO_DO:
        return count * width
    if values[3] != _ATOMIC or len(values) < 8 or not 0 < values[6] <= values[6] + values[7] <= 8 * width:
        raise Unsized("its parameters are not those of one number")
    return (count * values[6] + 7) // 8


def check_scaleoffset(values: Sequence[int], count: int, width: int) -> None:
    """Raises Unsized for parameters that do not fit the dataset."""
    if len(values) < 8 or (values[2], values[4]) != (count, width) or width not in (1, 2, 4, 8):
        raise Unsized("its parameters do not fit the dataset")


def scaleoffset_size(head: bytes, count: int, width: int) -> int:
    """The least bytes that the values are packed into, as the first of those bytes tell. Raises Unsized."""
    bits = int.from_bytes(head[:4], "little")
    if len(head) < SCALEOFFSET_HEADER or bits > 8 * width:
        raise Unsized("it is cut off")
    return SCALEOFFSET_HEADER + (count * bits + 7) // 8
