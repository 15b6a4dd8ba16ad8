"""Parts of objects, signed URLs and what keys may be: pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.objects.checks import checked_range
from shared.objects.signing import check_signature, quoted_key, signed_url
from voxloom.errors import InvalidInput, NotAllowed

SECRET = b"s" * 32
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda key: key not in (".", "..")
)


@given(st.integers(0, 100), st.none() | st.integers(0, 100), st.integers(0, 50))
def test_a_range_is_what_slicing_gives(start: int, stop: int | None, size: int) -> None:
    assert list(checked_range(start, stop, size)) == list(range(size))[start:stop]


@given(KEYS)
def test_a_signed_url_leads_back_to_its_key(key: str) -> None:
    url = urlsplit(signed_url("http://host:1/base/", SECRET, "GET", "data-store", key, 100))
    start = "/base/signed/data-store/"
    assert url.path.startswith(start)
    assert unquote(url.path.removeprefix(start)) == key
    check_signature(SECRET, "GET", "data-store", key, dict(parse_qsl(url.query)), now=99.9)


@given(KEYS)
def test_no_path_of_a_signed_url_can_be_tidied_up(key: str) -> None:
    assert not {"", ".", ".."} & set(quoted_key(key).split("/"))


@pytest.mark.parametrize("key", [".", ".."])
def test_a_key_no_url_can_carry_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="URL"):
        signed_url("http://host", SECRET, "GET", "data-store", key, 100)


@pytest.mark.parametrize(
    ("secret", "method", "collection", "key", "now"),
    [
        (b"other", "GET", "data-store", "k", 50),
        (SECRET, "PUT", "data-store", "k", 50),
        (SECRET, "GET", "asset-store", "k", 50),
        (SECRET, "GET", "data-store", "K", 50),
        (SECRET, "GET", "data-store", "k", 100),
    ],
)
def test_a_signature_is_for_one_thing_and_a_while(
    secret: bytes, method: str, collection: str, key: str, now: float
) -> None:
    query = dict(parse_qsl(urlsplit(signed_url("http://h", SECRET, "GET", "data-store", "k", 100)).query))
    with pytest.raises(NotAllowed):
        check_signature(secret, method, collection, key, query, now)


@pytest.mark.parametrize("query", [{}, {"expires": "1e9"}, {"expires": "٣"}, {"expires": "999", "signature": "\udcff"}])
def test_a_query_that_is_none_of_ours_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(NotAllowed):
        check_signature(SECRET, "GET", "data-store", "k", query, now=0)
