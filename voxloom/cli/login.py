"""`voxloom login`, `logout`, `passwd`: a token for a name and a password, kept until it is over."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli import keyring
from voxloom.cli.json_output import AsJson, show
from voxloom.cli.keyring import Login
from voxloom.cli.session import connect
from voxloom.cli.text import moment, printable
from voxloom.client._address import Address, find_address
from voxloom.errors import InvalidInput, NotAllowed, NotFound, Unauthenticated, VoxloomError

if TYPE_CHECKING:
    from voxloom.cli.session import Told
    from voxloom.client import Client
    from voxloom.models import OidcOffer, TokenMade

Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read passwords from stdin, one a line: the old one, then the new.")
]
_LONGEST = 1024
_ONE_TIME_BYTES = 12


def login(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Your id.", show_default=False)] = None,
    password_stdin: Stdin = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send a password over a network without TLS; others can read it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Get a token, and keep it for the commands after this: for a name and a password, or from the OpenID provider of
    the server, where it has one and no NAME is given.

    It goes to this server alone. VOXLOOM_TOKEN goes before it. `voxloom logout` ends it.
    """
    address = _address_of(ctx)
    with connect(ctx, anonymous=True) as client:
        offer = client.how_to_log_in() if name is None and not password_stdin else None
        if offer is not None and offer.oidc is not None:
            _log_in_elsewhere(ctx, address.url, offer.oidc, as_json=as_json)
            return
        _check_safe(address, insecure=insecure)
        name = name or _asked("Name")
        made = _log_in(client, name, _lines() if password_stdin else [])
    keep(address.url, made)
    _tell(address.url, made.principal_id, made.expires_at, as_json=as_json)


def _log_in_elsewhere(ctx: typer.Context, url: str, offer: OidcOffer, *, as_json: bool) -> None:
    """What is kept lets somebody in: who it is, the server says."""
    from voxloom.cli import device

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    got = device.log_in(offer.issuer, offer.client_id, " ".join(offer.scopes), offer.audience, tell)
    with connect(ctx, token=got.token) as client:
        who = client.whoami()
    keyring.keep(url, replace(got, principal_id=who.principal_id))
    _tell(url, who.principal_id, str(got.expires_at), as_json=as_json)


def _log_in(client: Client, name: str, lines: list[str]) -> TokenMade:
    password = lines[0] if lines else _hidden("Password")
    try:
        return client.login(name, password, new_password=lines[1] if len(lines) > 1 else None)
    except NotAllowed as error:
        if error.code != "password_must_change" or lines:
            raise
        typer.echo("This password is good for one time; choose another one.", err=True)
        return client.login(name, password, new_password=_new())


def keep(url: str, made: TokenMade) -> None:
    keyring.keep(url, Login(made.token, made.principal_id, made.expires_at))


def _tell(url: str, principal_id: str | None, expires_at: str, *, as_json: bool) -> None:
    if as_json:
        from voxloom.cli.answers import LoggedIn

        show(LoggedIn(server=url, principal_id=principal_id, expires_at=expires_at))
    else:
        typer.echo(f"{printable(principal_id or 'You')}: logged in to {url} until {moment(expires_at)} UTC.")
    if os.environ.get("VOXLOOM_TOKEN"):
        typer.echo("VOXLOOM_TOKEN is set and goes before that; unset it to use the login.", err=True)


def logout(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Revoke the token that `voxloom login` has got, with what was made with it, and forget it."""
    url = _address_of(ctx).url
    kept = keyring.find(url)
    if kept is None:
        raise NotFound(f"Nobody is logged in to {url} here.", code="not_logged_in")
    try:
        _revoke(ctx, kept)
    finally:
        keyring.forget(url)
    if as_json:
        from voxloom.cli.answers import Done

        show(Done(what=url, said="Logged out"))
        return
    typer.echo(f"Logged out of {url}.")


def _revoke(ctx: typer.Context, kept: Login) -> None:
    if kept.issuer is not None:
        from voxloom.cli import device

        device.revoke(kept)
        return
    with connect(ctx, token=kept.token) as client:
        try:
            client.logout()
        except Unauthenticated:
            return  # It was over already.
        except VoxloomError as error:
            error.args = (f"The token is forgotten here, but it was not revoked: {error}",)
            raise


def passwd(
    ctx: typer.Context,
    principal_id: Annotated[
        str | None, typer.Argument(metavar="PRINCIPAL", help="Whose, else your own; for admins.", show_default=False)
    ] = None,
    one_time: Annotated[
        bool, typer.Option("--one-time", help="Make one up, print it; it must be changed at the first login.")
    ] = False,
    password_stdin: Stdin = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send passwords over a network without TLS; others can read them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set your password; an admin sets those of others.

    All that was logged in with the old one is logged out.
    """
    address = _address_of(ctx)
    _check_safe(address, insecure=insecure)
    with connect(ctx) as client:
        who = client.whoami()
        owner = principal_id or who.principal_id
        lines = _lines() if password_stdin else []
        old = None if who.admin or owner != who.principal_id else _old_of(lines)
        new = lines[-1] if lines else secrets.token_urlsafe(_ONE_TIME_BYTES) if one_time else _new()
        client.set_password(owner, new, old_password=old, one_time=one_time)
        if owner == who.principal_id and not one_time:
            _log_in_again(client, address.url, owner, new)
    _tell_set(owner, new if one_time and not lines else None, as_json=as_json)


def _old_of(lines: list[str]) -> str | None:
    """None: there is none so far."""
    if lines:
        return lines[0] if len(lines) > 1 else None
    return _hidden("Password so far (empty: none)", empty=True) or None


def _log_in_again(client: Client, url: str, name: str, password: str) -> None:
    """What was kept has ended with the old password."""
    if keyring.find(url) is None:
        return
    try:
        keep(url, client.login(name, password))
    except VoxloomError:
        keyring.forget(url)
        raise


def _tell_set(owner: str, shown: str | None, *, as_json: bool) -> None:
    if as_json:
        from voxloom.cli.answers import PasswordSet

        show(PasswordSet(principal_id=owner, password=shown))
        return
    typer.echo(f"{printable(owner)}: the password is set.", err=shown is not None)
    if shown is not None:
        typer.echo(shown)


# --- what is typed --------------------------------------------------------------------------------------------------


def _address_of(ctx: typer.Context) -> Address:
    told: Told = ctx.find_root().obj
    return find_address(told.url)


def _check_safe(address: Address, *, insecure: bool) -> None:
    if not (address.secure or address.local or insecure):
        raise InvalidInput(
            f"{address.url} is reached without TLS, so others on the way can read a password. Use https://, or "
            "--insecure if the network is your own."
        )


def _lines() -> list[str]:
    found = sys.stdin.read(_LONGEST).splitlines()
    if not found or not all(found):
        raise InvalidInput("stdin has no password; send it in one line.")
    return found[:2]


def _new() -> str:
    new = _hidden("New password")
    if _hidden("Again") != new:
        raise InvalidInput("Those two are not the same; nothing has changed.")
    return new


def _asked(what: str) -> str:
    _check_terminal(f"Name them: voxloom login {what.upper()}")
    return str(typer.prompt(what, err=True))


def _hidden(what: str, *, empty: bool = False) -> str:
    _check_terminal("Send the password on stdin with --password-stdin.")
    return str(typer.prompt(what, hide_input=True, err=True, default="" if empty else None, show_default=False))


def _check_terminal(advice: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(f"Nobody can be asked here, since stdin is no terminal. {advice}")
