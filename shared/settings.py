"""Settings of the server: from flags, then `VOXLOOM_*` variables, then `voxloom.toml`, then the defaults here."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from messages.base import LONGEST_NAME
from shared.oidc.addresses import is_safe
from voxloom.errors import Misconfigured
from voxloom.limits import HOW, parse_duration
from voxloom.models import Role
from voxloom.nearest import hint

MIB = 1 << 20
FILE = "voxloom.toml"
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Those with a public key."""


def _default_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "voxloom"


def _duration(value: Any) -> float:
    seconds = parse_duration(value)
    if seconds is None:
        raise ValueError(HOW)
    return seconds


class Settings(BaseSettings):
    """One flat table. Sizes are bytes, times are seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="VOXLOOM_", toml_file=FILE, extra="ignore", frozen=True)

    # Where.
    data: Path = Field(default_factory=_default_data)
    """Of this node alone. Where broker and store are others', it has the cache and what is under way."""
    broker: SecretStr = SecretStr("")
    """amqp://user:password@host:5672/vhost, or amqps://; empty: the embedded one."""
    outside: SecretStr = SecretStr("")
    """The same for a vhost in which others hear what happens, and ask for runs; gateways look at it. Empty: none."""
    outside_users: dict[str, str] = {}
    """User of that broker → principal; who is not named here is the principal of the same name."""
    store: str = ""
    """s3://prefix-?endpoint=https://host; empty: the embedded one."""
    low_water_bytes: Annotated[int, Field(ge=0)] | None = None
    """With less than this free on the disk of `data`, uploads, deploys and runs are refused; None: 512 MiB, on a small
    disk a twentieth of it."""
    reserve_bytes: Annotated[int, Field(ge=0)] | None = None
    """A file in `data` that is given up so that deletes are possible on a full disk; None: 32 MiB, on a small disk a
    64th of it."""
    cache_bytes: Annotated[int, Field(ge=0)] = 64 << 30
    """What a node keeps of the objects of such a store, for all its processes together."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 5481
    ops_host: str = "127.0.0.1"
    ops_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where any process serves /livez, /readyz and /metrics; None: nowhere."""

    # Who may use it.
    auth: Literal["open", "closed"] = "open"
    """`open`: whoever reaches the server may do everything. `closed`: everybody shows a token. A store of a closed
    server never serves an open one again."""
    open_to: list[str] = []
    """Networks (`10.0.0.0/8`) whose machines may do everything on an open server; without, it answers this machine
    alone."""
    tls_elsewhere: bool = False
    """Whether a proxy does TLS in front of a closed server that other machines reach."""
    password_login: bool = False
    """Whether people get a token of a closed server for their name and a password."""
    login_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 12.0
    """How long such a token is good."""
    trusted_proxies: list[str] = []
    """Networks of proxies that are believed when they say in X-Forwarded-For for whom they ask."""

    oidc_issuer: str = ""
    """The OpenID provider whose access tokens let people in, exactly as it calls itself; empty: none."""
    oidc_audience: str = ""
    """What those tokens say that they are for (`aud`): this server."""
    oidc_client_id: str = ""
    """Under which `voxloom login` asks the provider for one; empty: it does not."""
    oidc_scopes: list[str] = ["openid", "offline_access"]
    """What it asks for."""
    oidc_algorithms: list[str] = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
    oidc_token_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0
    """How long after it was issued one is good at most, whatever it says."""
    oidc_groups_claim: str = "groups"
    oidc_groups: dict[str, dict[str, Role]] = {}
    """Group → project → role, for as long as a token says that somebody is in the group."""
    oidc_new_principals: bool = False
    """Whether somebody whom the provider knows becomes a principal at first sight, with the rights of their groups
    alone; else an admin links them."""

    # The gateway.
    server_name: str = "voxloom"
    group: str = ""
    organization: str = ""
    domain: str = ""
    max_json_bytes: int = 16 * MIB
    max_file_bytes: int = 1 << 40
    max_algorithm_bytes: int = 16 << 30
    cpu_fallback: bool = True
    """Whether the processor does where no worker has the device that an algorithm wants, also for one that does not say
    that it supports `cpu`; if not, such runs fail after `no_device_timeout`."""
    deploy_roots: list[Path] = []
    bundles: list[Path] = []
    """Imported when the gateway starts: bundles, and folders of which every `.vxb` is one."""
    bundle_key_file: Path | None = None
    bundle_passphrase_file: Path | None = None
    cors_origins: list[str] = []
    cors_credentials: bool = False
    """Whether those pages may send what the browser keeps for the server; not with the origin `*`."""
    cors_max_age: Annotated[int, Field(ge=0)] = 600
    """Seconds for which a browser need not ask again."""
    cors_methods: list[str] = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    """With what those pages may ask."""
    cors_headers: list[str] = ["*"]
    """Which headers they may send; `*`: any."""
    cors_expose: list[str] = [
        "Content-Length",
        "Content-Range",
        "ETag",
        "Link",
        "Location",
        "Repr-Digest",
        "Retry-After",
    ]
    """Which headers of answers they may read."""
    tls_certificate: Path | None = None
    """PEM, with those between it and the authority; None: no TLS."""
    tls_key: Path | None = None
    """PEM, without a password; None: it is in the file of the certificate."""
    allowed_hosts: list[str] = []
    """Names under which people reach the gateway, beside addresses and `localhost`."""
    answer_timeout: float = 60.0
    """How long a request waits for another service's answer."""

    # Expiry, in days; None: never.
    data_expire_days: float | None = 7
    execution_expire_days: float | None = 30
    training_expire_days: float | None = 30
    deploy_expire_days: float | None = 30
    audit_expire_days: Annotated[float, Field(gt=0)] | None = 365

    # Scheduler.
    heartbeat: float = 1.0
    lease: float = 2.5
    claim_timeout: float = 10.0
    max_lost: Annotated[int, Field(ge=1)] = 10
    """Attempts lost with their workers, after their code had begun, before a run is given up."""
    alone_after_lost: Annotated[int, Field(ge=1)] = 3
    """After so many it is tried alone: nothing else runs on that worker meanwhile."""
    no_device_timeout: float = 60.0
    """A run whose device classes no worker offers fails after so long."""

    # Worker.
    worker_id: Annotated[str, Field(max_length=LONGEST_NAME)] = Field(default_factory=socket.gethostname)
    slots: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: os.cpu_count() or 1)
    card_slots: Annotated[int, Field(ge=1)] = 1
    """Runs at once on each card; more than one share its memory."""
    warm_processes: Annotated[int, Field(ge=1)] = 8
    """Runner processes kept warm beyond the busy ones."""
    grace: float = 5.0
    """From asking a run to stop until its process group is killed."""
    drain: float = 10.0
    """How long running work may go on after SIGTERM before it is given back."""
    session_items: Annotated[int, Field(ge=1)] = 5
    """Of one session, in one process; the one that was not used for longest goes first."""
    session_bytes: Annotated[int, Field(ge=0)] | None = None
    """Of those items together; None: no limit."""
    session_hours: Annotated[float, Field(gt=0)] = 24.0
    """Unused for so long, a session counts as empty."""
    runner_memory: int | None = None
    """Address space of a runner process; None: no limit."""
    max_wall_time: Annotated[float, BeforeValidator(_duration)] | None = None
    """Seconds, or "10m", that an attempt at a run may take; an algorithm may say less of itself. None: no limit."""
    max_log_bytes: int = 64 * MIB
    check_timeout: float = 20.0
    """How long an algorithm may take to import when it is deployed."""

    # Ingest.
    inspect_timeout: float = 20.0
    inspect_memory: int = 2 << 30
    max_dataset_bytes: int = 1 << 42

    # Bus.
    stream_hours: float = 24.0
    stream_bytes: int = 1 << 30

    log_level: str = "INFO"

    @field_validator("data", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("open_to", "trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for one in value:
            try:
                ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise ValueError(f'{one!r} is no network; write it like "10.0.0.0/8" or "192.168.1.17"') from None
        return value

    @field_validator("oidc_algorithms", mode="after")
    @classmethod
    def _signatures(cls, value: list[str]) -> list[str]:
        for one in value:
            if one not in SIGNATURES:
                raise ValueError(f"{one!r} is no signature that is safe here; there are {', '.join(SIGNATURES)}")
        return value

    @model_validator(mode="after")
    def _whole_provider(self) -> Self:
        if not self.oidc_issuer:
            return self
        if not is_safe(self.oidc_issuer):
            raise ValueError("`oidc_issuer` must begin with https:// (http:// on this machine alone)")
        if not self.oidc_audience:
            raise ValueError("`oidc_issuer` is not safe without `oidc_audience`: tokens for others would let people in")
        if self.oidc_audience == self.oidc_client_id:
            raise ValueError("`oidc_audience` must differ from `oidc_client_id`, which ID tokens are for")
        return self

    @field_validator("cors_methods", mode="after")
    @classmethod
    def _upper(cls, value: list[str]) -> list[str]:
        return [method.strip().upper() for method in value]

    @model_validator(mode="after")
    def _key_has_certificate(self) -> Self:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("`tls_key` is of no use without `tls_certificate`; give both, or neither")
        return self

    @field_validator("deploy_roots", "bundles", mode="after")
    @classmethod
    def _all_absolute(cls, value: list[Path]) -> list[Path]:
        return [path.expanduser().resolve() for path in value]

    @model_validator(mode="after")
    def _outside_has_broker(self) -> Self:
        if self.outside and not self.broker:
            raise ValueError(
                "`outside` is of no use without `broker`: with the embedded broker others ask over REST, and hear by "
                "server-sent events"
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether nothing of the system is on other machines."""
        return not self.broker and not self.store

    @model_validator(mode="after")
    def _lease_outlasts_heartbeats(self) -> Self:
        if self.lease < 2 * self.heartbeat:
            raise ValueError(
                f"`lease` ({self.lease:g} s) has to be at least twice `heartbeat` ({self.heartbeat:g} s), "
                "or one late heartbeat would cost a worker its runs"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


_OTHERS = frozenset({"VOXLOOM_URL", "VOXLOOM_TOKEN", "VOXLOOM_PROJECT", "VOXLOOM_DEBUG"})
"""Variables that the client and the command line look at."""


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each `VOXLOOM_*` variable that is no setting: misspelt, or of another version."""
    known = {f"VOXLOOM_{name.upper()}" for name in Settings.model_fields}
    given = (name.upper() for name in environment)
    unknown = sorted(name for name in given if name.startswith("VOXLOOM_") and name not in known | _OTHERS)
    return [f"The variable {name} is no setting{hint(name, known)}; it is ignored." for name in unknown]


def _check_file(place: Path) -> None:
    """Raises Misconfigured where `voxloom.toml` has keys that are no settings: nobody can be asked what they meant."""
    if not place.is_file():
        return
    known = Settings.model_fields
    unknown = [key for key in tomllib.loads(place.read_text(encoding="utf-8")) if key not in known]
    if unknown:
        named = ", ".join(f"`{key}`{hint(key, known)}" for key in unknown)
        raise Misconfigured(f"voxloom.toml in this folder has what is no setting: {named}. Correct it, or take it out.")


def load_settings(**flags: Any) -> Settings:
    """Settings with the flags that were given (None means: not given). Raises Misconfigured."""
    try:
        _check_file(Path(FILE))
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"voxloom.toml in this folder is no TOML: {error}. Correct it, or move it away.") from error
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            why = first["msg"].removeprefix("Value error, ")
            raise Misconfigured(f"The settings do not fit together: {why}.") from error
        name, why = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        raise Misconfigured(
            f"The setting `{name}` is wrong: {why}. Correct the flag, VOXLOOM_{name.upper()} or voxloom.toml."
        ) from error
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        variable = f"The variable VOXLOOM_{named[1].upper()}" if named else "A VOXLOOM_ variable"
        raise Misconfigured(f"""{variable} is no JSON; write lists as '["one","two"]'.""") from error
