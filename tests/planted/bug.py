"""One planted bug."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A small fault that a developer could make. `old` is in `file` once, and `new` takes its place.

    `name` says what is wrong. `tests` are the tests of its area, the fast ones first: files, folders or patterns of
    them, from the root of the checkout on.
    """

    name: str
    area: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted_in(self, source: str) -> str:
        """Raises ValueError where it does not fit."""
        if (found := source.count(self.old)) != 1:
            raise ValueError(f"the text to replace is in {self.file} {found} times, not once")
        return source.replace(self.old, self.new)
