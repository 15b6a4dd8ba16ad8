"""Which algorithm a name means, and which are listed, where several projects have one of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.gateway.views.precedence import listed, named
from shared.caller import LOCAL, Caller
from tests.each import each

ANNA = Caller("anna", "lab1", frozenset({"read"}), libraries=frozenset({"common", "atlas", "lab3"}))
LIBRARIAN = Caller("lea", "common", frozenset({"read"}), libraries=ANNA.libraries)


def entries(*said: str) -> list[Any]:
    """Each as `project/name/major`; that is its id, too."""
    keys = ("project", "name", "major")
    return [SimpleNamespace(**dict(zip(keys, one.split("/"), strict=True)), algorithm_id=one) for one in said]


BOTH = ("common/Denoise/1", "atlas/Denoise/1", "lab3/Denoise/1")
OWN = "lab1/Denoise/1"
FOUND: dict[str, tuple[Caller, tuple[str, ...], str, str | None]] = {
    "one's own before libraries": (ANNA, (*BOTH, OWN), "Denoise", OWN),
    "also in another case": (ANNA, (*BOTH, "lab1/DENOISE/1"), "Denoise", "lab1/DENOISE/1"),
    "of libraries the first by its id": (ANNA, BOTH, "Denoise", "atlas/Denoise/1"),
    "in whatever order they are known": (ANNA, BOTH[::-1], "denoise", "atlas/Denoise/1"),
    "that library before an exact name in another": (
        ANNA,
        ("common/Denoise/1", "atlas/DENOISE/1"),
        "Denoise",
        "atlas/DENOISE/1",
    ),
    "within one project the exact name": (ANNA, ("lab1/DENOISE/1", "lab1/denoise/1"), "denoise", "lab1/denoise/1"),
    "a library's managers their own": (LIBRARIAN, BOTH, "Denoise", "common/Denoise/1"),
    "another major version is another algorithm": (
        ANNA,
        ("lab1/Denoise/2", "common/Denoise/1"),
        "Denoise",
        "common/Denoise/1",
    ),
    "none of a project that is no library": (ANNA, ("lab2/Denoise/1",), "Denoise", None),
    "none of another name": (ANNA, BOTH, "Denoise2", None),
    "an open server, where all is everybody's": (
        LOCAL,
        ("lab2/Denoise/1", "default/denoise/1"),
        "Denoise",
        "default/denoise/1",
    ),
}


@each("case", FOUND)
def test_a_name_means_one_algorithm(case: str) -> None:
    caller, known, name, expected = FOUND[case]
    found = named(caller, entries(*known), name, "1")
    assert (found and found.algorithm_id) == expected


LISTED: dict[str, tuple[Caller, tuple[str, ...], list[str]]] = {
    "one's own hides those of libraries": (ANNA, (*BOTH, OWN), [OWN]),
    "a library hides those after it": (ANNA, BOTH, ["atlas/Denoise/1"]),
    "what is hidden is so by name and major version": (
        ANNA,
        ("common/Denoise/1", "common/Denoise/2", "common/Segment/1", "atlas/denoise/1"),
        ["common/Denoise/2", "common/Segment/1", "atlas/denoise/1"],
    ),
    "all of one's own": (ANNA, ("lab1/Denoise/1", "lab1/DENOISE/1"), ["lab1/Denoise/1", "lab1/DENOISE/1"]),
    "nothing of others": (ANNA, ("lab2/Denoise/1",), []),
    "an open server lists all": (LOCAL, ("lab2/Denoise/1", OWN), ["lab2/Denoise/1", OWN]),
}


@each("case", LISTED)
def test_lists_have_what_names_lead_to(case: str) -> None:
    caller, known, expected = LISTED[case]
    assert [one.algorithm_id for one in listed(caller, entries(*known))] == expected


@each("case", LISTED)
def test_whatever_is_listed_of_a_library_is_found_by_its_name(case: str) -> None:
    caller, known, _ = LISTED[case]
    there = entries(*known)
    shown = [one for one in listed(caller, there) if not caller.owns(one.project)]
    assert [named(caller, there, one.name, one.major) for one in shown] == shown
