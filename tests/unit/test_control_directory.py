"""Who asks with a token, and what they may: a decision over what is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.caller import Caller
from shared.control.directory import Directory
from shared.control.objects import ALL_RIGHTS, ROLES, ControlObject, Identity, Unreadable
from shared.oidc.claims import Proof
from tests.each import each
from tests.unit.control_objects import ASKED, HOUR, NOW, admins, by_key, member, principal, project, token
from voxloom.errors import ControlUnavailable, NotAllowed, Unauthenticated, VoxloomError

PEOPLE = (
    admins("root"),
    principal("root"),
    principal("anna"),
    principal("bob"),
    principal("gone", disabled=True),
    principal("left", disabled=True, removed=True),
    project("lab1"),
    project("lab2"),
    member("lab1", "anna", "member"),
    member("lab2", "bob", "viewer"),
    member("lab1", "bob", "manager"),
    member("lost", "anna", "manager"),  # of a project that is not there
)


def asks(
    owner: str, project_id: str | None = None, *, beside: tuple[ControlObject | Unreadable, ...] = (), **facts: Any
) -> Caller:
    text, kept = token(owner, **facts)
    objects = by_key(*PEOPLE, kept) | by_key(*beside)
    return Directory(objects).caller(text, project_id, NOW)


def may(owner: str, project_id: str | None = None, **facts: Any) -> tuple[str, frozenset[str]]:
    caller = asks(owner, project_id, **facts)
    return caller.project, caller.rights


ADMIN = frozenset({"admin"})
MAY = {
    "a member, of their only project": (may("anna"), ("lab1", ROLES["member"])),
    "a member, who names it": (may("anna", "lab1"), ("lab1", ROLES["member"])),
    "one of two projects": (may("bob", "lab2"), ("lab2", ROLES["viewer"])),
    "the other one": (may("bob", "lab1"), ("lab1", ROLES["manager"])),
    "none of two projects": (may("bob"), ("system", frozenset())),
    "a token for one of two": (may("bob", projects=("lab2",)), ("lab2", ROLES["viewer"])),
    "a token for fewer rights": (may("anna", rights=("read",)), ("lab1", ROLES["viewer"])),
    "a token for more rights than the owner has": (may("anna", rights=("read", "deploy")), ("lab1", ROLES["viewer"])),
    "a token for no right": (may("anna", rights=()), ("lab1", frozenset())),
    "an admin who is no member": (may("root", "lab2"), ("lab2", ALL_RIGHTS)),
    "an admin who names no project": (may("root"), ("system", ADMIN)),
    "an admin's token for one project": (may("root", projects=("lab1",)), ("lab1", ALL_RIGHTS - ADMIN)),
    "an admin's token for fewer rights": (may("root", "lab1", rights=("read",)), ("lab1", ROLES["viewer"])),
    "an admin's token without the right of admins": (may("root", rights=("read", "run")), ("system", frozenset())),
}


@each("case", MAY)
def test_rights_are_those_of_the_role_and_of_the_token_together(case: str) -> None:
    found, expected = MAY[case]
    assert found == expected


def refusal_of(owner: str, project_id: str | None = None, **facts: Any) -> VoxloomError:
    with pytest.raises(VoxloomError) as refused:
        asks(owner, project_id, **facts)
    return refused.value


REFUSED = {
    "expired": (refusal_of("anna", expires_at=NOW), Unauthenticated, "token_expired"),
    "revoked": (refusal_of("anna", revoked_at=NOW - HOUR), Unauthenticated, "token_revoked"),
    "revoked later": (refusal_of("anna", revoked_at=NOW + HOUR), Unauthenticated, "token_revoked"),
    "of nobody": (refusal_of("nobody"), Unauthenticated, "principal_disabled"),
    "of one who is disabled": (refusal_of("gone"), Unauthenticated, "principal_disabled"),
    "of one who was removed": (refusal_of("left"), Unauthenticated, "principal_disabled"),
    "for a project of others": (refusal_of("anna", "lab2"), NotAllowed, "project_not_allowed"),
    "for a project that is not there": (refusal_of("anna", "nothing"), NotAllowed, "project_not_allowed"),
    "for a project that is gone": (refusal_of("anna", "lost"), NotAllowed, "project_not_allowed"),
    "for a project beyond the token's": (
        refusal_of("bob", "lab1", projects=("lab2",)),
        NotAllowed,
        "project_not_allowed",
    ),
    "of an unreadable principal": (
        refusal_of("anna", beside=(Unreadable("principals/anna", "newer"),)),
        ControlUnavailable,
        "control_unavailable",
    ),
}


@each("case", REFUSED)
def test_what_is_not_let_in_is_told_why(case: str) -> None:
    error, kind, code = REFUSED[case]
    assert (type(error), error.code) == (kind, code)


def test_a_project_of_others_and_one_that_is_not_there_are_refused_alike() -> None:
    said = [str(refusal_of("anna", name)).replace(name, "it") for name in ("lab2", "none")]
    assert said[0] == said[1]


def test_a_token_that_nobody_has_made_is_not_known() -> None:
    text, _ = token("anna")
    with pytest.raises(Unauthenticated, match="does not know"):
        Directory(by_key(*PEOPLE)).caller(text, None, NOW)


@pytest.mark.parametrize("first_of", [True, False])
def test_a_token_goes_with_the_first_of_those_it_was_made_with(first_of: bool) -> None:
    """Also where the one in between was made while the first was revoked, so that nobody has revoked it."""
    _, first = token("anna", revoked_at=NOW - HOUR)
    _, second = token("anna", made_with=first.id)
    text, third = token("anna", made_with=second.id)
    known = (first, second, third) if first_of else (second, third)
    with pytest.raises(Unauthenticated) as refused:
        Directory(by_key(*PEOPLE, *known)).caller(text, None, NOW)
    assert refused.value.code == "token_revoked"


def test_a_token_outlives_one_that_it_was_made_with_and_that_has_expired() -> None:
    _, first = token("anna", expires_at=NOW - HOUR / 2)
    text, second = token("anna", made_with=first.id)
    assert Directory(by_key(*PEOPLE, first, second)).caller(text, None, NOW).principal == "anna"


def test_tokens_that_say_they_have_made_each_other_harm_nobody() -> None:
    text, first = token("anna")
    _, second = token("anna", made_with=first.id)
    known = (first.model_copy(update={"made_with": second.id}), second)
    assert Directory(by_key(*PEOPLE, *known)).caller(text, None, NOW).principal == "anna"


def test_a_token_of_the_same_id_with_another_secret_is_not_known() -> None:
    text, kept = token("anna")
    forged = kept.model_copy(update={"digest": "0" * 64})
    with pytest.raises(Unauthenticated, match="does not know"):
        Directory(by_key(*PEOPLE, forged)).caller(text, None, NOW)


def test_an_unreadable_token_lets_nobody_in_and_says_why() -> None:
    text, kept = token("anna")
    with pytest.raises(ControlUnavailable, match=r"tokens/"):
        Directory(by_key(*PEOPLE, Unreadable(kept.key, "newer"))).caller(text, None, NOW)


@each("key", ["admins", "members/lab1/anna", "projects/lab1"])
def test_what_cannot_be_read_gives_no_right(key: str) -> None:
    owner = "root" if key == "admins" else "anna"
    caller = asks(owner, beside=(Unreadable(key, "newer"),))
    assert (caller.project, caller.rights) == ("system", frozenset())


# --- logged out everywhere ------------------------------------------------------------------------------------------


class Proven:
    """An OpenID provider that has proven one token."""

    def __init__(self, issued_at: datetime) -> None:
        self.proven = Proof("p" * 12, "0" * 64, "1" * 64, "sub", issued_at, NOW + HOUR, ())

    def proof(self, _: str) -> Proof:
        return self.proven

    def proof_by_id(self, token_id: str) -> Proof | None:
        return self.proven if token_id == self.proven.id else None


def lets_in(issued: float, logged_out: float | None, at: float) -> bool:
    """An access token that says it was issued then; all in seconds from NOW on."""
    since = None if logged_out is None else NOW + timedelta(seconds=logged_out)
    known = Identity(id="1" * 64, issuer="i", subject="sub", principal="zoe", **ASKED)
    objects = by_key(*PEOPLE, principal("zoe", not_before=since), member("lab1", "zoe", "viewer"), known)
    directory = Directory(objects, Proven(NOW + timedelta(seconds=issued)))
    try:
        directory.caller("a.b.c", None, NOW + timedelta(seconds=at))
    except Unauthenticated as error:
        return error.code != "token_revoked"
    return True


OUT = {
    "never logged out": (lets_in(0, None, 0), True),
    "issued before": (lets_in(-1, 0, 1), False),
    "issued at the same moment": (lets_in(0, 0, 1), False),
    "issued before, by a clock that is ahead": (lets_in(29.9, 0, 1), False),
    "the same, once that time has come": (lets_in(29.9, 0, 60), False),
    "issued after that, whatever the clock": (lets_in(30, 0, 30), True),
    "issued long after": (lets_in(300, 0, 300), True),
}


@each("case", OUT)
def test_no_clock_that_is_ahead_keeps_a_token_alive(case: str) -> None:
    found, expected = OUT[case]
    assert found is expected


def test_tokens_of_ours_count_by_our_own_clock() -> None:
    objects = (*PEOPLE, principal("zoe", not_before=NOW - HOUR), member("lab1", "zoe", "viewer"))
    text, kept = token("zoe", created_at=NOW - HOUR)
    assert Directory(by_key(*objects, kept)).caller(text, None, NOW).principal == "zoe"
