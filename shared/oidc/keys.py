"""Keys of an OpenID provider, and whether one of them has signed a token. joserfc does the cryptography."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shared.oidc.claims import Header, refused
from voxloom.errors import Misconfigured, Unavailable
from voxloom.jsontext import is_deeper

try:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey
except ImportError as error:
    raise Misconfigured(
        "`oidc_issuer` needs a library that is not installed here: pip install 'voxloom[oidc]'."
    ) from error

MOST_KEYS = 100
DEEPEST = 8
SIZES_OF_RSA = range(2048, 8193)
"""Bits: fewer are weak, more take long."""
_TYPES: dict[str, tuple[str, str | None]] = {
    **{f"{kind}{bits}": ("RSA", None) for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_PARTS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""Of the public key; what else is sent of it, a private one, say, nobody looks at."""

Key = RSAKey | ECKey | OKPKey


class Known(NamedTuple):
    key: Key
    kind: str
    curve: str | None
    algorithm: str | None

    def fits(self, algorithm: str) -> bool:
        return (self.kind, self.curve) == _TYPES[algorithm] and self.algorithm in (None, algorithm)


Keys = Mapping[str, tuple[Known, ...]]
"""By `kid`."""


def read_keys(raw: bytes) -> Keys:
    """Those that may have signed something; others are passed over. Raises Unavailable where there is no list."""
    found: dict[str, tuple[Known, ...]] = {}
    for one in _listed(raw):
        kid = one.get("kid")
        if isinstance(kid, str) and kid and (known := _known(one)) is not None:
            found[kid] = (*found.get(kid, ()), known)
    return found


def _listed(raw: bytes) -> Iterator[dict[str, Any]]:
    try:
        if is_deeper(raw, DEEPEST):
            raise ValueError("deep")
        listed = json.loads(raw)["keys"]
        if not isinstance(listed, list) or len(listed) > MOST_KEYS:
            raise ValueError("no list")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unavailable("The keys of the OpenID provider cannot be read.", code="issuer_unavailable") from None
    return (one for one in listed if isinstance(one, dict))


def _known(one: Mapping[str, Any]) -> Known | None:
    """None: it is for something else, of a kind that is not used here, or too weak."""
    kind, operations = one.get("kty"), one.get("key_ops")
    if not isinstance(kind, str) or kind not in _PARTS or one.get("use", "sig") != "sig":
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    algorithm = one.get("alg")
    key = _imported(kind, {name: one.get(name) for name in ("kty", *_PARTS[kind])})
    if key is None or not isinstance(algorithm, str | None):
        return None
    return Known(key, kind, one.get("crv") if kind != "RSA" else None, algorithm)


def _imported(kind: str, parts: dict[str, Any]) -> Key | None:
    if not all(isinstance(one, str) for one in parts.values()):
        return None
    try:
        if kind == "RSA":
            return RSAKey.import_key(parts) if _bits(parts["n"]) in SIZES_OF_RSA else None
        return (ECKey if kind == "EC" else OKPKey).import_key(parts)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(number: str) -> int:
    """Of a number in base64url."""
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()


class _Registry(jws.JWSRegistry):
    """Which algorithm is allowed was asked before: this one is not asked for what it recommends."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)


def payload_of(text: str, header: Header, keys: tuple[Known, ...]) -> bytes:
    """What one of these keys has signed. Raises Unauthenticated."""
    for one in keys:
        if not one.fits(header.algorithm):
            continue
        try:
            return jws.deserialize_compact(text, one.key, [header.algorithm], registry=_REGISTRY).payload
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise refused("its signature is wrong")
