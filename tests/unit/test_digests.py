"""Digests in headers, and what a download makes of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bodies import check_file_body, digest_said
from shared.objects.scrub import State, expected, judge
from voxloom.client._digests import Taking
from voxloom.digests import as_header, digest_of, from_header, named
from voxloom.errors import Damaged, InvalidInput

EMPTY = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
DIGEST = digest_of(b"")


@given(st.binary(max_size=100))
def test_a_digest_comes_back_out_of_its_header(data: bytes) -> None:
    assert from_header(as_header(digest_of(data))) == digest_of(data)


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (EMPTY, DIGEST),
        (f"sha-512=:AAAA:, {EMPTY}", DIGEST),
        (f"{EMPTY};a=1 , md5=:AAAA:", DIGEST),
        ("sha-512=:AAAA:", None),
    ],
)
def test_the_sha_256_among_others_is_read(value: str, digest: str | None) -> None:
    assert from_header(value) == digest


@pytest.mark.parametrize(
    "value", ["", "abc", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:=:", f"{EMPTY},", "SHA-256=:AAAA:"]
)
def test_a_header_that_is_no_digest_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="Write the SHA-256") as caught:
        from_header(value)
    assert caught.value.http_status == 400


def test_two_headers_that_contradict_each_other_are_a_mismatch() -> None:
    with pytest.raises(InvalidInput) as caught:
        digest_said({"Repr-Digest": EMPTY, "Content-Digest": as_header(digest_of(b"x"))})
    assert caught.value.code == "digest_mismatch"


@pytest.mark.parametrize(
    ("headers", "status", "what_to_do"),
    [
        ({"Content-Range": "bytes 0-1/4"}, 400, "Send the whole file"),
        ({"Content-Encoding": "gzip"}, 415, "send it as it is"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "Send the file's bytes alone"),
        ({"Content-Type": "Multipart/Mixed"}, 415, "Send the file's bytes alone"),
    ],
)
def test_a_body_that_is_no_whole_file_is_refused(headers: dict[str, str], status: int, what_to_do: str) -> None:
    with pytest.raises(InvalidInput, match=what_to_do) as caught:
        check_file_body(headers)
    assert caught.value.http_status == status


def test_what_curl_says_of_a_file_is_passed_over() -> None:
    check_file_body({"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "identity"})


@pytest.mark.parametrize(
    "headers", [{}, {"Repr-Digest": as_header(digest_of(b"bytes"))}, {"Repr-Digest": "what a proxy makes of it"}]
)
def test_a_download_of_the_right_bytes_is_taken(headers: dict[str, str]) -> None:
    file = io.BytesIO()
    taking = Taking(file, headers)
    taking.add(b"by")
    taking.add(b"tes")
    taking.check()
    assert file.getvalue() == b"bytes"


def test_a_download_of_other_bytes_is_damaged() -> None:
    taking = Taking(io.BytesIO(), {"Repr-Digest": as_header(digest_of(b"bytes"))})
    taking.add(b"bites")
    with pytest.raises(Damaged) as caught:
        taking.check()
    assert caught.value.code == "download_damaged"


@pytest.mark.parametrize(
    ("collection", "key", "digest", "wanted"),
    [
        ("data-store", "files/a", DIGEST, DIGEST),
        ("data-store", "a" * 64, None, None),
        ("asset-store", "a" * 64, None, named("a" * 64)),
        ("asset-store", "index/" + "a" * 64, None, None),
    ],
)
def test_assets_are_known_by_their_names(collection: str, key: str, digest: str | None, wanted: str | None) -> None:
    assert expected(collection, key, digest) == wanted


def test_what_nobody_knows_is_not_damaged() -> None:
    assert [judge(None, DIGEST), judge(DIGEST, DIGEST), judge(named("0" * 64), DIGEST)] == [
        State.UNKNOWN,
        State.FINE,
        State.DAMAGED,
    ]
