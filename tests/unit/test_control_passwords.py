"""What is kept of a password, and what it shows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.control import passwords
from shared.control.directory import Directory
from shared.control.objects import Password, Principal, Token, Unreadable
from shared.control.store import parse
from tests.each import each
from voxloom.errors import InvalidInput
from voxloom.models import LoginRequest, utc_now

MADE = {"created_at": utc_now(), "created_by": "root"}
HASHED = passwords.hashed("correct horse é")
KEPT = Password.model_validate({"principal": "anna", **HASHED._asdict(), **MADE})


@pytest.mark.parametrize(
    ("shown", "right"),
    [("correct horse é", True), ("correct horse e\u0301", True), ("Correct horse é", False), ("", False)],
    ids=["the same", "typed in another way", "another", "nothing"],
)
def test_a_password_is_told_from_others(shown: str, right: bool) -> None:
    assert passwords.fits(shown, KEPT) is right


DAMAGED: dict[str, dict[str, Any]] = {
    "n that is no power of two": {"n": 3},
    "n that is too large": {"n": 1 << 19},
    "r that is too small for n": {"n": 1 << 16, "r": 1},
    "no p": {"p": 0},
    "a salt that is cut off": {"salt": "00"},
    "a digest that is cut off": {"digest": "00"},
    "a digest that is none": {"digest": "z" * 64},
}


@each("case", DAMAGED)
def test_what_can_be_no_password_is_told_and_never_compared(case: str) -> None:
    damaged = {**KEPT.model_dump(mode="json"), **DAMAGED[case]}
    found = parse(KEPT.key, json.dumps(damaged).encode())
    assert isinstance(found, Unreadable)
    assert found.why


@pytest.mark.parametrize(("n", "r", "p"), [(2, 2, 1), (1 << 10, 2, 8), (2, 16, 8)])
def test_whatever_can_be_read_can_be_compared(n: int, r: int, p: int) -> None:
    assert not passwords.fits("another", KEPT.model_copy(update={"n": n, "r": r, "p": p}))


def test_nobodys_fits_nothing() -> None:
    assert not passwords.fits("", passwords.NOBODYS)


def test_the_same_password_is_kept_differently_each_time() -> None:
    again = passwords.hashed("correct horse é")
    assert (again.digest != HASHED.digest, again.salt != HASHED.salt, again.id != HASHED.id) == (True, True, True)


def test_a_short_one_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        passwords.check("hush")
    assert (caught.value.code, "hush" in str(caught.value)) == ("password_too_short", False)


def test_nothing_shows_what_it_is() -> None:
    request = LoginRequest.model_validate({"name": "anna", "password": "hush hush"})
    assert ("hush" in repr(request), KEPT.digest in repr(KEPT), KEPT.salt in str(KEPT)) == (False, False, False)


@pytest.mark.parametrize("parameters", [{"n": 1 << 30}, {"r": 1 << 20}, {"p": 1 << 20}])
def test_an_object_that_would_cost_all_memory_is_not_read(parameters: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Password.model_validate({**KEPT.model_dump(), **parameters})


@pytest.mark.parametrize(
    ("login", "state"),
    [(None, "good"), (HASHED.id, "good"), ("0" * 12, "revoked")],
    ids=["none", "this one", "another"],
)
def test_a_token_is_good_as_long_as_the_password_that_it_was_made_with(login: str | None, state: str) -> None:
    token = Token.model_validate(
        {
            "id": "A" * 12,
            "principal": "anna",
            "digest": "0" * 64,
            "login": login,
            "expires_at": utc_now() + timedelta(1),
            **MADE,
        }
    )
    child = token.model_copy(update={"id": "B" * 12, "login": None, "made_with": token.id})
    anna = Principal.model_validate({"id": "anna", **MADE})
    directory = Directory({one.key: one for one in (token, child, anna, KEPT)})
    assert [directory.state(one, utc_now()) for one in (token, child)] == [state, state]
