"""Who may do what: principals, projects, members, tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, StringConstraints

from voxloom.limits import LONGEST_SECS
from voxloom.models.algorithms import DeviceClass
from voxloom.models.times import Time
from voxloom.values import Value

Right = Literal["read", "run", "deploy", "admin"]
Role = Literal["viewer", "member", "manager"]
SLUG = r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$"
Slug = Annotated[
    str,
    StringConstraints(pattern=SLUG),
    Field(description="1 to 40 small letters, digits and dashes; neither first nor last a dash."),
]
DisplayName = Annotated[str, Field(max_length=200, description="For people; any text.")]


_Name = Annotated[DisplayName | None, Field(description="What people call it; null: as it was, and at first nothing.")]


class PrincipalRequest(Value):
    name: _Name = None
    admin: Annotated[bool, Field(description="May do everything, in every project.")] = False
    disabled: Annotated[bool, Field(description="Their tokens are good for nothing while this is so.")] = False


class PrincipalRecord(Value):
    """A person or a program that may ask."""

    principal_id: str
    name: str
    admin: bool
    disabled: bool
    created_at: Time
    created_by: str


class ProjectRequest(Value):
    name: _Name = None
    library: Annotated[
        bool | None,
        Field(description="Whether all other projects see and run its algorithms; null: as it was, and at first not."),
    ] = None


class ProjectRecord(Value):
    """What owns files, algorithms, runs."""

    project_id: str
    name: str
    library: Annotated[bool, Field(description="Whether all other projects see and run its algorithms.")] = False
    removing: Annotated[bool, Field(description="Nobody is let in for it any more, and its things go.")] = False
    role: Annotated[Role | None, Field(description="Of whoever asks; null: an admin who is no member.")] = None
    created_at: Time
    created_by: str


MOST_RUNS = 1_000_000_000
MOST_BYTES = (1 << 53) - 1
"""What all programs read as the same number in JSON."""
_Runs = Annotated[int, Field(strict=True, ge=1, le=MOST_RUNS)]


def _once_each(devices: tuple[DeviceClass, ...] | None) -> tuple[DeviceClass, ...] | None:
    return None if devices is None else tuple(dict.fromkeys(devices))


class LimitsRequest(Value):
    """What a project may take at most; null: there is no limit."""

    runs_at_once: Annotated[_Runs | None, Field(description="Runs that workers have at a time.")] = None
    runs_waiting: Annotated[_Runs | None, Field(description="Runs that wait; more are refused.")] = None
    stored_bytes: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=MOST_BYTES)] | None,
        Field(description="Of its files, uploads and outputs; beyond, uploads and runs are refused."),
    ] = None
    max_wall_time: Annotated[
        Annotated[float, Field(strict=True, gt=0, le=LONGEST_SECS, allow_inf_nan=False)] | None,
        Field(description="Seconds that one attempt of a run may take."),
    ] = None
    devices: Annotated[
        Annotated[tuple[DeviceClass, ...], Field(min_length=1, max_length=20)] | None,
        AfterValidator(_once_each),
        Field(description="Kinds of devices that its runs may use."),
    ] = None
    weight: Annotated[
        float,
        Field(
            strict=True,
            ge=0.001,
            le=1000,
            allow_inf_nan=False,
            description="Its part of the workers' time beside other projects that have runs: twice the weight, twice "
            "the time.",
        ),
    ] = 1.0


class LimitsUsed(Value):
    """What a project has just now."""

    runs_at_once: int
    runs_waiting: int
    stored_bytes: Annotated[int | None, Field(description="Null: not counted yet; ask again.")] = None


class LimitsRecord(LimitsRequest):
    """The limits of a project, and what it uses of them."""

    project_id: str
    used: LimitsUsed
    changed_at: Annotated[Time | None, Field(description="Null: nobody has set any.")] = None
    changed_by: str | None = None


LONGEST_DAYS = 36_500.0
_Days = Annotated[float, Field(strict=True, ge=1, le=LONGEST_DAYS, allow_inf_nan=False)]


class RetentionDays(Value):
    """After how many days things go; null: as the server has it, or never."""

    file_days: Annotated[float | None, Field(description="Files, uploads and outputs.")] = None
    execution_days: Annotated[
        float | None, Field(description="Records of executions and benchmarks, with their logs.")
    ] = None
    training_days: Annotated[float | None, Field(description="Records of trainings, with their logs.")] = None


class RetentionRequest(RetentionDays):
    """How long a project keeps things, in days, 1 at least; null: as long as the server does."""

    file_days: Annotated[_Days | None, Field(description="Files, uploads and outputs.")] = None
    execution_days: Annotated[
        _Days | None, Field(description="Records of executions and benchmarks, with their logs.")
    ] = None
    training_days: Annotated[_Days | None, Field(description="Records of trainings, with their logs.")] = None


class RetentionRecord(RetentionDays):
    """How long a project keeps things, in days; null: as long as the server does."""

    project_id: str
    server: Annotated[RetentionDays, Field(description="How long the server keeps them; null: for ever.")]
    changed_at: Annotated[Time | None, Field(description="Null: nobody has set any.")] = None
    changed_by: str | None = None


class ProjectHoldings(Value):
    """What a project owns. Of files it says 10,000 where there are more."""

    files: int = 0
    algorithms: int = 0
    runs_unfinished: int = 0
    records: int = 0
    deploys_unfinished: int = 0
    samples: int = 0
    checkpoints: int = 0
    members: int = 0
    tokens: int = 0


class MemberRequest(Value):
    role: Annotated[
        Role,
        Field(
            description="A viewer looks; a member also uploads, runs, trains, stops and deletes; a manager also "
            "deploys, and says who the members are."
        ),
    ]


class MemberRecord(Value):
    """What a principal is in a project."""

    project_id: str
    principal_id: str
    role: Role
    created_at: Time
    created_by: str


class TokenRequest(Value):
    name: Annotated[str, Field(max_length=200, description="What it is for.")] = ""
    principal_id: Annotated[Slug | None, Field(description="Whose it is; admins may say another's. Else your own.")] = (
        None
    )
    projects: Annotated[
        list[Slug] | None, Field(max_length=100, description="Good for these alone; else for all of the principal's.")
    ] = None
    rights: Annotated[
        list[Right] | None, Field(max_length=4, description="Good for these alone; else for all of the principal's.")
    ] = None
    days: Annotated[float, Field(ge=0.001, le=3660, description="It expires after so long.")] = 90.0


class TokenRecord(Value):
    """A token, without its secret."""

    token_id: str
    principal_id: str
    name: str
    projects: list[str] | None
    rights: list[Right] | None
    status: Literal["good", "expired", "revoked"]
    created_at: Time
    created_by: str
    expires_at: Time
    revoked_at: Time | None = None


class TokenMade(TokenRecord):
    """A new token. `token` is the only copy of the secret."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: Annotated[str, Field(repr=False)]


Secret = Annotated[SecretStr, Field(max_length=256)]


class LoginRequest(Value):
    model_config = ConfigDict(hide_input_in_errors=True)

    name: Annotated[str, Field(max_length=100, description="The id of a principal.")]
    password: Secret
    new_password: Annotated[
        Secret | None, Field(description="From now on; a password that is good for one time wants one.")
    ] = None


class PasswordRequest(Value):
    model_config = ConfigDict(hide_input_in_errors=True)

    password: Annotated[Secret, Field(description="At least 8 signs.")]
    old_password: Annotated[
        Secret | None, Field(description="The one so far, where there is one; an admin need not know it.")
    ] = None
    one_time: Annotated[
        bool,
        Field(description="Good for a week, and for nothing but to be changed. What an admin sets for others, say."),
    ] = False


class OidcOffer(Value):
    """Where to get an access token for this server."""

    issuer: str
    client_id: str
    audience: str
    scopes: list[str]


class LoginOffer(Value):
    """How one logs in to this server."""

    auth: Annotated[Literal["open", "closed"], Field(description="Whether the server asks who people are.")]
    password: bool
    oidc: OidcOffer | None = None


class IdentityRequest(Value):
    subject: Annotated[str, Field(min_length=1, max_length=512, description="`sub` of their tokens, never an email.")]


class ReachRecord(Value):
    """A project, and what one may do there."""

    project_id: str
    role: Role | None
    rights: list[Right]


class WhoAmI(Value):
    """Who has asked. `project_id` is the one that the request was for; null: it named none of several."""

    principal_id: str
    name: str
    auth: Annotated[Literal["open", "closed"], Field(description="Whether the server asks who people are.")]
    admin: bool
    project_id: str | None
    token_id: str | None = None
    expires_at: Time | None = None
    projects: list[ReachRecord]
