"""An OpenID provider for tests, over HTTP: discovery, keys that can be exchanged, tokens, and the device flow."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE, CLIENT = "voxloom-test", "voxloom-cli"
JWKS = "/keys"
_RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}, private=True)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", SecurityWarning)
    _WEAK = RSAKey.generate_key(1024, {"kid": "weak"}, private=True)


class _AnyAlgorithm(jws.JWSRegistry):
    max_header_length = 100_000
    max_payload_length = 1_000_000

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


_REGISTRY = _AnyAlgorithm(strict_check_header=False)


class Issuer:
    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {
            "rsa": _RSA,
            "ec": ECKey.generate_key("P-256", {"kid": "ec"}, private=True),
            "okp": OKPKey.generate_key("Ed25519", {"kid": "okp"}, private=True),
            "weak": _WEAK,
        }
        self.extra: list[dict[str, Any]] = []
        """Further keys, as they are in the list."""
        self.asked: list[str] = []
        self.answers: dict[str, web.Response | Any] = {}
        """By path: what is answered in place of the usual."""
        self.approved = False
        self.refreshed = 0
        self.lifetime = 300
        self.subject = "248289761001"

    # --- tokens ---------------------------------------------------------------------------------------------

    def claims(self, **other: Any) -> dict[str, Any]:
        """None takes one away."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": self.subject, "iat": now, "exp": now + self.lifetime}
        return {name: value for name, value in {**usual, **other}.items() if value is not None}

    def token(self, *, key: str = "rsa", header: dict[str, Any] | None = None, **other: Any) -> str:
        return self.signed(self.claims(**other), key=key, header=header)

    def signed(self, claims: dict[str, Any], *, key: str = "rsa", header: dict[str, Any] | None = None) -> str:
        return self.signed_bytes(json.dumps(claims).encode(), key=key, header=header)

    def signed_bytes(self, payload: bytes, *, key: Any = "rsa", header: dict[str, Any] | None = None) -> str:
        named = {"rsa": "RS256", "weak": "RS256", "ec": "ES256", "okp": "EdDSA"}.get(str(key), "RS256")
        whole = {"alg": named, "kid": str(key), "typ": "at+jwt", **(header or {})}
        whole = {name: value for name, value in whole.items() if value is not None}
        signer = self.keys[key] if isinstance(key, str) else key
        return jws.serialize_compact(whole, payload, signer, registry=_REGISTRY)

    def rotate(self) -> None:
        """Another key under another name; the old one is gone."""
        self.keys = {"new": RSAKey.generate_key(2048, {"kid": "new"}, private=True)}

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [*(one.as_dict(private=False) for one in self.keys.values()), *self.extra]}

    # --- HTTP -----------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path in self.answers:
            said = self.answers[request.path]
            return said() if callable(said) else web.Response(body=said)
        if request.path == JWKS:
            return web.json_response(self.jwks)
        if request.path == "/device":
            return web.json_response(
                {
                    "device_code": "device-secret",
                    "user_code": "WDJB-MJHT",
                    "verification_uri": f"{self.url}/activate",
                    "expires_in": 60,
                    "interval": 1,
                }
            )
        if request.path == "/token":
            return await self._token(request)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response(
                {
                    "issuer": self.url,
                    "jwks_uri": self.url + JWKS,
                    "device_authorization_endpoint": f"{self.url}/device",
                    "token_endpoint": f"{self.url}/token",
                }
            )
        raise web.HTTPNotFound

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] != f"refresh-{self.refreshed}":
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.refreshed += 1
        elif not self.approved:
            self.approved = True  # by the time of the next question
            return web.json_response({"error": "authorization_pending"}, status=400)
        return web.json_response(
            {
                "access_token": self.token(),
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "refresh_token": f"refresh-{self.refreshed}",
            }
        )


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield issuer
    await runner.cleanup()
