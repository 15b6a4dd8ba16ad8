"""What an access token says, once its signature is right: whatever it is, it is a proof or a refusal."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.oidc.claims import LEEWAY_SECS, Header, Proof, Rules, header_of, proof_of
from tests.each import each
from voxloom.errors import Unauthenticated

NOW = 1_800_000_000
HOUR = 3600
RULES = Rules("https://i", "us", frozenset({"RS256"}), "groups", {"g": {"lab1": "member"}}, longest_secs=HOUR)
HEADER = {"alg": "RS256", "kid": "k", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {"iss": "https://i", "aud": "us", "sub": "anna", "iat": NOW, "exp": NOW + 60, "groups": ["g"]}


def proven(at: float = NOW, *, plain: bool = False, **other: Any) -> Proof:
    said = {name: value for name, value in {**CLAIMS, **other}.items() if value is not ...}
    moment = datetime.fromtimestamp(at, UTC)
    return proof_of("h.p.s", json.dumps(said).encode(), Header("RS256", "k", plain), RULES, moment)


def outcome(at: float = NOW, **other: Any) -> str:
    try:
        return str(proven(at, **other).subject)
    except Unauthenticated as error:
        return error.code


TIMES = {
    "now": (outcome(), "anna"),
    "at its end, and so much later": (outcome(NOW + 60 + LEEWAY_SECS - 1), "anna"),
    "after that": (outcome(NOW + 60 + LEEWAY_SECS), "token_expired"),
    "from a clock that is ahead": (outcome(NOW - LEEWAY_SECS), "anna"),
    "from one that is too far ahead": (outcome(NOW - LEEWAY_SECS - 1), "token_invalid"),
    "not before now": (outcome(nbf=NOW), "anna"),
    "not before later": (outcome(nbf=NOW + 31), "token_invalid"),
    "over before it began": (outcome(exp=NOW - 1, at=NOW - 5), "token_invalid"),
    "good for ever, as it says": (outcome(exp=NOW + 10**9), "anna"),
    "good for ever, and old": (outcome(NOW + HOUR + LEEWAY_SECS, exp=NOW + 10**9), "token_expired"),
    "times with fractions": (outcome(iat=NOW + 0.5, exp=NOW + 60.25), "anna"),
}


@each("case", TIMES)
def test_a_token_has_its_time(case: str) -> None:
    found, expected = TIMES[case]
    assert found == expected


def test_it_ends_after_the_longest_time_whatever_it_says() -> None:
    assert proven(exp=NOW + 10**9).expires_at.timestamp() == NOW + HOUR + LEEWAY_SECS


KINDS: dict[str, Any] = {
    "nothing": ...,
    "null": None,
    "true": True,
    "a text": "x",
    "an empty text": "",
    "zero": 0,
    "a negative number": -1,
    "a huge number": 10**400,
    "a list": [],
    "a list of lists": [[["x"]]],
    "an object": {"x": 1},
    "half a sign": "\ud800",
}
NEEDED = ("iss", "aud", "sub", "iat", "exp")
MAY_BE = {"sub": {"a text"}, "iat": set(), "exp": set(), "iss": set(), "aud": set()}


@each("claim", NEEDED)
def test_a_claim_of_another_kind_lets_nobody_in(claim: str) -> None:
    found = {kind for kind, value in KINDS.items() if not outcome(**{claim: value}).startswith("token_")}
    assert found == MAY_BE[claim]


@each("claim", ["nbf", "typ", "cnf"])
def test_one_that_may_be_there_is_what_it_must_be(claim: str) -> None:
    found = {kind for kind, value in KINDS.items() if not outcome(**{claim: value}).startswith("token_")}
    assert found == ({"nothing", "zero"} if claim == "nbf" else {"nothing"})


@each("kind", KINDS)
def test_groups_of_another_kind_give_nothing(kind: str) -> None:
    assert proven(groups=KINDS[kind]).roles == ()


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = _PLAIN | st.lists(_PLAIN, max_size=2) | st.dictionaries(st.text(max_size=5), _PLAIN, max_size=2)
_SOME = settings(max_examples=40, deadline=None)


@_SOME
@given(st.sampled_from([*CLAIMS, "nbf", "typ", "nonce"]), _JSON, st.booleans())
def test_whatever_a_claim_is_it_is_a_proof_or_a_refusal(claim: str, value: Any, plain: bool) -> None:
    try:
        found = proven(plain=plain, **{claim: value})
    except Unauthenticated:
        return
    assert found.identity


def header(**other: Any) -> str:
    said = {name: value for name, value in {**HEADER, **other}.items() if value is not ...}
    return f"{base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip('=')}.e30.e30"


@each("name", ["alg", "typ", "crit"])
def test_a_header_of_another_kind_is_refused(name: str) -> None:
    kinds = {kind: value for kind, value in KINDS.items() if (name, kind) != ("crit", "nothing")}
    for value in kinds.values():
        with pytest.raises(Unauthenticated):
            header_of(header(**{name: value}), RULES)


@_SOME
@given(st.sampled_from([*HEADER, "jku", "x5u", "jwk"]), _JSON)
def test_whatever_a_header_is_it_is_read_or_refused(name: str, value: Any) -> None:
    try:
        found = header_of(header(**{name: value}), RULES)
    except Unauthenticated:
        return
    assert found.algorithm == "RS256"


@_SOME
@given(st.binary(max_size=60), st.text(max_size=60))
def test_whatever_comes_in_place_of_a_token_is_refused(raw: bytes, text: str) -> None:
    for one in (text, f"{base64.urlsafe_b64encode(raw).decode()}.a.b"):
        with pytest.raises(Unauthenticated):
            header_of(one, RULES)
    with pytest.raises(Unauthenticated):
        proof_of("t", raw, Header("RS256", "k", False), RULES, datetime.fromtimestamp(NOW, UTC))
