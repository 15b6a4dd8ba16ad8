"""Access tokens of an OpenID provider: whom they let in, and the tricks that do not."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from joserfc.jwk import RSAKey
from pydantic import TypeAdapter
from typer.testing import CliRunner

from shared.control.identities import id_of
from shared.oidc import provider
from shared.oidc.claims import identity_of
from tests.contract.closed_world import Closed, closed_at, keep
from tests.contract.issuer import AUDIENCE, CLIENT, Issuer, issuing
from voxloom.cli.answers import ANSWERS, Done
from voxloom.cli.program import app
from voxloom.models import utc_now

LIST = "/api/v1/executions"
HOUR = 3600
GROUPS = {"microscopy": {"lab1": "member", "nothing": "manager"}, "staff": {"lab1": "viewer", "lab2": "viewer"}}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@asynccontextmanager
async def closed_with(issuer: Issuer, folder: Path, **more: Any) -> AsyncIterator[Closed]:
    oidc = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, "oidc_client_id": CLIENT, "oidc_groups": GROUPS}
    async with closed_at(folder, **{**oidc, **more}) as closed:
        yield closed


@pytest.fixture
async def closed(issuer: Issuer, tmp_path: Path) -> AsyncIterator[Closed]:
    async with closed_with(issuer, tmp_path) as closed:
        yield closed


async def link(closed: Closed, principal: str, subject: str) -> None:
    async with closed.asking("root") as root:
        answer = await root.put(f"/api/v1/principals/{principal}/identity", json={"subject": subject})
    assert answer.status_code == 200, answer.text


async def ask(closed: Closed, token: str, path: str = LIST, **headers: str) -> tuple[int, Any]:
    async with closed.asking(None, Authorization=f"Bearer {token}", **headers) as client:
        answer = await client.get(path)
    return answer.status_code, answer.json()


async def code(closed: Closed, token: str) -> tuple[int, str]:
    status, said = await ask(closed, token)
    return status, said["code"] if status >= 400 else ""


@pytest.mark.parametrize("key", ["rsa", "ec", "okp"])
async def test_whom_an_admin_has_linked_is_let_in(closed: Closed, issuer: Issuer, key: str) -> None:
    await link(closed, "mia", issuer.subject)
    status, who = await ask(closed, issuer.token(key=key), "/api/v1/whoami")
    assert (status, who["principal_id"], who["projects"][0]["role"]) == (200, "mia", "member")


async def test_whom_nobody_has_linked_is_not(closed: Closed, issuer: Issuer) -> None:
    assert await code(closed, issuer.token(email="mia@lab.example", preferred_username="mia")) == (
        401,
        "identity_unknown",
    )


async def test_a_subject_that_looks_like_a_principal_is_none(closed: Closed, issuer: Issuer) -> None:
    issuer.subject = "root"
    assert await code(closed, issuer.token()) == (401, "identity_unknown")


async def test_at_first_sight_somebody_has_the_rights_of_their_groups_alone(issuer: Issuer, tmp_path: Path) -> None:
    async with closed_with(issuer, tmp_path, oidc_new_principals=True) as closed:
        _, nothing = await ask(closed, issuer.token(), "/api/v1/whoami")
        _, who = await ask(closed, issuer.token(groups=["microscopy", "staff", "others", 7]), "/api/v1/whoami")
        odd, _ = await ask(closed, issuer.token(groups="microscopy"), LIST)
        listed = await ask(closed, issuer.token(groups=["microscopy"]))
    assert who["principal_id"] == id_of(identity_of(issuer.url, issuer.subject))
    assert (nothing["projects"], nothing["admin"], odd, listed) == ([], False, 400, (200, []))
    assert [(one["project_id"], one["role"]) for one in who["projects"]] == [("lab1", "member"), ("lab2", "viewer")]


# --- the tricks -----------------------------------------------------------------------------------------------------


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unsigned(issuer: Issuer, algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'kid': 'rsa', 'typ': 'at+jwt'})}.{part(issuer.claims())}."


def by_public_key(issuer: Issuer) -> str:
    """The public key, which everybody knows, as the secret of HMAC."""
    signed = f"{part({'alg': 'HS256', 'kid': 'rsa', 'typ': 'at+jwt'})}.{part(issuer.claims())}"
    secret = issuer.keys["rsa"].as_pem(private=False)
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


MINE = RSAKey.generate_key(2048, {"kid": "mine"}, private=True)


def by_my_key(issuer: Issuer, **header: Any) -> str:
    return issuer.signed_bytes(json.dumps(issuer.claims()).encode(), key=MINE, header={"kid": "rsa", **header})


def tampered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{part(issuer.claims(sub='somebody else'))}.{signature}"


def malleable(issuer: Issuer) -> str:
    """Other signs at the end, for the same bytes."""
    head, payload, signature = issuer.token().split(".")
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return f"{head}x.{payload}.{signature[:-1]}{signs[signs.index(signature[-1]) ^ 1]}"


def twice(issuer: Issuer) -> str:
    text = json.dumps(issuer.claims())
    return issuer.signed_bytes(f'{text[:-1]}, "sub": "somebody"}}'.encode())


def deep(issuer: Issuer, levels: int) -> str:
    text = json.dumps(issuer.claims())
    return issuer.signed_bytes(f'{text[:-1]}, "deep": {"[" * levels}{"]" * levels}}}'.encode())


def late(seconds: float) -> int:
    return int(time.time() + seconds)


Trick = Callable[[Issuer], str]
TRICKS: dict[str, Trick] = {
    "no algorithm": lambda one: unsigned(one, "none"),
    "no algorithm, in capitals": lambda one: unsigned(one, "NONE"),
    "HMAC with the public key": by_public_key,
    "an algorithm that is not allowed": lambda one: by_my_key(one, alg="PS512"),
    "an EC key with an algorithm of RSA": lambda one: one.token(header={"kid": "ec"}),
    "an RSA key with an algorithm of EC": lambda one: one.token(key="ec", header={"kid": "rsa"}),
    "a weak RSA key": lambda one: one.token(key="weak"),
    "another audience": lambda one: one.token(aud="another"),
    "other audiences": lambda one: one.token(aud=["another", f"{AUDIENCE}/", AUDIENCE.upper()]),
    "no audience": lambda one: one.token(aud=None),
    "an audience that is no text": lambda one: one.token(aud=[AUDIENCE, {"a": 1}]),
    "another issuer": lambda one: one.token(iss="http://127.0.0.1:1"),
    "the issuer with a slash": lambda one: one.token(iss=f"{one.url}/"),
    "a list of issuers": lambda one: one.token(iss=[one.url]),
    "not good yet": lambda one: one.token(nbf=late(HOUR)),
    "issued in the future": lambda one: one.token(iat=late(HOUR), exp=late(2 * HOUR)),
    "no end": lambda one: one.token(exp=None),
    "an end that is no number": lambda one: one.token(exp="99999999999"),
    "an end that is true": lambda one: one.token(exp=True),
    "an end that is no moment": lambda one: one.token(exp=10**30),
    "an end that is infinite": lambda one: one.signed_bytes(
        json.dumps(one.claims(exp=float("inf"))).encode(),
    ),
    "no beginning": lambda one: one.token(iat=None),
    "no key": lambda one: one.token(header={"kid": None}),
    "a key that is a list": lambda one: f"{part({'alg': 'RS256', 'kid': ['rsa'], 'typ': 'at+jwt'})}.{part({})}.x",
    "an unknown key": lambda one: one.token(header={"kid": "unknown"}),
    "a key with another use": lambda one: one.token(header={"kid": "encryption"}),
    "a key for other operations": lambda one: one.token(header={"kid": "signing"}),
    "a key for another algorithm": lambda one: one.token(header={"kid": "other"}),
    "a symmetric key of the list": lambda one: by_my_key(one, kid="oct"),
    "the key sent along": lambda one: by_my_key(one, jwk=MINE.as_dict(private=False)),
    "the key pointed at": lambda one: by_my_key(one, jku=f"{one.url}/mine", x5u=f"{one.url}/mine"),
    "the key pointed at, under its own name": lambda one: by_my_key(one, kid=f"{one.url}/mine", jku=f"{one.url}/mine"),
    "a certificate sent along": lambda one: by_my_key(one, x5c=["AAAA"], x5t="AAAA"),
    "a token within a token": lambda one: one.signed_bytes(one.token().encode(), header={"cty": "JWT"}),
    "a payload that is not encoded": lambda one: (
        f"{part({'alg': 'RS256', 'kid': 'rsa', 'typ': 'at+jwt', 'b64': False})}.{part(one.claims())}.AAAA"
    ),
    "an encrypted one": lambda one: f"{part({'alg': 'dir', 'enc': 'A256GCM', 'kid': 'rsa'})}..AAAA.AAAA.AAAA",
    "a packed one": lambda one: f"{part({'alg': 'dir', 'zip': 'DEF', 'kid': 'rsa', 'typ': 'at+jwt'})}.AAAA.AAAA",
    "one as JSON": lambda one: json.dumps({"payload": part(one.claims()), "signature": "A.A.A"}),
    "with a sign behind it": lambda one: f"{one.token()}=",
    "with another token behind it": lambda one: f"{one.token()},{one.token()}",
    "of another issuer, with its key of the same name": lambda one: by_my_key(one, kid="rsa", iss="https://other"),
    "what must be understood": lambda one: (
        part({"alg": "RS256", "kid": "rsa", "typ": "at+jwt", "crit": ["b64"]}) + ".e30.x"
    ),
    "a huge header": lambda one: one.token(header={"more": "x" * 3000}),
    "a moment beyond all numbers": lambda one: one.token(exp=10**400),
    "half a sign as subject": lambda one: one.token(sub="\ud800"),
    "a huge payload": lambda one: one.token(more="x" * 20_000),
    "many claims": lambda one: one.signed({**one.claims(), **{f"c{number}": 1 for number in range(300)}}),
    "nested deep": lambda one: deep(one, 50),
    "nested very deep": lambda one: deep(one, 4000),
    "an ID token": lambda one: one.token(header={"typ": "JWT"}, nonce="n"),
    "an ID token of Keycloak": lambda one: one.token(header={"typ": "JWT"}, typ="ID"),
    "a refresh token of Keycloak": lambda one: one.token(header={"typ": "JWT"}, typ="Refresh"),
    "of another type": lambda one: one.token(header={"typ": "logout+jwt"}),
    "of no type": lambda one: one.token(header={"typ": None}),
    "bound to a key": lambda one: one.token(cnf={"jkt": "x"}),
    "tampered": tampered,
    "another text of the same bytes": malleable,
    "signed by somebody else": by_my_key,
    "a claim twice": twice,
    "a subject that is a number": lambda one: one.token(sub=1),
    "a subject that is a list": lambda one: one.token(sub=[one.subject]),
    "an empty subject": lambda one: one.token(sub=""),
    "no subject": lambda one: one.token(sub=None),
    "a list for a payload": lambda one: one.signed_bytes(b"[]"),
    "no JSON": lambda one: one.signed_bytes(b"{"),
    "nothing": lambda one: "..",
}


def give_odd_keys(issuer: Issuer) -> None:
    """Under these names there is the usual key, for something else."""
    usual = issuer.keys["rsa"].as_dict(private=False)
    issuer.extra += [
        {**usual, "kid": "encryption", "use": "enc"},
        {**usual, "kid": "signing", "use": "sig", "key_ops": ["encrypt"]},
        {**usual, "kid": "other", "alg": "PS256"},
        {"kty": "oct", "kid": "oct", "k": "AAAA"},
        {"kty": "RSA", "kid": "broken", "n": 1, "e": "AQAB"},
        {"kty": ["RSA"], "kid": "odd"},
    ]


async def test_no_trick_lets_anybody_in(closed: Closed, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    give_odd_keys(issuer)
    await link(closed, "mia", issuer.subject)
    monkeypatch.setattr(provider, "AGAIN_SECS", 0.0)
    assert await code(closed, issuer.token(header={"kid": "unknown"})) == (401, "token_invalid")
    monkeypatch.undo()
    said = {what: await code(closed, trick(issuer)) for what, trick in TRICKS.items()}
    wrong = {what: one for what, one in said.items() if one != (401, "token_invalid")}
    assert wrong == {}
    assert await code(closed, issuer.token()) == (200, "")
    # And nothing was fetched for any of them but what the provider says of itself, at a start and for an unknown key
    assert (set(issuer.asked), len(issuer.asked) <= 4) == ({"/.well-known/openid-configuration", "/keys"}, True)


async def test_what_has_expired_is_told_so(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "mia", issuer.subject)
    assert await code(closed, issuer.token(iat=late(-HOUR), exp=late(-60))) == (401, "token_expired")


async def test_it_is_sent_once_and_as_bearer(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "mia", issuer.subject)
    token = issuer.token()
    basic = base64.b64encode(f"token:{token}".encode()).decode()
    async with httpx.AsyncClient(base_url=closed.world.gateway.url) as client:
        two = await client.get(LIST, headers=[("Authorization", f"Bearer {token}")] * 2)
        other = await client.get(LIST, headers={"Authorization": f"Basic {basic}"})
        odd = await client.get(LIST, headers={b"Authorization": "Bearer é.é.é".encode()})
    assert (two.status_code, other.status_code, odd.status_code) == (401, 401, 401)


# --- keys -----------------------------------------------------------------------------------------------------------


async def test_however_many_keys_are_unknown_the_provider_is_asked_once(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "mia", issuer.subject)
    assert await code(closed, issuer.token()) == (200, "")
    issuer.asked.clear()
    said = [await code(closed, issuer.token(header={"kid": f"unknown-{number}"})) for number in range(20)]
    assert (set(said), issuer.asked.count("/keys") <= 1) == ({(401, "token_invalid")}, True)


async def test_new_keys_are_found_and_old_ones_count_no_more(
    closed: Closed, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await link(closed, "mia", issuer.subject)
    old = issuer.token()
    assert await code(closed, old) == (200, "")
    monkeypatch.setattr(provider, "AGAIN_SECS", 0.0)
    later = issuer.token(jti="later")
    issuer.rotate()
    assert await code(closed, issuer.token(key="new")) == (200, "")
    assert await code(closed, later) == (401, "token_invalid")


async def test_a_provider_that_is_away_keeps_nobody_out_whose_key_is_known(
    closed: Closed, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await link(closed, "mia", issuer.subject)
    assert await code(closed, issuer.token()) == (200, "")
    monkeypatch.setattr(provider, "AGAIN_SECS", 0.0)
    issuer.answers["/keys"] = lambda: web.Response(status=500)
    said = [await code(closed, issuer.token(jti="1")), await code(closed, issuer.token(header={"kid": "new"}))]
    assert said == [(200, ""), (503, "issuer_unavailable")]


@pytest.mark.parametrize(
    "answer",
    [
        b"{",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": ' + b"[" * 9000 + b"]" * 9000 + b"}",
        b'{"keys": [' + b" " * (1 << 19) + b"]}",
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/keys"}),
        lambda: web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
    ],
    ids=["no JSON", "a list", "no list", "deep", "huge", "elsewhere", "a file"],
)
async def test_a_list_of_keys_that_is_none_lets_nobody_in_and_keeps_no_server_from_starting(
    issuer: Issuer, tmp_path: Path, answer: Any
) -> None:
    issuer.answers["/keys"] = answer
    async with closed_with(issuer, tmp_path) as closed:
        await link(closed, "mia", issuer.subject)
        assert await code(closed, issuer.token()) == (503, "issuer_unavailable")
        assert await closed.status("mia") == 200


@pytest.mark.parametrize(
    "said", [{"issuer": "https://elsewhere"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": "http://192.0.2.1/k"}]
)
async def test_a_provider_that_says_odd_things_of_itself_is_not_believed(
    issuer: Issuer, tmp_path: Path, said: dict[str, str]
) -> None:
    usual = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
    issuer.answers["/.well-known/openid-configuration"] = json.dumps({**usual, **said}).encode()
    async with closed_with(issuer, tmp_path) as closed:
        await link(closed, "mia", issuer.subject)
        assert await code(closed, issuer.token()) == (503, "issuer_unavailable")


# --- when it ends ---------------------------------------------------------------------------------------------------


async def to_the_end(answer: httpx.Response) -> None:
    async with asyncio.timeout(30):
        async for _ in answer.aiter_raw():
            pass


@pytest.mark.parametrize("how", ["disable", "logout", "unlink"])
async def test_a_right_ends_at_once_and_open_answers_with_it(closed: Closed, issuer: Issuer, how: str) -> None:
    await link(closed, "mia", issuer.subject)
    token, path = issuer.token(iat=late(20)), "/api/v1/principals/mia"  # by a clock that is ahead of ours
    async with (
        closed.asking("root") as root,
        closed.asking(None, Authorization=f"Bearer {token}") as client,
        client.stream("GET", "/api/v1/events") as news,
    ):
        assert news.status_code == 200
        match how:
            case "disable":
                await root.put(path, json={"disabled": True})
            case "logout":
                await root.post(f"{path}/logout")
            case "unlink":
                await root.delete(f"{path}/identity")
        with pytest.raises(httpx.HTTPError):
            await to_the_end(news)
    codes = {"disable": "principal_disabled", "logout": "token_revoked", "unlink": "identity_unknown"}
    assert await code(closed, token) == (401, codes[how])


async def test_logging_out_everywhere_ends_ones_own_tokens_too(closed: Closed) -> None:
    async with closed.asking("mia") as mia, closed.asking("max") as other:
        assert (await other.post("/api/v1/principals/mia/logout")).status_code == 404
        assert (await mia.post("/api/v1/principals/mia/logout")).status_code == 200
        assert (await mia.get(LIST)).status_code == 401


async def test_the_clock_of_another_gateway_keeps_no_token_alive_nor_ends_a_new_one(closed: Closed) -> None:
    # Given a token that was made by a gateway whose clock is ahead, and a logout by it
    ahead = utc_now() + timedelta(seconds=20)
    closed.people.add("ahead", "mia", created_at=ahead)
    principal = next(one for one in closed.people.objects if one.key == "principals/mia")
    await keep(closed.control, [*closed.people.objects, principal.model_copy(update={"not_before": ahead})])
    await closed.world.gateway._control.read_anew()
    assert await closed.status("ahead") == 200
    # When she is logged out by this one
    assert await closed.status("root", "POST", "/api/v1/principals/mia/logout") == 200
    # Then that token is over, and one that is made afterwards is not
    assert await closed.status("ahead") == 401
    async with closed.asking("root") as root:
        made = (await root.post("/api/v1/tokens", json={"principal_id": "mia"})).json()
    closed.people.tokens["new"] = made["token"]
    assert await closed.status("new") == 200


async def test_with_it_one_makes_nothing_that_outlives_it(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "mia", issuer.subject)
    async with closed.asking(None, Authorization=f"Bearer {issuer.token()}") as mia:
        token = await mia.post("/api/v1/tokens", json={})
        password = await mia.put("/api/v1/principals/mia/password", json={"password": "correct horse"})
    assert (token.status_code, password.status_code) == (403, 403)


async def test_one_subject_is_one_principal(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "mia", issuer.subject)
    async with closed.asking("root") as root:
        answer = await root.put("/api/v1/principals/max/identity", json={"subject": issuer.subject})
    assert (answer.status_code, answer.json()["code"]) == (409, "identity_taken")


async def test_everybody_is_told_how_to_log_in(closed: Closed, issuer: Issuer) -> None:
    async with closed.asking(None) as client:
        told = (await client.get("/api/v1/login")).json()
    assert (told["password"], told["oidc"]["issuer"], told["oidc"]["client_id"]) == (False, issuer.url, CLIENT)


async def test_an_admin_links_and_unlinks_by_the_command_line(
    closed: Closed, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXLOOM_URL", closed.world.gateway.url)
    monkeypatch.setenv("VOXLOOM_TOKEN", closed.people.tokens["root"])

    async def told(command: str, *more: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*command.split(), "mia", *more, "--json"])
        assert done.exit_code == 0, done.stderr
        return TypeAdapter[Done](ANSWERS[command]).validate_json(done.stdout).said

    assert await told("admin user link", issuer.subject) == "Identity linked"
    assert (await ask(closed, issuer.token()))[0] == 200
    assert await told("admin user logout") == "Logged out everywhere"
    assert await code(closed, issuer.token(iat=int(time.time()) - 60)) == (401, "token_revoked")
    assert await told("admin user unlink") == "Identity removed"
    assert await code(closed, issuer.token()) == (401, "identity_unknown")


async def test_whoever_is_unlinked_does_not_come_back_as_new(issuer: Issuer, tmp_path: Path) -> None:
    async with closed_with(issuer, tmp_path, oidc_new_principals=True) as closed:
        _, who = await ask(closed, issuer.token(groups=["staff"]), "/api/v1/whoami")
        status = await closed.status("root", "DELETE", f"/api/v1/principals/{who['principal_id']}/identity")
        assert (status, await code(closed, issuer.token(groups=["staff"]))) == (200, (401, "identity_unknown"))
        # An admin may link them again
        await link(closed, "mia", issuer.subject)
        assert (await ask(closed, issuer.token()))[0] == 200
        async with closed.asking("root") as root:
            entries = (await root.get("/api/v1/audit", params={"action": "principal.welcome"})).json()
        assert [(one["actor"], one["subject"], one["outcome"]) for one in entries] == [
            ("oidc", who["principal_id"], "done")
        ]


async def test_the_subject_of_somebody_who_was_removed_can_be_linked_to_another(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "vera", issuer.subject)
    assert await closed.status("root", "DELETE", "/api/v1/principals/vera") == 200
    await link(closed, "mia", issuer.subject)
    _, who = await ask(closed, issuer.token(), "/api/v1/whoami")
    assert who["principal_id"] == "mia"


async def test_an_admin_sets_no_password_for_themselves_with_what_ends_sooner(closed: Closed, issuer: Issuer) -> None:
    await link(closed, "root", issuer.subject)
    headers = {"Authorization": f"Bearer {issuer.token()}", "Voxloom-Project": "lab1"}
    async with closed.asking(None, **headers) as client:
        answer = await client.put("/api/v1/principals/root/password", json={"password": "correct horse battery"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
