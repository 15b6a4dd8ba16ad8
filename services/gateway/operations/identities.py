"""Who of an OpenID provider is which principal, and the end of all that was issued before."""

from __future__ import annotations

from datetime import datetime

from services.gateway.context import Context
from services.gateway.operations import tokens
from services.gateway.operations.control import change, may_all, not_found, principal_of, tell, view_of
from shared.caller import Caller
from shared.control.objects import Identity, Principal
from shared.oidc.claims import identity_of
from voxloom.errors import Conflict, NotAllowed
from voxloom.models import IdentityRequest, LoginOffer, OidcOffer, utc_now


def offer_of(context: Context) -> LoginOffer:
    settings = context.settings
    if context.control is None:
        return LoginOffer(auth="open", password=False)
    oidc = None
    if settings.oidc_issuer and settings.oidc_client_id:
        ids = {"issuer": settings.oidc_issuer, "client_id": settings.oidc_client_id}
        oidc = OidcOffer(**ids, audience=settings.oidc_audience, scopes=settings.oidc_scopes)
    return LoginOffer(auth="closed", password=settings.password_login, oidc=oidc)


async def link(context: Context, caller: Caller, principal_id: str, wanted: IdentityRequest) -> None:
    """Raises NotFound, Conflict (`oidc_off`, `identity_taken`)."""
    principal_of(context, principal_id)
    issuer = context.settings.oidc_issuer
    if not issuer:
        raise Conflict("This server has no OpenID provider: setting `oidc_issuer`.", code="oidc_off")
    asked = {"created_at": utc_now(), "created_by": caller.principal}
    new = Identity(
        id=identity_of(issuer, wanted.subject), issuer=issuer, subject=wanted.subject, principal=principal_id, **asked
    )

    def make(old: Identity | None) -> Identity:
        if old is None or old.unlinked or _is_removed(context, old.principal):
            return new
        if old.principal != principal_id:
            raise Conflict(
                f"That subject is {old.principal!r} here already; take it away from them first.",
                code="identity_taken",
                details={"principal_id": old.principal},
            )
        return old

    await change(context, new.key, Identity, make)
    await tell(context, new.key)


async def unlink(context: Context, principal_id: str) -> None:
    """All that they are elsewhere. Raises NotFound."""
    principal_of(context, principal_id)
    known = view_of(context).directory.identities()
    theirs = [one.key for one in known if one.principal == principal_id and not one.unlinked]
    if not theirs:
        raise not_found("identity", principal_id)
    for key in theirs:
        await change(context, key, Identity, lambda old: None if old is None else old.model_copy(update=_UNLINKED))
    await tell(context, *theirs)


_UNLINKED = {"unlinked": True}


def _is_removed(context: Context, principal_id: str) -> bool:
    found = view_of(context).directory.principal(principal_id)
    return found is None or found.removed


async def log_out(context: Context, caller: Caller, principal_id: str) -> None:
    """Whatever was issued for them before, by whomever, is good no more. Raises NotAllowed, NotFound."""
    if not may_all(context, caller):
        if principal_id != caller.principal:
            raise not_found("principal", principal_id)
        shown = view_of(context).directory.good_token(caller.token, utc_now())
        if shown.rights is not None or shown.projects is not None:
            raise NotAllowed("A token for few things ends no others; revoke it alone.", code="forbidden")
    principal_of(context, principal_id)
    await _say_not_before(context, principal_id, utc_now())
    await _end_those_ahead(context, principal_id)


async def _say_not_before(context: Context, principal_id: str, now: datetime) -> None:
    def make(old: Principal | None) -> Principal | None:
        if old is None or (old.not_before is not None and old.not_before >= now):
            return old
        return old.model_copy(update={"not_before": now})

    key = f"principals/{principal_id}"
    await change(context, key, Principal, make)
    await tell(context, key)


async def _end_those_ahead(context: Context, principal_id: str) -> None:
    """Tokens that a gateway has made whose clock is ahead of this one's: they say that they were made later."""
    directory, now = view_of(context).directory, utc_now()
    theirs = [one for one in directory.tokens() if one.principal == principal_id]
    await tokens.end(context, [one.key for one in theirs if directory.state(one, now) == "good"])
