"""What owns things, and what people are in it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from services.gateway.context import Context
from services.gateway.operations.control import (
    change,
    check_free,
    directory_of,
    may_all,
    not_found,
    principal_of,
    reach_of,
    take_away,
    tell,
)
from shared.caller import Caller
from shared.control.objects import Member, Project, ProjectSetting, Role, member_key
from voxloom.errors import Conflict, NotAllowed
from voxloom.models import MemberRecord, ProjectRecord, ProjectRequest, format_time, utc_now

_MEMBERS = "Who the members are"


def list_mine(context: Context, caller: Caller) -> list[ProjectRecord]:
    """Those that the caller may look into; for an admin also those that are being removed."""
    going = {one.id for one in directory_of(context).going()} if may_all(context, caller) else set()
    return [find(context, caller, one) for one in sorted({*reach_of(context, caller), *going})]


def find(context: Context, caller: Caller, project_id: str) -> ProjectRecord:
    """Raises NotFound (`project_not_found`), also for one of others."""
    directory = directory_of(context)
    found = directory.kept_project(project_id)
    if found is None or not _may_see(context, caller, found):
        raise not_found("project", project_id)
    return ProjectRecord(
        project_id=found.id,
        name=found.name,
        library=found.library,
        removing=found.state == "removing",
        role=directory.role(project_id, caller.principal),
        created_at=format_time(found.created_at),
        created_by=found.created_by,
    )


def _may_see(context: Context, caller: Caller, project: Project) -> bool:
    if project.state == "removing":
        return may_all(context, caller)
    return project.state == "there" and project.id in reach_of(context, caller)


async def put(context: Context, caller: Caller, project_id: str, wanted: ProjectRequest) -> ProjectRecord:
    directory_of(context)
    check_free(project_id)

    def make(old: Project | None) -> Project:
        if old is not None and old.state != "there":
            raise Conflict(
                f"The project {project_id!r} {'is being' if old.state == 'removing' else 'was'} removed, and its id is "
                "never given again; choose another one.",
                code="project_removed",
            )
        told = wanted.model_dump(exclude_none=True)
        if old is not None:
            return old.model_copy(update=told)
        return Project(id=project_id, created_at=utc_now(), created_by=caller.principal, **told)

    await change(context, f"projects/{project_id}", Project, make)
    await tell(context, f"projects/{project_id}")
    return find(context, caller, project_id)


def said_of(kept: ProjectSetting | None, asked: type[BaseModel]) -> dict[str, Any]:
    """What is set of a project, by the fields of `asked`, and who has set it; nothing where nobody has."""
    if kept is None:
        return {}
    said = kept.model_dump(include=set(asked.model_fields))
    return {**said, "changed_at": format_time(kept.changed_at), "changed_by": kept.changed_by}


async def replace(
    context: Context, caller: Caller, kind: type[ProjectSetting], project_id: str, wanted: BaseModel
) -> None:
    """Sets something of a project in place of what was, and tells all gateways."""
    asked: dict[str, Any] = {"changed_at": utc_now(), "changed_by": caller.principal}
    new = kind(project=project_id, **wanted.model_dump(), **asked)
    await change(context, new.key, kind, lambda _: new)
    await tell(context, new.key)


def members(context: Context, caller: Caller, project_id: str) -> list[MemberRecord]:
    find(context, caller, project_id)
    known = (one for one in directory_of(context).members() if one.project == project_id)
    return [_record(one) for one in sorted(known, key=lambda one: one.principal)]


async def put_member(context: Context, caller: Caller, project_id: str, principal_id: str, role: Role) -> MemberRecord:
    """Raises NotFound (`project_not_found`, `principal_not_found`), NotAllowed (`forbidden`)."""
    check_manages(context, caller, project_id, _MEMBERS)
    principal_of(context, principal_id)

    def make(old: Member | None) -> Member:
        if old is not None:
            return old.model_copy(update={"role": role})
        asked = {"created_at": utc_now(), "created_by": caller.principal}
        return Member(project=project_id, principal=principal_id, role=role, **asked)

    key = member_key(project_id, principal_id)
    written = await change(context, key, Member, make)
    assert written is not None
    await tell(context, key)
    return _record(written)


async def remove_member(context: Context, caller: Caller, project_id: str, principal_id: str) -> None:
    """Raises NotFound (`project_not_found`, `member_not_found`), NotAllowed (`forbidden`)."""
    check_manages(context, caller, project_id, _MEMBERS)
    if directory_of(context).role(project_id, principal_id) is None:
        raise not_found("member", principal_id)
    key = member_key(project_id, principal_id)
    await take_away(context, key)
    await tell(context, key)


def check_there(context: Context, project_id: str) -> None:
    """Raises Conflict (`project_removed`) where it is being removed: nothing of it is changed any more."""
    known = directory_of(context).kept_project(project_id)
    if known is not None and known.state != "there":
        raise Conflict(f"The project {project_id!r} is being removed.", code="project_removed")


def check_manages(context: Context, caller: Caller, project_id: str, what: str) -> None:
    """Raises NotFound (`project_not_found`), NotAllowed (`forbidden`)."""
    find(context, caller, project_id)
    check_there(context, project_id)
    if "deploy" not in reach_of(context, caller).get(project_id, frozenset()):
        raise NotAllowed(
            f"{what} is for the managers of {project_id!r} to say.",
            code="forbidden",
            details={"right": "deploy", "project": project_id},
        )


def _record(one: Member) -> MemberRecord:
    return MemberRecord(
        project_id=one.project,
        principal_id=one.principal,
        role=one.role,
        created_at=format_time(one.created_at),
        created_by=one.created_by,
    )
