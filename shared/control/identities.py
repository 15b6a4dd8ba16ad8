"""Somebody whom an OpenID provider knows, seen here for the first time: a principal with no right of their own."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from shared.control.objects import Identity, Principal
from shared.control.store import ControlStore
from shared.oidc.claims import Proof
from voxloom.errors import Conflict

BY = "oidc"


def id_of(identity: str) -> str:
    """Nobody chooses it: what somebody is called elsewhere is no name of anybody here."""
    return f"oidc-{identity[:24]}"


async def welcome(store: ControlStore, issuer: str, proof: Proof, now: datetime) -> list[str]:
    """The keys of what is there after that; who was there before stays as they are. Raises StoreUnavailable."""
    made = {"created_at": now, "created_by": BY}
    principal = Principal.model_validate({"id": id_of(proof.identity), **made})
    link = {"id": proof.identity, "issuer": issuer, "subject": proof.subject, "principal": principal.id}
    identity = Identity.model_validate({**link, **made})
    for one in (principal, identity):
        with suppress(Conflict):
            await store.create(one)
    return [principal.key, identity.key]
