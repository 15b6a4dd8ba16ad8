"""Pages of a list: whole and in order over all pages, and no cursor but ours."""

from __future__ import annotations

import pytest

from services.gateway.http.paging import Page, PageQuery, cursor_at, page_of, position_of
from voxloom.errors import InvalidInput

ORDER = "things:name"
THINGS = [(name, identifier) for name in ("b", "a", "a") for identifier in ("2", "1", "3")]


def page(
    query: PageQuery, things: list[tuple[str, str]] = THINGS, *, descending: bool = False
) -> Page[tuple[str, str]]:
    return page_of(dict.fromkeys(things), lambda thing: thing, query, ORDER, descending=descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
def test_the_pages_together_are_the_list_in_order(limit: int, descending: bool) -> None:
    found, cursor = [], None
    while True:
        one = page(PageQuery(limit=limit, cursor=cursor), descending=descending)
        found += one.items
        cursor = one.next_cursor
        if cursor is None:
            break
    assert found == sorted(set(THINGS), reverse=descending)


def test_what_comes_and_goes_meanwhile_moves_nothing_else() -> None:
    cursor = page(PageQuery(limit=2)).next_cursor
    changed = [("a", "0"), *(thing for thing in THINGS if thing != ("a", "2"))]
    assert page(PageQuery(cursor=cursor), changed).items == [("a", "3"), ("b", "1"), ("b", "2"), ("b", "3")]


@pytest.mark.parametrize(
    "cursor",
    [
        "made up",
        "AAAA",
        "é",
        cursor_at("others:name", ("a", "1")),
        cursor_at(ORDER, ("a",)),
        cursor_at(ORDER, (1, "1")),
        cursor_at(ORDER, ("a", "1"))[:-2],
    ],
)
def test_a_cursor_that_is_not_of_this_list_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="leave it out to begin anew"):
        page(PageQuery(cursor=cursor))


def test_an_empty_cursor_is_the_first_page() -> None:
    assert page(PageQuery(cursor="")).items == page(PageQuery()).items


def test_a_number_too_large_for_an_index_is_refused() -> None:
    with pytest.raises(InvalidInput):
        position_of(PageQuery(cursor=cursor_at(ORDER, (1 << 63, "1"))), ORDER, int, str)


def test_an_empty_list_refuses_what_is_made_up_as_well() -> None:
    with pytest.raises(InvalidInput):
        page(PageQuery(cursor="made up"), [])


def test_an_empty_list_is_one_empty_page() -> None:
    assert page(PageQuery(), []) == Page([])
