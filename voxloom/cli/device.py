"""A token from an OpenID provider, for a program without a browser of its own: the device flow (RFC 8628)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from voxloom.cli import keyring
from voxloom.cli.keyring import Login
from voxloom.client._address import find_address
from voxloom.errors import InvalidInput, Unauthenticated, Unavailable

ANSWER_SECS = 20.0
LARGEST = 1 << 18
SLOWER_SECS = 5.0
USUAL_INTERVAL, USUAL_LIFETIME = 5.0, 300.0
LONGEST_WAIT = 1800.0
EARLIER = timedelta(seconds=30)
"""Before its end a token is exchanged for another one."""
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def log_in(issuer: str, client_id: str, scopes: str, audience: str, tell: Callable[[str], None]) -> Login:
    """Raises Unauthenticated where they say no or nothing; Unavailable, InvalidInput where the provider is odd."""
    said = discover(issuer)
    form = {"client_id": client_id, "scope": scopes, "audience": audience}
    begun = _form(_place(said, "device_authorization_endpoint"), form)
    if "device_code" not in begun:
        raise _no(begun, issuer)
    tell(_advice(begun))
    return _wait(_place(said, "token_endpoint"), begun, issuer, client_id)


def _advice(begun: Mapping[str, Any]) -> str:
    place, code = _printable(begun, "verification_uri"), _printable(begun, "user_code")
    return f"Open {place} in a browser and type the code {code}. This waits for you; Ctrl-C gives up."


def _printable(begun: Mapping[str, Any], name: str) -> str:
    text = begun.get(name)
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or len(text) > 500:
        raise _odd()
    return text


def _wait(place: str, begun: Mapping[str, Any], issuer: str, client_id: str) -> Login:
    interval = max(1.0, _number(begun, "interval", USUAL_INTERVAL))
    end = time.monotonic() + min(LONGEST_WAIT, _number(begun, "expires_in", USUAL_LIFETIME))
    form = {"grant_type": _GRANT, "device_code": str(begun["device_code"]), "client_id": client_id}
    while time.monotonic() < end:
        time.sleep(interval)
        said = _form(place, form)
        match said.get("error"):
            case "authorization_pending":
                continue
            case "slow_down":
                interval += SLOWER_SECS
            case _:
                return _login_of(said, issuer, client_id)
    raise Unauthenticated("Nobody has typed the code in time; type `voxloom login` again.", code="login_failed")


def refreshed(url: str) -> Login:
    """Another token in place of one that is over, and kept. Of several programs one asks, since a provider may take a
    refresh token once. Raises Unauthenticated (`login_over`), Unavailable."""
    with keyring.changing_alone():
        now = keyring.find(url)
        if now is None:  # Somebody has logged out meanwhile.
            raise _over(url)
        if not is_almost_over(now):
            return now
        new = _refresh(url, now)
        keyring.keep_in_turn(url, new)
    return new


def is_almost_over(kept: Login) -> bool:
    return kept.is_over(datetime.now(UTC) + EARLIER)


def _refresh(url: str, kept: Login) -> Login:
    if kept.refresh_token is None or kept.issuer is None or kept.client_id is None:
        raise _over(url)
    form = {"grant_type": "refresh_token", "refresh_token": kept.refresh_token, "client_id": kept.client_id}
    said = _form(_place(discover(kept.issuer), "token_endpoint"), form)
    if "error" in said:
        raise _over(url)
    new = _login_of(said, kept.issuer, kept.client_id)
    return new if new.refresh_token else replace(new, refresh_token=kept.refresh_token)


def _over(url: str) -> Unauthenticated:
    return Unauthenticated(f"Your login to {url} is over; type `voxloom login`.", code="login_over")


def revoke(kept: Login) -> None:
    """Where the provider takes that (RFC 7009); what it does not hear of ends by itself."""
    if kept.issuer is None or kept.refresh_token is None:
        return
    with suppress(Unavailable, InvalidInput):
        place = _place(discover(kept.issuer), "revocation_endpoint")
        _form(place, {"token": kept.refresh_token, "client_id": kept.client_id or ""})


def _login_of(said: Mapping[str, Any], issuer: str, client_id: str) -> Login:
    token, refresh = said.get("access_token"), said.get("refresh_token")
    if not isinstance(token, str):
        raise _no(said, issuer)
    lifetime = timedelta(seconds=_number(said, "expires_in", USUAL_LIFETIME))
    more = {"refresh_token": refresh if isinstance(refresh, str) else None}
    return Login(
        token=token, expires_at=(datetime.now(UTC) + lifetime).isoformat(), issuer=issuer, client_id=client_id, **more
    )


def _no(said: Mapping[str, Any], issuer: str) -> Unauthenticated:
    why = said.get("error")
    known = why if isinstance(why, str) and why.isidentifier() else "without saying why"
    return Unauthenticated(f"{issuer} has refused ({known}).", code="login_failed")


def _number(said: Mapping[str, Any], name: str, usual: float) -> float:
    value = said.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if usable and value is not None else usual


# --- HTTP -----------------------------------------------------------------------------------------------------------


def discover(issuer: str) -> Mapping[str, Any]:
    _check_safe(issuer)
    said = _json("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
    if said.get("issuer") != issuer:
        raise _odd()
    return said


def _place(said: Mapping[str, Any], name: str) -> str:
    place = said.get(name)
    if not isinstance(place, str):
        raise InvalidInput(f"The OpenID provider has no {name}; ask who runs the server.", code="login_failed")
    _check_safe(place)
    return place


def _check_safe(url: str) -> None:
    """https; http on this machine alone. Raises InvalidInput."""
    address = find_address(url, "none")
    if not (address.secure or address.local) or urlsplit(url).username is not None:
        raise InvalidInput("The OpenID provider is reached without TLS; ask who runs the server.", code="login_failed")


def _form(place: str, form: Mapping[str, str]) -> Mapping[str, Any]:
    return _json("POST", place, data=dict(form))


def _json(method: str, url: str, **more: Any) -> Mapping[str, Any]:
    """Also of a refusal, which says why. What is passed on to another address is not followed: secrets are in it."""
    try:
        with httpx.Client(follow_redirects=False, timeout=ANSWER_SECS) as client:
            answer = client.request(method, url, headers={"Accept": "application/json"}, **more)
    except httpx.HTTPError as error:
        raise Unavailable(f"The OpenID provider does not answer ({type(error).__name__}).") from error
    if answer.status_code >= 500 or len(answer.content) > LARGEST:
        raise Unavailable(f"The OpenID provider cannot be used just now ({answer.status_code}).")
    return _parsed(answer.content)


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise _odd() from None
    if not isinstance(said, dict):
        raise _odd()
    return said


def _odd() -> InvalidInput:
    return InvalidInput("The OpenID provider says what cannot be used; ask who runs the server.", code="login_failed")
