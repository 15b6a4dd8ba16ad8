"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 80
_MOST = 2000


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like it; None where none is like it at all."""
    folded = {one.casefold(): one for one in list(known)[:_MOST]}
    found = difflib.get_close_matches(name[:_LONGEST].casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'sigma'?)`, or nothing."""
    found = nearest(name, known)
    return "" if found is None else f" (did you mean {found!r}?)"
