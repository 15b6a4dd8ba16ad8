"""What every command needs: a client, and the run that an abbreviated id means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from voxloom.errors import InvalidInput
from voxloom.ids import is_id

if TYPE_CHECKING:
    from voxloom.client import Client, Run

RunId = Annotated[str, typer.Argument(help="The run's id, or the beginning of it.", metavar="ID", show_default=False)]

RECENT = 500
"""Executions among which an abbreviated id is looked for."""


class Told(NamedTuple):
    """What stands before every command. None: as the environment says."""

    url: str | None
    project: str | None


def connect(ctx: typer.Context, *, token: str | None = None, anonymous: bool = False) -> Client:
    """With the token that is given, else that of the address or of VOXLOOM_TOKEN, else that of `voxloom login`.
    `anonymous`: what was kept is not asked for."""
    from voxloom.client import Client

    told: Told = ctx.find_root().obj
    if token is None and not anonymous:
        token = _kept(told)
    return Client(told.url, token, project=told.project)


def _kept(told: Told) -> str | None:
    from voxloom.cli import keyring
    from voxloom.client._address import find_address

    address = find_address(told.url)
    kept = None if "Authorization" in address.headers else keyring.find(address.url)
    if kept is None:
        return None
    if kept.issuer is None and not kept.is_over():
        return kept.token
    from voxloom.cli import device

    return device.refreshed(address.url).token if device.is_almost_over(kept) else kept.token


def find_run(client: Client, text: str) -> Run:
    """The run of that id, or of the only recent one whose id begins so."""
    if is_id(text):
        return client.execution(text)
    recent = [one.execution_id for one in client.executions(limit=RECENT)]
    return client.execution(full_id(text, recent))


def full_id(prefix: str, ids: list[str]) -> str:
    """Raises InvalidInput when none or several begin with `prefix`, which may have been copied from a narrow table."""
    prefix = prefix.rstrip("…")
    matching = [one for one in ids if one.startswith(prefix.lower())]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise InvalidInput(f"No recent run has an id that begins with {prefix!r}; see `voxloom ls`.")
    raise InvalidInput(f"{len(matching)} recent runs have ids that begin with {prefix!r}; give more of it.")


def principal(client: Client, by: str | None) -> str | None:
    """The id that is meant; `me` is whoever asks. Raises InvalidInput where the server asks nobody who they are: then
    nothing is anybody's."""
    if by is None:
        return None
    asking = client.whoami()
    if asking.auth == "open":
        raise InvalidInput(
            "--by needs a server that asks who people are; this one does not, so it knows nobody's runs."
        )
    return asking.principal_id if by == "me" else by
