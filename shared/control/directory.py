"""All that is known of who may do what, and the one place that decides by it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from messages.control import SYSTEM
from shared.caller import Caller, Right
from shared.control import tokens
from shared.control.objects import (
    ADMINS,
    ALL_RIGHTS,
    ROLES,
    Admins,
    ControlObject,
    Identity,
    Lent,
    Limits,
    Member,
    Password,
    Principal,
    Project,
    Retention,
    Role,
    Token,
    TokenState,
    Unreadable,
    limits_key,
    member_key,
    password_key,
    retention_key,
)
from shared.oidc.claims import LEEWAY_SECS, Proof, looks_like_one
from voxloom.errors import ControlUnavailable, NotAllowed, Unauthenticated

LEEWAY = timedelta(seconds=LEEWAY_SECS)


class Proofs(Protocol):
    """What access tokens of an OpenID provider have proven."""

    def proof(self, text: str) -> Proof | None: ...

    def proof_by_id(self, token_id: str) -> Proof | None: ...


def check_form(text: str) -> str:
    """The id of a token. Raises Unauthenticated for what cannot be one."""
    token_id = tokens.id_of(text)
    if token_id is None:
        raise Unauthenticated(
            "This is no token of a Voxloom server, or part of it is missing; copy it whole.", code="token_invalid"
        )
    return token_id


@dataclass(frozen=True)
class Directory:
    """As it is at one moment. What cannot be read counts as if it were not there: it gives nobody any right."""

    objects: Mapping[str, ControlObject | Unreadable] = field(default_factory=dict)
    """By their keys."""
    proofs: Proofs | None = None

    def principal(self, principal_id: str) -> Principal | None:
        found = self.objects.get(f"principals/{principal_id}")
        return found if isinstance(found, Principal) else None

    def project(self, project_id: str) -> Project | None:
        """None also for one that is being removed: nobody has any right in that."""
        found = self.kept_project(project_id)
        return found if found is not None and found.state == "there" else None

    def kept_project(self, project_id: str) -> Project | None:
        """Whatever is kept of it."""
        found = self.objects.get(f"projects/{project_id}")
        return found if isinstance(found, Project) else None

    def limits(self, project_id: str) -> Limits | None:
        """None: nobody has set any, or what is there was never readable."""
        found = self.objects.get(limits_key(project_id))
        return found if isinstance(found, Limits) else None

    def retention(self, project_id: str) -> Retention | None:
        """None: nobody has set any, or what is there was never readable."""
        found = self.objects.get(retention_key(project_id))
        return found if isinstance(found, Retention) else None

    def token(self, token_id: str) -> Token | None:
        found = self.objects.get(f"tokens/{token_id}")
        if found is None and self.proofs is not None and (proof := self.proofs.proof_by_id(token_id)) is not None:
            return self._lent(proof)
        return found if isinstance(found, Token) else None

    def identity(self, identity: str) -> Identity | None:
        found = self.objects.get(f"identities/{identity}")
        return found if isinstance(found, Identity) else None

    def identities(self) -> Iterator[Identity]:
        return (one for one in self.objects.values() if isinstance(one, Identity))

    def _lent(self, proof: Proof) -> Lent | None:
        """None: nobody here is linked to whom it has proven."""
        known = self.identity(proof.identity)
        if known is not None and known.unlinked:
            return None
        if known is None:
            return None
        return Lent.model_validate(
            {
                "id": proof.id,
                "principal": known.principal,
                "digest": proof.digest,
                "name": "OpenID",
                "created_at": proof.issued_at,
                "created_by": known.principal,
                "expires_at": proof.expires_at,
                "roles": proof.roles,
            }
        )

    def password(self, principal_id: str) -> Password | None:
        found = self.objects.get(password_key(principal_id))
        return found if isinstance(found, Password) else None

    @property
    def unreadable(self) -> list[Unreadable]:
        return [one for one in self.objects.values() if isinstance(one, Unreadable)]

    def role(self, project_id: str, principal_id: str) -> Role | None:
        found = self.objects.get(member_key(project_id, principal_id))
        return found.role if isinstance(found, Member) else None

    @property
    def admins(self) -> tuple[str, ...]:
        found = self.objects.get(ADMINS)
        return found.principals if isinstance(found, Admins) else ()

    def principals(self) -> Iterator[Principal]:
        return (one for one in self.objects.values() if isinstance(one, Principal))

    def projects(self) -> Iterator[Project]:
        return (one for one in self.objects.values() if isinstance(one, Project) and one.state == "there")

    def going(self) -> Iterator[Project]:
        """Projects that are being removed."""
        return (one for one in self.objects.values() if isinstance(one, Project) and one.state == "removing")

    def tokens(self) -> Iterator[Token]:
        return (one for one in self.objects.values() if isinstance(one, Token))

    def all_limits(self) -> Iterator[Limits]:
        return (one for one in self.objects.values() if isinstance(one, Limits))

    def retentions(self) -> Iterator[Retention]:
        return (one for one in self.objects.values() if isinstance(one, Retention))

    def members(self) -> Iterator[Member]:
        return (one for one in self.objects.values() if isinstance(one, Member))

    def rights_of(self, principal_id: str) -> Mapping[str, frozenset[Right]]:
        """By project: what they may do there. An admin may do everything in every project."""
        if principal_id in self.admins:
            return self._everything
        return {
            one.project: ROLES[one.role]
            for one in self._memberships.get(principal_id, ())
            if self.project(one.project) is not None
        }

    @functools.cached_property
    def libraries(self) -> frozenset[str]:
        return frozenset(one.id for one in self.projects() if one.library)

    @functools.cached_property
    def _everything(self) -> Mapping[str, frozenset[Right]]:
        return {one.id: ALL_RIGHTS for one in self.projects()}

    @functools.cached_property
    def _memberships(self) -> Mapping[str, list[Member]]:
        """By principal: every request asks for them."""
        found: dict[str, list[Member]] = {}
        for one in self.members():
            found.setdefault(one.principal, []).append(one)
        return found

    # --- who asks -----------------------------------------------------------------------------------------------

    def proven_by(self, text: str, now: datetime) -> Token:
        """The token of this text. Raises Unauthenticated."""
        if self.proofs is not None and looks_like_one(text):
            return self._proven_elsewhere(self.proofs.proof(text), now)
        token_id = check_form(text)
        self._check_readable(f"tokens/{token_id}")
        token = self.token(token_id)
        if token is None or not tokens.fits(text, token.digest):
            raise Unauthenticated(
                "This server does not know the token; ask whoever gave it to you for another one.", code="token_invalid"
            )
        self._check(token, now)
        return token

    def _proven_elsewhere(self, proof: Proof | None, now: datetime) -> Token:
        if proof is None:
            raise Unauthenticated(
                "The access token has to be looked at again; send it once more.", code="token_invalid"
            )
        self._check_readable(f"identities/{proof.identity}")
        token = self._lent(proof)
        if token is None:
            raise Unauthenticated(
                f"The OpenID provider knows you as {proof.subject[:100]!r}, and this server knows nobody who is that; "
                "an admin can link you.",
                code="identity_unknown",
            )
        self._check(token, now)
        return token

    def good_token(self, token_id: str, now: datetime) -> Token:
        """One that was shown before. Raises Unauthenticated where it is good no more."""
        token = self.token(token_id)
        if token is None:
            raise Unauthenticated(f"The token {token_id} is gone; make another one.", code="token_revoked")
        self._check(token, now)
        return token

    def state(self, token: Token, now: datetime) -> TokenState:
        return "revoked" if self._is_revoked(token) else token.state(now)

    def _is_revoked(self, token: Token) -> bool:
        """With one that it was made with, too, whatever was known when that one was revoked; and with the password."""
        seen: set[str] = set()
        while not self._is_ended(token) and token.made_with is not None and token.id not in seen:
            seen.add(token.id)
            maker = self.token(token.made_with)
            if maker is None:
                return True
            token = maker
        return self._is_ended(token)

    def _is_ended(self, token: Token) -> bool:
        if token.revoked_at is not None or self._is_logged_out(token):
            return True
        return token.login is not None and not self._is_password(token.principal, token.login)

    def _is_logged_out(self, token: Token) -> bool:
        """Whether it may have been issued before its principal was logged out everywhere: the provider's clock may be
        ahead of ours by so much, and nobody knows whether it is."""
        owner = self.principal(token.principal)
        if owner is None or owner.not_before is None:
            return False
        return token.created_at < owner.not_before + (LEEWAY if isinstance(token, Lent) else timedelta())

    def _is_password(self, principal_id: str, password_id: str) -> bool:
        """Whether it is the one that they have now."""
        known = self.password(principal_id)
        return known is not None and known.id == password_id

    def _check_readable(self, key: str) -> None:
        """Raises ControlUnavailable."""
        if isinstance(self.objects.get(key), Unreadable):
            raise ControlUnavailable(
                f"This server cannot read its object {key!r}, so it lets nobody in by it. A newer version "
                "of Voxloom has written it, or it is damaged; whoever runs the server finds more in its log."
            )

    def _check(self, token: Token, now: datetime) -> None:
        state = self.state(token, now)
        if isinstance(token, Lent) and self._is_logged_out(token):
            raise Unauthenticated(
                f"{token.principal!r} was logged out everywhere, and this access token may have been issued before "
                f"that: log in again, {LEEWAY_SECS:g} seconds after it or later.",
                code="token_revoked",
            )
        if state != "good":
            raise Unauthenticated(
                f"The token {token.id} {'has expired' if state == 'expired' else 'was revoked'}; make another one.",
                code=f"token_{state}",
            )
        self._check_may_ask(token.principal, "whose token this is")

    def _check_may_ask(self, principal_id: str, who: str) -> None:
        self._check_readable(f"principals/{principal_id}")
        principal = self.principal(principal_id)
        if principal is None or not principal.may_ask:
            raise Unauthenticated(
                f"{principal_id!r}, {who}, may not use this server any more; ask who runs it.",
                code="principal_disabled",
            )

    def caller(self, text: str, project: str | None, now: datetime) -> Caller:
        """Who asks with this token, for this project or their usual one; for `system` where they have no usual one.
        Raises Unauthenticated, NotAllowed, ControlUnavailable."""
        token = self.proven_by(text, now)
        reach = self.reach(token)
        if project is None:
            project = self._usual(token, reach)
        if project is None or (self._is_over(project) and self.is_admins(token)):
            return Caller(token.principal, SYSTEM, self._rights_of_all(token), token=token.id)
        if project not in reach:
            raise NotAllowed(
                f"The project {project[:100]!r} is not one that this token is for; `voxloom whoami` lists those.",
                code="project_not_allowed",
            )
        rights = reach[project] if token.projects is None else reach[project] - {"admin"}
        return Caller(token.principal, project, rights, token=token.id, libraries=self.libraries)

    def caller_named(self, principal_id: str, project: str) -> Caller:
        """Who asks for this project without a token: somebody else has proven who they are. Raises Unauthenticated,
        NotAllowed, ControlUnavailable."""
        self._check_may_ask(principal_id, "who asks")
        reach = self.rights_of(principal_id)
        if project not in reach:
            raise NotAllowed(
                f"The project {project[:100]!r} is not one of {principal_id!r}.", code="project_not_allowed"
            )
        return Caller(principal_id, project, reach[project], libraries=self.libraries)

    def _is_over(self, project: str) -> bool:
        """Of one that is being removed, or was, admins may still say so: who removes one goes on until it is gone."""
        found = self.kept_project(project)
        return found is not None and found.state != "there"

    def _rights_of_all(self, token: Token) -> frozenset[Right]:
        """What is left without a project: what concerns the server. A token for some projects does not reach so far."""
        return frozenset(("admin",)) if self.is_admins(token) else frozenset()

    def is_admins(self, token: Token) -> bool:
        """Whether it is good for the whole server."""
        may = token.rights is None or "admin" in token.rights
        return may and token.projects is None and token.principal in self.admins

    def reach(self, token: Token) -> Mapping[str, frozenset[Right]]:
        """By project: what a token is good for there."""
        rights = ALL_RIGHTS if token.rights is None else frozenset(token.rights)
        return {
            project: may & rights
            for project, may in self._given(token).items()
            if token.projects is None or project in token.projects
        }

    def _given(self, token: Token) -> Mapping[str, frozenset[Right]]:
        """What its principal may, and what groups add to that."""
        own = self.rights_of(token.principal)
        if not isinstance(token, Lent):
            return own
        found = dict(own)
        for project, role in token.roles:
            if self.project(project) is not None:
                found[project] = found.get(project, frozenset()) | ROLES[role]
        return found

    def role_with(self, project_id: str, token: Token) -> Role | None:
        """The highest, of those that groups give, too."""
        own = self.role(project_id, token.principal)
        lent = token.roles if isinstance(token, Lent) else ()
        roles = {role for project, role in lent if project == project_id} | ({own} if own else set())
        return max(roles, key=lambda one: len(ROLES[one]), default=None)

    def _usual(self, token: Token, reach: Mapping[str, frozenset[Right]]) -> str | None:
        """The project of a request that does not name one."""
        theirs = [one for one in reach if self.role_with(one, token) is not None] or list(reach)
        return theirs[0] if len(theirs) == 1 else None
