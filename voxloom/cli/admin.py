"""`voxloom admin`: who may use a server that asks who people are."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.file_removal import ask
from voxloom.cli.json_output import AsJson, show
from voxloom.cli.limits import limits
from voxloom.cli.retention import retention
from voxloom.cli.servers import load
from voxloom.cli.session import connect
from voxloom.cli.text import moment, printable, show_table
from voxloom.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from voxloom.client import Client
    from voxloom.models import MemberRecord, PrincipalRecord, ProjectRecord

ProjectId = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.", show_default=False)]
PrincipalId = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Their id.", show_default=False)]
UserId = Annotated[str, typer.Argument(metavar="ID", help="Their id.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="For people; any text.", show_default=False)]


class Role(StrEnum):
    """As `models.Role`."""

    viewer = "viewer"
    member = "member"
    manager = "manager"


admin = typer.Typer(no_args_is_help=True, help="Say who may use a server that asks who people are.")
user = typer.Typer(no_args_is_help=True, help="People and programs that may ask.")
project = typer.Typer(no_args_is_help=True, help="What owns files, algorithms and runs.")
member = typer.Typer(no_args_is_help=True, help="What people are in a project.")
admin.add_typer(user, name="user")
admin.add_typer(project, name="project")
admin.add_typer(member, name="member")
admin.command()(limits)
admin.command()(retention)


@admin.command()
def init(
    principal: Annotated[str, typer.Option(help="The id of the first admin.")] = "root",
    data: Annotated[
        Path | None,
        typer.Option(help="The server's data folder, where it is started with --data.", show_default=False),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="s3://..., where the server is started with --store.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file for their token (default: admin.token in the data folder, or here).", show_default=False
        ),
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Make another token for one who is an admin already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the first admin of a server, and a token for them in a file that only you can read.

    Type it where the server runs, with the same settings. A server with a store of its own must be stopped.
    """
    from voxloom.cli.answers import FirstAdmin

    made = load("admin-init")(principal=principal, data=data, store=store, out=out, renew=renew)
    if as_json:
        facts = {"principal_id": made.principal_id, "project_id": made.project_id, "expires_at": made.expires_at}
        show(FirstAdmin(file=str(made.file), **facts))
        return
    what = "has another token" if renew else "is an admin now"
    typer.echo(
        f"{made.principal_id} {what}. Their token is in {made.file}, good until {moment(made.expires_at)} UTC."
        f' Show it with VOXLOOM_TOKEN="$(cat {shlex.quote(str(made.file))})".'
    )
    if made.auth != "closed":
        typer.echo(
            'Start the server with VOXLOOM_AUTH=closed (or `auth = "closed"` in voxloom.toml): on this store it does '
            "not start any more without.",
            err=True,
        )


# --- users ----------------------------------------------------------------------------------------------------------


@user.command("list")
def list_users(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show who may ask."""
    with connect(ctx) as client:
        known = client.principals()
    if as_json:
        show(known)
        return
    heads = ("PRINCIPAL", "NAME", "ADMIN", "DISABLED", "SINCE (UTC)", "BY")
    show_table(heads, [_user_row(one) for one in known], flexible="NAME")


def _user_row(one: PrincipalRecord) -> tuple[str, ...]:
    flags = "yes" if one.admin else "", "yes" if one.disabled else ""
    return one.principal_id, one.name, *flags, moment(one.created_at), one.created_by


@user.command("add")
def add_user(
    ctx: typer.Context,
    principal_id: UserId,
    name: Name = None,
    is_admin: Annotated[
        bool | None, typer.Option("--admin/--no-admin", help="May do everything, in every project.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a person or a program, or change one that is there: what is not said stays as it is."""
    told = {"name": name, "admin": is_admin}
    with connect(ctx) as client:
        try:
            made = _change(client, client.principal(principal_id), **told)
        except NotFound:
            made = client.put_principal(principal_id, name=name or "", admin=bool(is_admin))
    _tell_user(made, as_json=as_json)


@user.command("disable")
def disable_user(ctx: typer.Context, principal_id: UserId, as_json: AsJson = False) -> None:
    """Let their tokens be good for nothing, for as long as it is so. An admin is none after that."""
    with connect(ctx) as client:
        made = _change(client, client.principal(principal_id), disabled=True)
    _tell_user(made, as_json=as_json)


@user.command("enable")
def enable_user(ctx: typer.Context, principal_id: UserId, as_json: AsJson = False) -> None:
    """Let their tokens be good again. Who was an admin before is none; `admin user add ID --admin` makes them one."""
    with connect(ctx) as client:
        made = _change(client, client.principal(principal_id), disabled=False)
    _tell_user(made, as_json=as_json)


def _change(client: Client, old: PrincipalRecord, **told: Any) -> PrincipalRecord:
    """What is None stays as it is: the server replaces all that it keeps of somebody."""
    facts: dict[str, Any] = {"name": old.name, "admin": old.admin, "disabled": old.disabled}
    facts |= {name: value for name, value in told.items() if value is not None}
    return client.put_principal(old.principal_id, **facts)


def _tell_user(one: PrincipalRecord, *, as_json: bool) -> None:
    if as_json:
        show(one)
        return
    kind = "an admin" if one.admin else "no admin"
    typer.echo(printable(f"{one.principal_id}: {kind}{', disabled' if one.disabled else ''}"))


@user.command("remove")
def remove_user(
    ctx: typer.Context,
    principal_id: UserId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove somebody for good: their tokens end, and nobody gets their id again."""
    if not yes:
        ask(principal_id)
    with connect(ctx) as client:
        client.remove_principal(principal_id)
    _done(principal_id, "Principal removed", as_json=as_json)


@user.command("link")
def link_user(
    ctx: typer.Context,
    principal_id: UserId,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Their `sub` at the OpenID provider.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Say who of the server's OpenID provider this is: their access tokens let them in."""
    with connect(ctx) as client:
        client.link_identity(principal_id, subject)
    _done(principal_id, "Identity linked", as_json=as_json)


@user.command("unlink")
def unlink_user(ctx: typer.Context, principal_id: UserId, as_json: AsJson = False) -> None:
    """Take that away: access tokens of the OpenID provider let nobody in as this principal."""
    with connect(ctx) as client:
        client.unlink_identity(principal_id)
    _done(principal_id, "Identity removed", as_json=as_json)


@user.command("logout")
def log_user_out(ctx: typer.Context, principal_id: UserId, as_json: AsJson = False) -> None:
    """End all tokens that were issued for somebody until now, also those of the OpenID provider."""
    with connect(ctx) as client:
        client.end_tokens(principal_id)
    _done(principal_id, "Logged out everywhere", as_json=as_json)


def _done(what: str, said: str, *, as_json: bool) -> None:
    if as_json:
        from voxloom.cli.answers import Done

        show(Done(what=what, said=said))
        return
    typer.echo(printable(f"{what}: {said}"))


# --- projects -------------------------------------------------------------------------------------------------------


@project.command("list")
def list_projects(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the projects that you may look into."""
    with connect(ctx) as client:
        known = client.projects()
    if as_json:
        show(known)
        return
    heads = ("PROJECT", "NAME", "LIBRARY", "STATE", "YOUR ROLE", "SINCE (UTC)", "BY")
    show_table(heads, [_project_row(one) for one in known], flexible="NAME")


def _project_row(one: ProjectRecord) -> tuple[str, ...]:
    library, state = "yes" if one.library else "", "removing" if one.removing else ""
    return one.project_id, one.name, library, state, one.role or "", moment(one.created_at), one.created_by


@project.command("add")
def add_project(
    ctx: typer.Context,
    project_id: ProjectId,
    name: Name = None,
    library: Annotated[
        bool | None, typer.Option("--library/--no-library", help="All other projects see and run its algorithms.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a project, or change one that is there: what is not said stays as it is."""
    with connect(ctx) as client:
        known = _name_of(client, project_id) if name is None else name
        made = client.put_project(project_id, name=known, library=library)
    if as_json:
        show(made)
        return
    typer.echo(f"{made.project_id}: there; `voxloom admin member set` says who is in it")


@project.command("rm")
def remove_project(
    ctx: typer.Context,
    project_id: ProjectId,
    everything: Annotated[bool, typer.Option("--all", help="With all that it owns.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a project for good; nobody gets its id again. One that owns something is removed with --all only.

    With --all its files, algorithms, runs, samples and checkpoints go, too. Type it again if it was interrupted.
    """
    if not yes:
        ask(f"{project_id} and all that it owns" if everything else project_id)
    with connect(ctx) as client:
        while True:
            try:
                client.remove_project(project_id, everything=everything)
                break
            except Unavailable as error:
                if error.code != "project_removal_unfinished":
                    raise
                typer.echo(printable(error.message), err=True)
    _done(project_id, "Project removed", as_json=as_json)


def _name_of(client: Client, project_id: str) -> str:
    try:
        return client.project(project_id).name
    except NotFound:
        return ""


# --- members --------------------------------------------------------------------------------------------------------


@member.command("list")
def list_members(ctx: typer.Context, project_id: ProjectId, as_json: AsJson = False) -> None:
    """Show who is in a project, and as what."""
    with connect(ctx) as client:
        known = client.members(project_id)
    if as_json:
        show(known)
        return
    show_table(("PRINCIPAL", "ROLE", "SINCE (UTC)", "BY"), _member_rows(known), flexible="PRINCIPAL")


def _member_rows(known: Sequence[MemberRecord]) -> list[tuple[str, ...]]:
    return [(one.principal_id, one.role, moment(one.created_at), one.created_by) for one in known]


@member.command("set")
def set_member(
    ctx: typer.Context,
    project_id: ProjectId,
    principal_id: PrincipalId,
    role: Annotated[Role, typer.Argument(help="A viewer looks, a member runs, a manager deploys, too.")],
    as_json: AsJson = False,
) -> None:
    """Make somebody a member of a project, or give them another role there."""
    with connect(ctx) as client:
        made = client.put_member(project_id, principal_id, role.value)
    if as_json:
        show(made)
        return
    typer.echo(f"{made.principal_id}: {made.role} of {made.project_id}")


@member.command("remove")
def remove_member(
    ctx: typer.Context, project_id: ProjectId, principal_id: PrincipalId, as_json: AsJson = False
) -> None:
    """Take somebody out of a project. What they have made stays."""
    with connect(ctx) as client:
        client.remove_member(project_id, principal_id)
    _done(principal_id, "Member removed", as_json=as_json)
