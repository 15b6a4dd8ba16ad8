"""What the settings of a server leave open to others: for `voxloom doctor` to name.

Each is a choice that may be right somewhere, so none of them is a fault; but whoever has made it should know.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from services.admin import TOKEN_FILE
from services.gateway.http.address import is_open_to_others
from shared.settings import FILE, Settings

OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
OTHERS_WRITE = stat.S_IWOTH
LONG_HOURS = 24 * 7
"""Of a token that people get anew with little trouble."""
SHORT_DAYS = 30
_DIGITS_OF_PROXIES = 8
"""Proxies are in a network of so many digits at most."""


class Weakness(NamedTuple):
    what: str
    """The setting."""
    seen: str
    next_step: str


class Machine(Protocol):
    """Where the server would run."""

    @property
    def is_root(self) -> bool:
        """Whether it would run as root."""

    def mode(self, path: Path) -> int | None:
        """The permission bits of a file or folder; None where there is none."""


class ThisMachine:
    @property
    def is_root(self) -> bool:
        return hasattr(os, "geteuid") and os.geteuid() == 0

    def mode(self, path: Path) -> int | None:
        try:
            return stat.S_IMODE(path.stat().st_mode)
        except OSError:
            return None


def weaknesses(settings: Settings, machine: Machine) -> list[Weakness]:
    """All of them, the gravest first."""
    return [
        *_of_the_door(settings),
        *_of_login(settings),
        *_of_pages(settings),
        *_of_root(settings, machine),
        *_of_roots(settings, machine),
        *_of_the_broker(settings),
        *_of_the_store(settings),
        *_of_files(settings, machine),
    ]


def _of_the_door(settings: Settings) -> Iterator[Weakness]:
    if not is_open_to_others(settings.host):
        return
    at = settings.host or "all addresses"
    if settings.auth == "open":
        yield Weakness(
            "open_to",
            f"the server listens on {at} and asks nobody who they are; whoever reaches it from "
            f"{', '.join(settings.open_to) or 'this machine'} can run code here",
            "Close it (docs/access.md), listen on 127.0.0.1, or name fewer networks.",
        )
    elif settings.tls_certificate is None:
        yield Weakness(
            "tls_elsewhere",
            f"the server listens on {at} without TLS; whoever is between it and its proxy can read tokens",
            "Let the proxy alone reach that port, or set `tls_certificate`.",
        )
    if settings.auth == "open" and settings.tls_certificate is None:
        yield Weakness(
            "tls_certificate",
            f"the server listens on {at} without TLS; images and results can be read on their way",
            "Set `tls_certificate`, or have a proxy do TLS.",
        )
    if not settings.allowed_hosts:
        yield Weakness(
            "allowed_hosts",
            "the server answers to any name, so that a web page can pass it off as its own (DNS rebinding)",
            "Set `allowed_hosts` to the names that people use.",
        )
    if settings.max_wall_time is None:
        yield Weakness("max_wall_time", "a run of anybody's may keep a slot for ever", "Set `max_wall_time`.")
    if settings.runner_memory is None:
        yield Weakness("runner_memory", "a run of anybody's may take all memory", "Set `runner_memory`.")


def _of_login(settings: Settings) -> Iterator[Weakness]:
    if settings.auth == "closed":
        yield from _of_passwords(settings)
        yield from _of_the_provider(settings)
        yield from _of_the_audit(settings)
    elif settings.password_login or settings.oidc_issuer:
        yield Weakness(
            "auth",
            f"`{'password_login' if settings.password_login else 'oidc_issuer'}` is set, and the server asks nobody "
            "who they are",
            'Set `auth = "closed"` (docs/access.md).',
        )


def _of_passwords(settings: Settings) -> Iterator[Weakness]:
    if not settings.password_login:
        return
    if is_open_to_others(settings.host) and settings.tls_certificate is None:
        yield Weakness(
            "password_login",
            "passwords come in without TLS; whoever is between the server and its proxy can read them",
            "Let the proxy alone reach that port, or set `tls_certificate`.",
        )
    if settings.login_hours > LONG_HOURS:
        yield Weakness(
            "login_hours",
            f"who has logged in stays so for {settings.login_hours / 24:.0f} days, and so does whoever gets that token",
            "Set it to some hours; `voxloom token create` makes tokens for programs.",
        )
    if _is_behind_a_proxy(settings) and not settings.trusted_proxies:
        yield Weakness(
            "trusted_proxies",
            "all who log in through the proxy count as one address, so that one who guesses slows down all others",
            "Set `trusted_proxies` to the address of the proxy.",
        )
    for one in settings.trusted_proxies:
        if _is_wide(one):
            yield Weakness(
                "trusted_proxies",
                f"{one} is hardly your proxies alone, and whoever guesses passwords from there may say of each guess "
                "that it is another machine's",
                "Name the addresses of your proxies alone.",
            )


def _is_behind_a_proxy(settings: Settings) -> bool:
    """Whether it must be, or, where only this machine reaches it, people know it by a name all the same."""
    return settings.tls_elsewhere or (not is_open_to_others(settings.host) and bool(settings.allowed_hosts))


def _is_wide(network: str) -> bool:
    """Whether others than proxies are in it: people have addresses in private networks, too."""
    found = ipaddress.ip_network(network, strict=False)
    return not found.is_loopback and found.prefixlen < found.max_prefixlen - _DIGITS_OF_PROXIES


def _of_the_provider(settings: Settings) -> Iterator[Weakness]:
    if not settings.oidc_issuer:
        return
    if settings.oidc_new_principals and not settings.oidc_groups:
        yield Weakness(
            "oidc_new_principals",
            "everybody whom the OpenID provider knows becomes a principal, and no group has any right",
            "Set `oidc_groups`, or have admins link people.",
        )
    if urlsplit(settings.oidc_issuer).scheme == "http":
        yield Weakness(
            "oidc_issuer",
            "the OpenID provider is asked without TLS; it should be one to try things out with",
            "Use https://.",
        )
    if settings.oidc_token_hours > LONG_HOURS:
        yield Weakness(
            "oidc_token_hours",
            f"a token of the OpenID provider may be good for {settings.oidc_token_hours / 24:.0f} days, with the "
            "groups of the day it was issued",
            "Let the provider issue tokens for minutes, and set it to some hours.",
        )


def _of_the_audit(settings: Settings) -> Iterator[Weakness]:
    if settings.audit_expire_days is not None and settings.audit_expire_days < SHORT_DAYS:
        yield Weakness(
            "audit_expire_days",
            f"who did what is forgotten after {settings.audit_expire_days:g} days, often before anybody asks",
            "Keep it for some months.",
        )


def _of_pages(settings: Settings) -> Iterator[Weakness]:
    if "*" in settings.cors_origins:
        yield Weakness(
            "cors_origins",
            "every web page that somebody here opens may use the server, and run code with it",
            "Name the origins of the pages that need it.",
        )
    if settings.ops_port is not None and is_open_to_others(settings.ops_host):
        yield Weakness(
            "ops_host",
            f"figures and health are for all who reach {settings.ops_host or 'any address'}:{settings.ops_port}",
            "Listen on 127.0.0.1, or let a firewall pass the monitoring alone.",
        )


def _of_root(settings: Settings, machine: Machine) -> Iterator[Weakness]:
    if machine.is_root:
        yield Weakness(
            "user",
            "you are root; a server that root starts runs what authors write as root",
            f"Start it as a user of its own, who owns {settings.data}.",
        )


def _of_roots(settings: Settings, machine: Machine) -> Iterator[Weakness]:
    for root in settings.deploy_roots:
        if root == Path(root.anchor):
            yield Weakness("deploy_roots", f"{root} is every folder of this machine", "Name the folders of algorithms.")
        elif (machine.mode(root) or 0) & OTHERS_WRITE:
            yield Weakness(
                "deploy_roots",
                f"everybody on this machine may write into {root}, and so have their code run as the server",
                f"chmod o-w {root}, or name another folder.",
            )


def _of_the_broker(settings: Settings) -> Iterator[Weakness]:
    yield from _of_a_broker("broker", settings.broker.get_secret_value(), "docs/deploy.md")
    yield from _of_a_broker("outside", settings.outside.get_secret_value(), "docs/events.md")
    if settings.outside and settings.auth == "open":
        yield Weakness(
            "outside",
            "whom the broker lets write to `requests` can have runs done, and nobody asks who they are",
            "Close the server (docs/access.md), or give that right to few.",
        )


def _of_a_broker(name: str, url: str, document: str) -> Iterator[Weakness]:
    parts = urlsplit(url)
    if not parts.hostname or not is_open_to_others(parts.hostname):
        return
    if parts.scheme == "amqp":
        yield Weakness(
            name,
            f"password and events go to {parts.hostname} without TLS",
            "Use amqps:// where others can listen on the way.",
        )
    if (parts.username or "guest", parts.password or "guest") == ("guest", "guest"):
        yield Weakness(
            name,
            f"the user of {parts.hostname} is RabbitMQ's own, whose password everybody knows",
            f"Make a user with the rights in {document}.",
        )


def _of_the_store(settings: Settings) -> Iterator[Weakness]:
    endpoint = next(iter(parse_qs(urlsplit(settings.store).query).get("endpoint", [])), "")
    parts = urlsplit(endpoint)
    if parts.scheme == "http" and parts.hostname and is_open_to_others(parts.hostname):
        yield Weakness(
            "store",
            f"images and results go to {parts.hostname} without TLS",
            "Use an https:// endpoint where others can listen on the way.",
        )


def _of_files(settings: Settings, machine: Machine) -> Iterator[Weakness]:
    """Those with secrets in them, and the data folder: others of this machine are not meant to read them."""
    kept = {
        "tls_key": settings.tls_key,
        "bundle_key_file": settings.bundle_key_file,
        "bundle_passphrase_file": settings.bundle_passphrase_file,
        "data": settings.data,
        TOKEN_FILE: settings.data / TOKEN_FILE,
        FILE: Path(FILE) if _has_secret(settings) else None,
    }
    for name, path in kept.items():
        if path is not None and (machine.mode(path) or 0) & OTHERS_READ:
            yield Weakness(name, f"others on this machine can read {path}", f"chmod go-rwx {path}")


def _has_secret(settings: Settings) -> bool:
    """Whether the file of settings may be where it comes from."""
    return any(
        urlsplit(secret.get_secret_value()).password is not None and variable not in os.environ
        for variable, secret in (("VOXLOOM_BROKER", settings.broker), ("VOXLOOM_OUTSIDE", settings.outside))
    )
