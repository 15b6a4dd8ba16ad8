"""The models of voxloom.models that docs/compox.md names in place of Compox's have all of their fields."""

from __future__ import annotations

import re
from pathlib import Path

from tests import compoxmodels
from voxloom import models

_DOCUMENT = Path(__file__).parents[2] / "docs" / "compox.md"


def pairs() -> dict[str, str]:
    """By the names in the first column of "Names of models", those in the second."""
    _, _, section = _DOCUMENT.read_text().partition("### Names of models")
    table, _, _ = section.partition("\n## ")
    found: dict[str, str] = {}
    for left, right in re.findall(r"^\| (`.*?) \| (.*?) \|$", table, re.MULTILINE):
        theirs = re.findall(r"`(\w+)`", left)
        found |= dict(zip(theirs, re.findall(r"`(\w+)`", right) or theirs, strict=True))
    return found


def test_each_has_the_fields_of_its_counterpart() -> None:
    fields = compoxmodels.fields_of(list(pairs()))
    missing = {
        (theirs, ours): gone
        for theirs, ours in pairs().items()
        if (gone := set(fields[theirs]) - set(getattr(models, ours).model_fields))
    }
    assert (len(fields) > 20, missing) == (True, {})
