"""What a token looks like: `vox_<id>_<secret><check>`.

The id (12 letters and digits) is no secret: lists and logs name a token by it. The secret has 43 (256 bits), the check
6: CRC-32 of what stands before it, so that a token that was copied in part is told apart from one that was revoked,
and programs that look for secrets in files find ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from typing import NamedTuple

_SIGNS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CHECK = 12, 43, 6
_FORM = re.compile(rf"(vox_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CHECK}}})", re.ASCII)
LONGEST = len("vox__") + _ID + _SECRET + _CHECK


class Minted(NamedTuple):
    text: str
    """Shown once, and kept nowhere."""
    id: str
    digest: str


def mint() -> Minted:
    token_id = _random(_ID)
    body = f"vox_{token_id}_{_random(_SECRET)}"
    text = body + _check(body)
    return Minted(text, token_id, digest_of(text))


def new_id() -> str:
    return _random(_ID)


def id_of(text: str) -> str | None:
    """None: this is no token, whole and unchanged."""
    if len(text) != LONGEST or (match := _FORM.fullmatch(text)) is None:
        return None
    body, token_id, check = match.groups()
    return token_id if check == _check(body) else None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fits(text: str, digest: str) -> bool:
    """Whether this is the token of that digest; it takes as long whatever it is."""
    return hmac.compare_digest(digest_of(text), digest)


def _random(length: int) -> str:
    return "".join(secrets.choice(_SIGNS) for _ in range(length))


def _check(body: str) -> str:
    number, signs = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        number, rest = divmod(number, len(_SIGNS))
        signs = _SIGNS[rest] + signs
    return signs
