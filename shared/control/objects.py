"""What the collection `control-store` holds: small objects, each of which says of itself in which format it is.

| key | what it is |
|---|---|
| `mode` | there, once a server on this store has asked who people are |
| `admins` | the ids of those who may do everything; there is always one |
| `principals/<id>` | who asks: a person or a program |
| `projects/<id>` | who owns things |
| `members/<project>/<principal>` | what a principal is in a project |
| `tokens/<id>` | what proves who somebody is; the secret is nowhere |
| `limits/<project>` | what a project may take at most; apart, as older versions write `projects/<id>` anew |
| `retention/<project>` | how long it keeps what it has, where that is not as long as the server does |
| `identities/<digest>` | who of an OpenID provider is which principal; the digest is of issuer and subject |
| `passwords/<principal>` | what is left of a password: what scrypt makes of it, and how |
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from voxloom.models.control import SLUG, LimitsRequest, RetentionRequest, Right, Slug
from voxloom.models.control import Role as Role
from voxloom.values import Moment

FORMAT = 2
"""The highest that this version reads. An object of a higher one was written by a newer version: nobody guesses what it
allows."""

MODE = "mode"
ADMINS = "admins"
LIMITS = "limits/"
RESERVED = frozenset({"system", "local"})
"""Names that mean something else: what is nobody's, and everybody where nobody is asked."""

TokenId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{12}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DisplayName = Annotated[str, StringConstraints(max_length=200)]

TokenState = Literal["good", "expired", "revoked"]
ProjectState = Literal["there", "removing", "removed"]
ROLES: dict[Role, frozenset[Right]] = {
    "viewer": frozenset(("read",)),
    "member": frozenset(("read", "run")),
    "manager": frozenset(("read", "run", "deploy")),
}
ALL_RIGHTS: frozenset[Right] = frozenset(("read", "run", "deploy", "admin"))


class ControlObject(BaseModel):
    """What a newer version says of it beside that counts for nothing here, and is written again with it: while servers
    are upgraded one after the other, none takes away what another has set."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Annotated[int, Field(ge=1, le=FORMAT)] = 1
    outlives_unreadable: ClassVar[bool] = False
    """Whether it still counts for who has read it before when what is there now cannot be read. What gives rights does
    not."""

    keeps_the_rest: ClassVar[bool] = True
    """Whether what is written in its place says again what was said of it that this version knows nothing of."""

    @property
    def key(self) -> str:
        raise NotImplementedError

    def in_place_of(self, old: ControlObject) -> Self:
        """As it is to be written."""
        rest = {name: value for name, value in (old.model_extra or {}).items() if name not in (self.model_extra or {})}
        return self.model_copy(update=rest) if rest and self.keeps_the_rest else self


class Unreadable(NamedTuple):
    """In place of an object that a newer version has written, or that is damaged."""

    key: str
    why: str


class Mode(ControlObject):
    """The latch. A server whose setting is `open` does not start on a store that has it."""

    auth: Literal["closed"] = "closed"
    since: Moment

    @property
    def key(self) -> str:
        return MODE


class Admins(ControlObject):
    """In one object, so that of two who each take away the last but one only one can."""

    principals: Annotated[tuple[Slug, ...], Field(min_length=1)]

    @property
    def key(self) -> str:
        return ADMINS


class Principal(ControlObject):
    id: Slug
    name: DisplayName = ""
    disabled: bool = False
    removed: bool = False
    """For good: what is left keeps others from getting the id, and with it what old tokens are for."""
    not_before: Moment | None = None
    """What was issued for them before that is good no more."""
    created_at: Moment
    created_by: str

    @property
    def key(self) -> str:
        return f"principals/{self.id}"

    @property
    def may_ask(self) -> bool:
        return not (self.disabled or self.removed)


class Project(ControlObject):
    id: Slug
    name: DisplayName = ""
    library: bool = False
    """Whether its algorithms are there for all projects."""
    state: ProjectState = "there"
    """`removing`: nobody is let in for it, and its things go. `removed`: for good; what is left keeps others from
    getting the id."""
    created_at: Moment
    created_by: str

    def in_state(self, state: ProjectState) -> Project:
        """Earlier versions know no project that is going: they cannot read one, and give no right by it."""
        return self.model_copy(update={"state": state, "format": 1 if state == "there" else 2})

    @property
    def key(self) -> str:
        return f"projects/{self.id}"


class Member(ControlObject):
    project: Slug
    principal: Slug
    role: Role
    created_at: Moment
    created_by: str

    @property
    def key(self) -> str:
        return member_key(self.project, self.principal)


class ProjectSetting(ControlObject):
    """What somebody has set of a project, in an object of its own. It gives no rights."""

    outlives_unreadable: ClassVar[bool] = True

    project: Slug
    changed_at: Moment
    changed_by: str


class Limits(LimitsRequest, ProjectSetting):
    """Of a project. What it does not say is not limited."""

    @property
    def key(self) -> str:
        return limits_key(self.project)


class Retention(RetentionRequest, ProjectSetting):
    """Of a project. What it does not say goes when the server lets it go."""

    @property
    def key(self) -> str:
        return retention_key(self.project)


class Token(ControlObject):
    id: TokenId
    principal: Slug
    digest: Digest
    """SHA-256 of the whole token."""
    name: DisplayName = ""
    projects: tuple[Slug, ...] | None = None
    """None: all of the principal's, those to come, too."""
    rights: tuple[Right, ...] | None = None
    """None: all that the principal has."""
    created_at: Moment
    created_by: str
    made_with: TokenId | None = None
    """The token of the same principal that was shown for it; it is revoked along with that one."""
    login: TokenId | None = None
    """The password that it was made with; it is good no longer than that one is theirs."""
    expires_at: Moment
    revoked_at: Moment | None = None

    @model_validator(mode="after")
    def _lives_on(self) -> Self:
        if self.expires_at <= self.created_at:
            raise ValueError("a token expires after it was made")
        return self

    @property
    def key(self) -> str:
        return f"tokens/{self.id}"

    def state(self, now: datetime) -> TokenState:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if now >= self.expires_at else "good"


class Lent(Token):
    """What an access token of an OpenID provider stands for, as long as it is good. It is nowhere kept."""

    roles: tuple[tuple[Slug, Role], ...] = ()
    """By project, from the groups that it names."""


class Identity(ControlObject):
    """Whom somebody is here whom an OpenID provider knows."""

    id: Digest
    issuer: str
    subject: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    principal: Slug
    unlinked: bool = False
    """It is nobody here any more. What is left keeps whoever is new at first sight from coming back by it."""
    created_at: Moment
    created_by: str

    @property
    def key(self) -> str:
        return f"identities/{self.id}"


def _power_of_two(number: int) -> int:
    if number & (number - 1):
        raise ValueError("it is no power of two")
    return number


class Password(ControlObject):
    """What is left of one: scrypt (RFC 7914) takes long and much memory for each guess."""

    keeps_the_rest: ClassVar[bool] = False  # which is said of another password

    principal: Slug
    id: TokenId
    """Another one with every change: tokens say by which they were made."""
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$"), Field(repr=False)]
    digest: Annotated[Digest, Field(repr=False)]
    n: Annotated[int, Field(ge=2, le=1 << 18), AfterValidator(_power_of_two)]
    r: Annotated[int, Field(ge=2, le=16)]
    p: Annotated[int, Field(ge=1, le=8)]
    one_time: bool = False
    """Good for nothing but to be changed."""
    expires_at: Moment | None = None
    created_at: Moment
    created_by: str

    @property
    def key(self) -> str:
        return password_key(self.principal)

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


KINDS: dict[str, type[ControlObject]] = {
    "principals": Principal,
    "projects": Project,
    "members": Member,
    "tokens": Token,
    "limits": Limits,
    "retention": Retention,
    "passwords": Password,
    "identities": Identity,
}
"""By the first word of their keys."""


def kind_of(key: str) -> type[ControlObject] | None:
    """None: nothing that this version knows."""
    alone: dict[str, type[ControlObject]] = {MODE: Mode, ADMINS: Admins}
    return alone.get(key) or KINDS.get(key.partition("/")[0])


def member_key(project: str, principal: str) -> str:
    return f"members/{project}/{principal}"


def limits_key(project: str) -> str:
    return f"{LIMITS}{project}"


def retention_key(project: str) -> str:
    return f"retention/{project}"


def password_key(principal: str) -> str:
    return f"passwords/{principal}"


def is_slug(text: str) -> bool:
    """Whether it may be the id of a principal or a project, which is never used again."""
    return re.fullmatch(SLUG, text, re.ASCII) is not None
