"""Digests of whole files: `sha-256:<hex>` in records, `sha-256=:<base64>:` in headers (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from voxloom.errors import InvalidInput

ALGORITHM = "sha-256"
REPR, CONTENT = "Repr-Digest", "Content-Digest"

_DIGEST = re.compile(r"sha-256:[0-9a-f]{64}")
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")


def digest_of(data: bytes | memoryview) -> str:
    return named(hashlib.sha256(data).hexdigest())


def named(hexadecimal: str) -> str:
    return f"{ALGORITHM}:{hexadecimal}"


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def as_header(digest: str) -> str:
    """The value of Repr-Digest or Content-Digest."""
    raw = bytes.fromhex(digest.partition(":")[2])
    return f"{ALGORITHM}=:{base64.b64encode(raw).decode()}:"


def from_header(value: str) -> str | None:
    """The SHA-256 among the digests of a header; None where there are others only, which anybody may leave unread.

    Raises InvalidInput (`digest_invalid`).
    """
    found = None
    for member in value.split(","):
        read = _MEMBER.fullmatch(member)
        if read is None:
            raise _invalid()
        if read[1] == ALGORITHM:
            found = named(_raw(read[2]).hex())
    return found


def _raw(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _invalid() from None
    if len(raw) != hashlib.sha256().digest_size:
        raise _invalid()
    return raw


def _invalid() -> InvalidInput:
    return InvalidInput(
        "The digest cannot be read. Write the SHA-256 of the file's bytes in base64 between colons, as in "
        f"{REPR}: {as_header(digest_of(b''))}, or leave the header out.",
        code="digest_invalid",
        http_status=400,
    )
