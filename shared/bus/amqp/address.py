"""Where the broker is: a URL that has been checked, and what of it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from voxloom.errors import Misconfigured

_HEARTBEAT_SECS = 10
"""A broker that is silent for about three of them is gone."""
_FILES = ("cafile", "certfile", "keyfile")


@dataclass(frozen=True)
class Address:
    """`url` is whole, `shown` without user and password."""

    url: str
    shown: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """What TLS needs, by the name of the option."""

    @property
    def doubt(self) -> str:
        """What may be wrong with a broker that hangs up as soon as it is greeted."""
        if not self.url.startswith("amqps:"):
            return "if it goes on, see whether that port wants TLS (amqps://)"
        if "certfile" in self.files:
            return "if it goes on, see whether the broker trusts the authority of certfile"
        return "if it goes on, see whether the broker wants a certificate (certfile and keyfile)"

    def check_files(self) -> None:
        """Raises Misconfigured for one that cannot be read."""
        for option, path in self.files.items():
            try:
                path.open("rb").close()
            except OSError as error:
                raise Misconfigured(
                    f"{option}={path} in the broker's address cannot be read ({error.strerror or error}); correct it."
                ) from error


def parse(url: str) -> Address:
    """Raises Misconfigured for what is no broker's address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(f"it cannot be read: {error}") from None
    if parts.scheme not in ("amqp", "amqps"):
        raise _wrong("it must begin with amqp:// or amqps://")
    if not parts.hostname:
        raise _wrong("it names no host")
    if "/" in parts.path.removeprefix("/"):
        raise _wrong("a vhost with a slash in it is written with %2F")
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{port}" if port else host
    query = parts.query if "heartbeat=" in parts.query else f"{parts.query}&heartbeat={_HEARTBEAT_SECS}".lstrip("&")
    files = {name: Path(value) for name, value in parse_qsl(parts.query) if name in _FILES}
    return Address(parts._replace(query=query).geturl(), f"{parts.scheme}://{place}, vhost {vhost!r}", files)


def _wrong(why: str) -> Misconfigured:
    return Misconfigured(f"The address of the broker is wrong, {why}; write amqp://user:password@host:5672/vhost.")
