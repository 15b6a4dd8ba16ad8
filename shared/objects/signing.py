"""URLs of the gateway that anybody who has one may use, for one object, one method and a while."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from voxloom.errors import InvalidInput, NotAllowed

PATH = "/signed"


def signed_url(base: str, secret: bytes, method: str, collection: str, key: str, expires: int) -> str:
    """`expires` is in seconds since 1970. Raises InvalidInput for the two keys no URL can carry."""
    query = {"method": method, "expires": expires, "signature": sign(secret, method, collection, key, expires)}
    return f"{base.rstrip('/')}{PATH}/{collection}/{quoted_key(key)}?{urlencode(query)}"


def check_signature(
    secret: bytes, method: str, collection: str, key: str, query: Mapping[str, str], now: float
) -> None:
    """Raises NotAllowed unless `query` has a signature for just this, and in time."""
    expires = query.get("expires", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 16):
        raise _forged()
    expected = sign(secret, method, collection, key, int(expires))
    if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode(errors="replace")):
        raise _forged()
    if now >= int(expires):
        raise NotAllowed("This URL has expired; ask for a new one.", code="signed_url_expired")


def sign(secret: bytes, method: str, collection: str, key: str, expires: int) -> str:
    # The key comes last: it is the only part that may have any character in it.
    text = f"voxloom-1\n{method}\n{collection}\n{expires}\n{key}"
    return hmac.new(secret, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def quoted_key(key: str) -> str:
    """The key as the rest of a path. Slashes stay, unless clients and proxies would tidy such a path up."""
    if key in (".", ".."):
        raise InvalidInput(f"A URL cannot carry the key {key!r}; use another one.")
    plain = all(part not in ("", ".", "..") for part in key.split("/"))
    return quote(key, safe="/" if plain else "")


def _forged() -> NotAllowed:
    return NotAllowed("This URL is not valid for this request; ask for a new one.", code="signed_url_invalid")
