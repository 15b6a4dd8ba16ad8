"""What an algorithm may say its outputs are."""

from __future__ import annotations

import pytest

from services.worker.outputs import LONGEST_TEXT, MOST_TEXTS, check_outputs
from voxloom.errors import InvalidInput

FILES = ["posted-1", "posted-2", "input"]


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        FILES,
        [*FILES, "a text", "../../x", ""],
        ["posted-1", "posted-1"],
        ["x" * LONGEST_TEXT],
        [f"text {number}" for number in range(MOST_TEXTS)],
        [*FILES, *["x"] * MOST_TEXTS],
    ],
    ids=["none", "files", "files and texts", "one twice", "a long text", "many texts", "as many beside files"],
)
def test_what_may_be_returned(outputs: list[str]) -> None:
    check_outputs(outputs, FILES)


def test_files_of_the_run_are_not_counted() -> None:
    many = [f"posted-{number}" for number in range(20 * MOST_TEXTS)]
    check_outputs(many, set(many))


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (["x"] * (MOST_TEXTS + 1), f"more than {MOST_TEXTS} texts"),
        (["posted-1"] * (MOST_TEXTS + 2), f"more than {MOST_TEXTS} texts"),
        (["x" * (LONGEST_TEXT + 1)], "has 256 characters"),
    ],
    ids=["too many", "one again and again", "too long"],
)
def test_too_much_is_refused_with_what_to_return(outputs: list[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        check_outputs(outputs, FILES)
    assert refused.value.code == "invalid_outputs"
    assert "post_data" in refused.value.message
