"""The bytes of a bundle: a header, and chunks of which each is bound to its place. The format is in `__init__`."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import IO, NoReturn, Protocol

from voxloom.bundles.keys import Keys, Protection, Secret, derive, library_missing
from voxloom.errors import InvalidInput

MAGIC = b"\x89VXB\r\n\x1a\n"
VERSION = 1
SALT = 32
CHUNK = 1 << 16
TAG = 16
_OPEN = len(MAGIC) + 2 + SALT
HEADER = _OPEN + 32


def refuse(why: str) -> NoReturn:
    raise InvalidInput(f"The bundle cannot be used: {why}.", code="invalid_bundle")


class _Box(Protocol):
    def seal(self, nonce: bytes, data: bytes) -> bytes: ...

    def open(self, nonce: bytes, sealed: bytes) -> bytes | None:
        """None where the tag does not fit."""


class _Summed:
    """Finds damage, but nobody who is up to something."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def seal(self, nonce: bytes, data: bytes) -> bytes:
        return data + hashlib.sha256(self._header + nonce + data).digest()[:TAG]

    def open(self, nonce: bytes, sealed: bytes) -> bytes | None:
        data = sealed[:-TAG]
        return data if hmac.compare_digest(self.seal(nonce, data), sealed) else None


class _Encrypted:
    def __init__(self, header: bytes, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise library_missing() from error
        self._header = header
        self._cipher = AESGCM(key)
        self._invalid = InvalidTag

    def seal(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.encrypt(nonce, data, self._header)

    def open(self, nonce: bytes, sealed: bytes) -> bytes | None:
        try:
            return self._cipher.decrypt(nonce, sealed, self._header)
        except self._invalid:
            return None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _closed_by(secret: Secret | None, opening: bytes) -> tuple[bytes, _Box]:
    """The whole header that begins so, and what seals the chunks behind it."""
    if secret is None:
        header = opening + hashlib.sha256(opening).digest()
        return header, _Summed(header)
    chunk_key, header_key = derive(secret, opening[-SALT:])
    header = opening + hmac.digest(header_key, opening, "sha256")
    return header, _Encrypted(header, chunk_key)


class SealedWriter:
    """Writes a bundle's bytes; without `close` they have no end, and count as cut off."""

    def __init__(self, target: IO[bytes], secret: Secret | None) -> None:
        kind = Protection.NONE if secret is None else secret.kind
        salt = bytes(SALT) if secret is None else secrets.token_bytes(SALT)
        header, self._box = _closed_by(secret, MAGIC + bytes([VERSION, kind]) + salt)
        self._target = target
        self._pending = bytearray()
        self._number = 0
        target.write(header)

    def write(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) > CHUNK:  # One byte at least stays, for the last chunk.
            self._emit(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]

    def close(self) -> None:
        self._emit(bytes(self._pending), last=True)
        self._pending.clear()

    def _emit(self, data: bytes, *, last: bool) -> None:
        self._target.write(self._box.seal(_nonce(self._number, last), data))
        self._number += 1


def read_opening(source: IO[bytes]) -> tuple[Protection, bytes]:
    """What everybody can see of a bundle, and the header. Raises InvalidInput (`invalid_bundle`)."""
    header = source.read(HEADER)
    if header[: len(MAGIC)] != MAGIC:
        refuse("it is no bundle, or was damaged by a program that took it for text")
    if len(header) < HEADER:
        refuse("it is cut off; fetch it again")
    version, kind = header[len(MAGIC) : len(MAGIC) + 2]
    if version != VERSION:
        refuse(f"it has format {version}, and this Voxloom reads format {VERSION}; install a newer one")
    if kind not in list(Protection):
        refuse(f"it is damaged: there is no protection {kind}")
    return Protection(kind), header


class SealedReader:
    """Reads what a SealedWriter was given, and lets nothing out that was changed."""

    def __init__(self, source: IO[bytes], keys: Keys) -> None:
        """Raises InvalidInput (`invalid_bundle`, `bundle_key_needed`, `bundle_key_wrong`)."""
        protection, header = read_opening(source)
        whole, self._box = _closed_by(keys.for_(protection), header[:_OPEN])
        if not hmac.compare_digest(whole, header):
            _refuse_header(protection)
        self._source = source
        self.rewind()

    def rewind(self) -> None:
        """Back to the beginning."""
        self._source.seek(HEADER)
        self._number = 0
        self._data = b""
        self._at = 0
        self._ahead = self._source.read(CHUNK + TAG)
        if not self._ahead:
            refuse("it is cut off; fetch it again")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, and none only at the end."""
        if self._at == len(self._data):
            self._data, self._at = self._next_chunk(), 0
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _next_chunk(self) -> bytes:
        sealed, number = self._ahead, self._number
        if not sealed:
            return b""
        self._ahead = self._source.read(CHUNK + TAG)
        last = not self._ahead
        data = self._open(sealed, number, last=last)
        if not data:
            self._refuse_chunk(sealed, number, last=last)
        self._number += 1
        return data

    def _open(self, sealed: bytes, number: int, *, last: bool) -> bytes | None:
        return self._box.open(_nonce(number, last), sealed) if len(sealed) > TAG else None

    def _refuse_chunk(self, sealed: bytes, number: int, *, last: bool) -> NoReturn:
        if self._open(sealed, number, last=not last):
            refuse("it is cut off; fetch it again" if last else "something was added after its end; fetch it again")
        refuse(f"it is damaged or was changed (part {number + 1}); fetch it again")


def _refuse_header(protection: Protection) -> NoReturn:
    if protection is Protection.NONE:
        refuse("its beginning is damaged; fetch it again")
    raise InvalidInput(
        "The bundle cannot be opened: this is not its key, or its beginning is damaged. Ask who made it for its key.",
        code="bundle_key_wrong",
    )
