"""A server's principals, projects, members and tokens, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.control.objects import Admins, ControlObject, Limits, Member, Principal, Project, Role, Token, Unreadable
from shared.control.tokens import digest_of, mint

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ASKED: dict[str, Any] = {"created_at": NOW - HOUR, "created_by": "root"}


def principal(principal_id: str, **facts: Any) -> Principal:
    return Principal(id=principal_id, **ASKED, **facts)


def project(name: str) -> Project:
    return Project(id=name, **ASKED)


def member(project_id: str, principal_id: str, role: Role) -> Member:
    return Member(project=project_id, principal=principal_id, role=role, **ASKED)


def admins(*names: str) -> Admins:
    return Admins(principals=names)


def limits(project_id: str, **facts: Any) -> Limits:
    return Limits(project=project_id, changed_at=NOW, changed_by="root", **facts)


def token(owner: str, **facts: Any) -> tuple[str, Token]:
    """Its text, and what is kept of it."""
    made = mint()
    given = {"expires_at": NOW + HOUR, **ASKED, **facts}
    return made.text, Token(id=made.id, principal=owner, digest=digest_of(made.text), **given)


def by_key(*objects: ControlObject | Unreadable) -> dict[str, ControlObject | Unreadable]:
    return {one.key: one for one in objects}
