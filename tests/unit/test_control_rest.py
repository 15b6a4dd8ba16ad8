"""What a newer version has written into an object of the control store beside what this one knows."""

from __future__ import annotations

import json
from typing import Any

from shared.control import passwords
from shared.control.objects import (
    KINDS,
    Admins,
    ControlObject,
    Identity,
    Limits,
    Member,
    Mode,
    Password,
    Principal,
    Project,
    Retention,
    Token,
)
from shared.control.store import parse
from tests.each import each
from tests.unit.control_objects import ASKED, HOUR, NOW

CHANGED: dict[str, Any] = {"changed_at": NOW, "changed_by": "root"}
EVERY: dict[str, ControlObject] = {
    "mode": Mode(since=NOW),
    "admins": Admins(principals=("root",)),
    "principals": Principal(id="anna", **ASKED),
    "projects": Project(id="lab1", library=True, **ASKED),
    "members": Member(project="lab1", principal="anna", role="viewer", **ASKED),
    "tokens": Token(id="t" * 12, principal="anna", digest="0" * 64, expires_at=NOW + HOUR, **ASKED),
    "limits": Limits(project="lab1", weight=2, **CHANGED),
    "retention": Retention(project="lab1", files=3, **CHANGED),
    "identities": Identity(id="0" * 64, issuer="i", subject="s", principal="anna", **ASKED),
    "passwords": Password.model_validate({"principal": "anna", **passwords.NOBODYS._asdict(), **ASKED}),
}
LATER = {"later": {"of": ["a", "newer", "version"]}, "key": "elsewhere", "may_ask": True, "model_config": {"frozen": 0}}
"""Also under names that something has here."""


def later(one: ControlObject) -> bytes:
    return json.dumps({**json.loads(one.model_dump_json()), **LATER}).encode()


def rest_of(one: ControlObject) -> dict[str, Any]:
    said = json.loads(one.model_dump_json())
    return {name: said[name] for name in LATER if name in said}


def test_there_is_one_of_each_kind() -> None:
    assert EVERY.keys() == KINDS.keys() | {"mode", "admins"}


@each("kind", EVERY)
def test_what_this_version_knows_nothing_of_changes_nothing_here(kind: str) -> None:
    one = EVERY[kind]
    found = parse(one.key, later(one))
    assert isinstance(found, type(one))
    assert (found.key, {name: getattr(found, name) for name in type(one).model_fields}) == (
        one.key,
        {name: getattr(one, name) for name in type(one).model_fields},
    )


@each("kind", EVERY)
def test_it_is_written_again_with_it(kind: str) -> None:
    one = EVERY[kind]
    found = parse(one.key, later(one))
    assert isinstance(found, ControlObject)
    # Whether the object is changed, or another put in its place
    changed, replaced = found.model_copy(update={"format": 2}), one.in_place_of(found)
    expected = LATER if one.keeps_the_rest else {}
    assert (rest_of(changed), rest_of(replaced)) == (LATER, expected)
    assert replaced == parse(one.key, replaced.model_dump_json().encode())


def test_a_disabled_principal_is_not_let_in_by_what_a_newer_version_says() -> None:
    one = Principal(id="anna", disabled=True, **ASKED)
    found = parse(one.key, later(one))
    assert isinstance(found, Principal)
    assert not found.may_ask


def test_a_new_password_has_nothing_of_the_old_one() -> None:
    assert [kind for kind, one in EVERY.items() if not one.keeps_the_rest] == ["passwords"]
