"""What can be told of JSON by its bytes, in C: without an object for each of its values."""

from __future__ import annotations

_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def brackets(text: bytes) -> int:
    """How many lists and objects begin there; with strings, their brackets are counted, too."""
    return text.count(b"[") + text.count(b"{")


def is_deeper(raw: bytes, levels: int) -> bool:
    """Whether lists and objects of good JSON are nested deeper: every round takes the innermost away."""
    if brackets(raw) <= levels:
        return False
    left = without_strings(without_escapes(raw)).translate(_ALL_SQUARE, _NO_BRACKETS)
    for _ in range(levels):
        if not left:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)


def without_escapes(raw: bytes) -> bytes:
    return raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw


def without_strings(plain: bytes) -> bytes:
    """Of JSON without escapes."""
    return b"".join(plain.split(b'"')[::2])
