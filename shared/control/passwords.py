"""What is kept of a password, and how one that is shown is compared with it.

scrypt takes its time and its memory, so it is done in a few threads: however many log in at once, the rest goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from shared.control.objects import Password
from shared.control.tokens import new_id
from voxloom.errors import InvalidInput

SHORTEST = 8
THREADS = 2
_N, _R, _P = 1 << 15, 8, 1
"""32 MiB and about a tenth of a second for each guess."""
_SALT_BYTES, _DIGEST_BYTES = 16, 32
_SPARE = 1 << 20
"""Bytes that scrypt wants beside its table."""


class Hashed(NamedTuple):
    id: str
    salt: str
    digest: str
    n: int
    r: int
    p: int


NOBODYS = Hashed("0" * 12, "00" * _SALT_BYTES, "00" * _DIGEST_BYTES, _N, _R, _P)
"""What is compared where there is no password, so that it takes as long."""


def check(text: str) -> None:
    """Raises InvalidInput (`password_too_short`)."""
    if len(_plain(text)) < SHORTEST:
        raise InvalidInput(f"A password has at least {SHORTEST} signs; take a longer one.", code="password_too_short")


def hashed(text: str) -> Hashed:
    salt = secrets.token_hex(_SALT_BYTES)
    return Hashed(new_id(), salt, _scrypt(text, salt, _N, _R, _P), _N, _R, _P)


def fits(text: str, kept: Password | Hashed) -> bool:
    """Whether this is the password; it takes as long whatever it is."""
    return hmac.compare_digest(_scrypt(text, kept.salt, kept.n, kept.r, kept.p), kept.digest)


def _scrypt(text: str, salt: str, n: int, r: int, p: int) -> str:
    memory = 128 * r * (n + p) + _SPARE
    given = _plain(text).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(given, salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=memory, dklen=_DIGEST_BYTES).hex()


def _plain(text: str) -> str:
    """The same signs may be typed in more than one way (NFKC, as SP 800-63B has it)."""
    return unicodedata.normalize("NFKC", text)


class Hasher:
    """Its threads begin with the first password."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")

    async def hashed(self, text: str) -> Hashed:
        return await asyncio.get_running_loop().run_in_executor(self._threads, hashed, text)

    async def fits(self, text: str, kept: Password | Hashed) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._threads, fits, text, kept)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
