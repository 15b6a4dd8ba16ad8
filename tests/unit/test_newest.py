"""What is remembered of a stream without end: the newest entries, and no more than so many."""

from __future__ import annotations

from collections.abc import Callable

from shared.newest import Newest
from tests.each import each

Step = Callable[[Newest[str, int]], object]


def write(*keys: str) -> Step:
    def run(newest: Newest[str, int]) -> None:
        for number, key in enumerate(keys):
            newest[key] = number

    return run


@each(
    "row",
    [
        (3, [write("a", "b")], "ab"),
        (3, [write("a", "b", "c", "d")], "bcd"),
        (1, [write("a", "b")], "b"),
        (0, [write("a", "b")], ""),
        (3, [write("a", "b", "c", "a", "d")], "cad"),
        (3, [write("a", "b", "c"), lambda newest: newest["a"], write("d")], "bcd"),
        (3, [write("a", "b", "c"), lambda newest: newest.get("a"), write("d")], "bcd"),
        (3, [write("a", "b", "c"), lambda newest: newest.pop("b"), write("d")], "acd"),
        (3, [write("a", "b", "c"), lambda newest: newest.pop("z", None), write("d")], "bcd"),
        (2, [lambda newest: newest.update({"a": 1, "b": 2, "c": 3})], "bc"),
        (2, [write("a", "b"), lambda newest: newest.setdefault("c", 3)], "bc"),
        (2, [write("a", "b"), lambda newest: newest.setdefault("a", 3), write("c")], "bc"),
        (2, [write("a", "b"), lambda newest: newest.clear(), write("c")], "c"),
        (3, [write("a", "b"), lambda newest: newest.move_to_end("b", last=False), write("c", "d")], "acd"),
    ],
)
def test_the_newest_are_kept_in_the_order_in_which_they_were_written(row: tuple[int, list[Step], str]) -> None:
    most, steps, kept = row
    newest: Newest[str, int] = Newest(most)
    for step in steps:
        step(newest)
    assert "".join(newest) == kept


def test_what_is_written_again_has_its_newest_value() -> None:
    newest: Newest[str, int] = Newest(2)
    for value in (1, 2, 3):
        newest["a"] = value
    assert list(newest.items()) == [("a", 3)]
