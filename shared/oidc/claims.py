"""What an access token says, and whether it is for this server, now. Nothing here knows of keys or of the network."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from voxloom.errors import Unauthenticated
from voxloom.jsontext import is_deeper

LONGEST = 16_000
"""Signs of a token."""
LONGEST_HEADER = 2048
DEEPEST = 16
MOST_CLAIMS = 200
MOST_GROUPS = 2000
LEEWAY_SECS = 30.0
"""By how much the clocks of two servers may differ."""
LONGEST_TEXT = 512
"""Of `sub` and `kid`."""
TYPES = frozenset({"at+jwt", "jwt"})
"""`JWT` is what providers write that do not know RFC 9068; then the claims have to show that it is no ID token."""
ID_MARKS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
"""Claims that ID tokens alone have."""
_FARTHEST = 1e11
_KINDS = frozenset({"bearer", "at+jwt"})


class Rules(NamedTuple):
    issuer: str
    audience: str
    algorithms: frozenset[str]
    groups_claim: str
    groups: Mapping[str, Mapping[str, str]]
    """Roles by project, by group."""
    longest_secs: float = 86_400.0
    """After it was issued, a token is good for no longer."""


class Header(NamedTuple):
    algorithm: str
    kid: str
    plain_type: bool
    """Whether it says no more than that it is a JWT."""


@dataclass(frozen=True)
class Proof:
    """What a token has proven: who, and for how long."""

    id: str
    """12 signs, as tokens of ours have."""
    digest: str
    """SHA-256 of the token; its text is nowhere kept."""
    identity: str
    """Of issuer and subject together."""
    subject: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    roles: tuple[tuple[str, str], ...]
    """By project, from groups."""


def looks_like_one(text: str) -> bool:
    """Our own tokens have no dot."""
    return text.count(".") == 2 and not text.startswith("vox_")


def identity_of(issuer: str, subject: str) -> str:
    """The two may have any signs, and no pair is taken for another."""
    return hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def refused(why: str, code: str = "token_invalid") -> Unauthenticated:
    return Unauthenticated(f"This server does not take the token: {why}. Log in again (`voxloom login`).", code=code)


def header_of(text: str, rules: Rules) -> Header:
    """Where the key is sent along (`jwk`, `x5c`) or pointed at (`jku`, `x5u`), nobody looks. Raises Unauthenticated."""
    if len(text) > LONGEST or not text.isascii():
        raise refused("it is too long, or no token")
    encoded = text.partition(".")[0]
    if len(encoded) > LONGEST_HEADER:
        raise refused("its header is too long")
    said = _object(_decoded(encoded))
    if "crit" in said:
        raise refused("it wants what this server does not know (`crit`)")
    algorithm, kid, kind = (said.get(name) for name in ("alg", "kid", "typ"))
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise refused("its algorithm is not allowed")
    if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_TEXT:
        raise refused("it does not say with which key it was signed (`kid`)")
    plain = kind.lower().removeprefix("application/") if isinstance(kind, str) else ""
    if plain not in TYPES:
        raise refused("it is no access token (`typ`)")
    return Header(algorithm, kid, plain == "jwt")


def proof_of(text: str, payload: bytes, header: Header, rules: Rules, now: datetime) -> Proof:
    """Of what the signature has proven. Raises Unauthenticated."""
    said = _object(payload)
    _check_kind(said, header)
    _check_for_us(said, rules)
    issued, expires = _check_times(said, rules, now)
    subject = said.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_TEXT or not _is_text(subject):
        raise refused("it does not say whose it is (`sub`)")
    digest = digest_of(text)
    identity = identity_of(rules.issuer, subject)
    return Proof(digest[:12], digest, identity, subject, issued, expires, _roles(said, rules))


def _is_text(text: str) -> bool:
    """Half of a surrogate pair is none."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _check_kind(said: Mapping[str, Any], header: Header) -> None:
    if header.plain_type and not ID_MARKS.isdisjoint(said):
        raise refused("it is an ID token, and an access token is needed")
    kind = said.get("typ", "bearer")  # of Keycloak, which has the same `typ` in all headers
    if not isinstance(kind, str) or kind.lower() not in _KINDS:
        raise refused("it is no access token")
    if "cnf" in said:
        raise refused("it is good only along with a key, which this server does not ask for")


def _check_for_us(said: Mapping[str, Any], rules: Rules) -> None:
    if said.get("iss") != rules.issuer:
        raise refused("another server has issued it")
    given = said.get("aud")
    audiences = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in audiences) or rules.audience not in audiences:
        raise refused("it is for another server (`aud`)")


def _check_times(said: Mapping[str, Any], rules: Rules, now: datetime) -> tuple[datetime, datetime]:
    at = now.timestamp()
    issued, expires = _moment(said, "iat"), _moment(said, "exp")
    longest = issued + rules.longest_secs
    if at >= min(expires, longest) + LEEWAY_SECS:
        raise refused(
            "it has expired" if expires <= longest else "it was issued too long ago (`oidc_token_hours`)",
            "token_expired",
        )
    if issued > at + LEEWAY_SECS or ("nbf" in said and _moment(said, "nbf") > at + LEEWAY_SECS):
        raise refused("it is not good yet")
    if expires <= issued:
        raise refused("it expires before it is issued")
    return datetime.fromtimestamp(issued, UTC), datetime.fromtimestamp(min(expires, longest) + LEEWAY_SECS, UTC)


def _moment(said: Mapping[str, Any], name: str) -> float:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"it does not say `{name}`")
    if not 0 <= value < _FARTHEST:
        raise refused(f"its `{name}` is no moment")
    return float(value)


def _roles(said: Mapping[str, Any], rules: Rules) -> tuple[tuple[str, str], ...]:
    """What is no list of texts gives no role."""
    given = said.get(rules.groups_claim, [])
    groups: Sequence[Any] = given if isinstance(given, list) else []
    known = dict.fromkeys(one for one in groups[:MOST_GROUPS] if isinstance(one, str) and one in rules.groups)
    return tuple((project, role) for group in known for project, role in sorted(rules.groups[group].items()))


def _decoded(text: str) -> bytes:
    """base64url without padding, and nothing else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refused("it is no token") from None
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != text:
        raise refused("it is no token")
    return data


def _object(raw: bytes) -> dict[str, Any]:
    """An object of bounded depth and size, in which nothing is said twice. Raises Unauthenticated."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and is_deeper(raw, DEEPEST):
        raise refused("it is nested too deep")
    try:
        said = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise refused("it cannot be read") from None
    if not isinstance(said, dict):
        raise refused("it is no token")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or len(pairs) > MOST_CLAIMS:
        raise ValueError("twice, or too many")
    return found


def _no_number(_: str) -> float:
    raise ValueError("no number")
