"""What an algorithm says its outputs are, looked at before anybody else hears of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from voxloom.errors import InvalidInput

MOST_TEXTS = 1000
LONGEST_TEXT = 255
_SHOWN = 40


def check_outputs(outputs: Sequence[str], files: Collection[str]) -> None:
    """`files`: what this attempt has posted, and its inputs; each may be named once. All else is text, which names
    nothing and is only shown. Raises InvalidInput (`invalid_outputs`) where there is too much of that."""
    left = set(files)
    texts = 0
    for output in outputs:
        if output in left:
            left.discard(output)
            continue
        texts += 1
        if texts > MOST_TEXTS:
            raise _refused(f"there are more than {MOST_TEXTS} texts among them that are no ids of files of this run")
        if len(output) > LONGEST_TEXT and output not in files:
            raise _refused(
                f"the text {output[:_SHOWN]!r}… has {len(output)} characters, and {LONGEST_TEXT} are allowed"
            )


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        f"The outputs cannot be taken: {why}. Return the ids that post_data gives, or ids of inputs.",
        code="invalid_outputs",
    )
