"""`voxloom whoami`, `voxloom token`: who one is to a server that asks, and what proves it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect
from voxloom.cli.text import columns, moment, printable, show_table

if TYPE_CHECKING:
    from voxloom.models import TokenRecord, WhoAmI

TokenId = Annotated[str, typer.Argument(help="The token's id, not the token.", metavar="ID", show_default=False)]


class Right(StrEnum):
    """As `models.Right`."""

    read = "read"
    run = "run"
    deploy = "deploy"
    admin = "admin"


def whoami(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show who you are to the server, and what you may do in which project."""
    with connect(ctx) as client:
        who = client.whoami()
    if as_json:
        show(who)
        return
    for line in columns([(name, printable(value)) for name, value in _facts_of(who)]):
        typer.echo(line)
    if who.projects:
        typer.echo()
        rows = [(one.project_id, one.role or "", ", ".join(one.rights)) for one in who.projects]
        show_table(("PROJECT", "ROLE", "RIGHTS"), rows, flexible="PROJECT")


def _facts_of(who: WhoAmI) -> Iterator[tuple[str, str]]:
    yield "principal", f"{who.principal_id} ({who.name})" if who.name else who.principal_id
    yield "server", "asks everybody who they are" if who.auth == "closed" else "asks nobody who they are"
    yield "admin", "yes" if who.admin else "no"
    if who.token_id is not None:
        yield "token", f"{who.token_id}, good until {moment(who.expires_at or '')} UTC"
    yield "project", who.project_id or "none: name one with --project, or VOXLOOM_PROJECT"


token = typer.Typer(no_args_is_help=True, help="Make tokens, look at them, revoke them.")


@token.command("create")
def create_token(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    days: Annotated[
        float | None, typer.Option(help="It expires after so long (default 90).", show_default=False)
    ] = None,
    projects: Annotated[
        list[str] | None,
        typer.Option("--project-only", metavar="PROJECT", help="Good for this project alone; may be repeated."),
    ] = None,
    rights: Annotated[
        list[Right] | None, typer.Option("--right", help="Good for this alone; may be repeated.", show_default=False)
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--for", metavar="PRINCIPAL", help="Whose it is, else yours; for admins.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is printed once, and nobody can read it again later.

    It is good for no more than the one that you have, and is revoked along with it.
    """
    with connect(ctx) as client:
        made = client.create_token(
            name,
            days=days,
            projects=projects or None,
            rights=[one.value for one in rights] if rights else None,
            principal_id=owner,
        )
    if as_json:
        show(made)
        return
    typer.echo(
        f"Token {made.token_id} of {made.principal_id}, good until {moment(made.expires_at)} UTC. "
        "It is shown this once; keep it where only its owner can read it.",
        err=True,
    )
    typer.echo(made.token)


@token.command("list")
def list_tokens(
    ctx: typer.Context,
    owner: Annotated[
        str | None, typer.Option("--of", metavar="PRINCIPAL", help="Of this one alone; for admins.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show your tokens, the newest first, without their secrets; an admin sees all."""
    with connect(ctx) as client:
        known = client.tokens(owner)
    if as_json:
        show(known)
        return
    heads = ("TOKEN", "OF", "NAME", "STATUS", "PROJECTS", "RIGHTS", "EXPIRES (UTC)")
    show_table(heads, [_row(one) for one in known], flexible="NAME")


def _row(one: TokenRecord) -> tuple[str, ...]:
    projects = "all" if one.projects is None else ", ".join(one.projects)
    rights = "all" if one.rights is None else ", ".join(one.rights)
    return one.token_id, one.principal_id, one.name, one.status, projects, rights, moment(one.expires_at)


@token.command("revoke")
def revoke_token(ctx: typer.Context, token_id: TokenId, as_json: AsJson = False) -> None:
    """Revoke a token, and those that were made with it: nobody is let in by them any more."""
    with connect(ctx) as client:
        client.revoke_token(token_id)
    if as_json:
        from voxloom.cli.answers import Done

        show(Done(what=token_id, said="Token revoked"))
        return
    typer.echo(f"Revoked {printable(token_id)}, and what was made with it.")
