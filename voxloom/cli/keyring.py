"""What `voxloom login` has got, by server: a file in the user's folder of settings that nobody else can read."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxloom.errors import InvalidInput

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Login:
    token: str = field(repr=False)
    principal_id: str | None = None
    expires_at: str | None = None
    """ISO 8601, with its zone."""
    refresh_token: str | None = field(default=None, repr=False)
    """Of one whose token another server has given; it is sent to that one alone."""
    issuer: str | None = None
    client_id: str | None = None

    def is_over(self, now: datetime | None = None) -> bool:
        if self.expires_at is None:
            return False
        return (now or datetime.now(UTC)) >= datetime.fromisoformat(self.expires_at).astimezone(UTC)


def _parsed(kept: Any) -> Login:
    """Raises TypeError, ValueError for what is none."""
    login = Login(**{name: value for name, value in kept.items() if name in _NAMES})
    if not all(isinstance(one, str) for one in _given(login).values()):
        raise TypeError("no text")
    login.is_over()
    return login


def _given(login: Login) -> dict[str, Any]:
    return {name: value for name, value in asdict(login).items() if value is not None}


_NAMES = frozenset(one.name for one in fields(Login))


def place() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "voxloom" / "logins.json"


def server_of(url: str) -> str:
    """The address of a server, written in one way: a token is for this one alone."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"


def find(url: str) -> Login | None:
    """Raises InvalidInput where others can read the file, or where it is damaged."""
    kept = _read().get(server_of(url))
    if kept is None:
        return None
    try:
        return _parsed(kept)
    except (AttributeError, TypeError, ValueError):
        raise _damaged() from None


def keep(url: str, login: Login) -> None:
    with changing_alone():
        keep_in_turn(url, login)


def keep_in_turn(url: str, login: Login) -> None:
    """For whoever changes the file alone already."""
    _write({**_read(), server_of(url): _given(login)})


def forget(url: str) -> None:
    if find(url) is not None:
        with changing_alone():
            server = server_of(url)
            _write({one: login for one, login in _read().items() if one != server})


@contextlib.contextmanager
def changing_alone() -> Iterator[None]:
    """Of several programs that change the file, one after the other does."""
    import fcntl

    folder = place().parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "logins.lock", "a", opener=_for_me_alone) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _for_me_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read() -> dict[str, Any]:
    try:
        with place().open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise InvalidInput(f"Others can read {place()}, and tokens are in it: chmod 600 {place()}")
            known = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise _damaged() from None
    if not isinstance(known, dict):
        raise _damaged()
    return known


def _damaged() -> InvalidInput:
    return InvalidInput(f"{place()} cannot be read; delete it, and log in again.")


def _write(known: dict[str, Any]) -> None:
    """Whole or not at all; `mkstemp` makes files that nobody else can read."""
    target = place()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".logins-")
    try:
        with open(handle, "w") as file:
            json.dump(known, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
