"""What is said of a file that cannot be read."""

from __future__ import annotations


class Refused(Exception):
    """The file cannot be used; the message completes "The file was refused: …"."""


def quoted(name: str) -> str:
    return repr(name[:80])
