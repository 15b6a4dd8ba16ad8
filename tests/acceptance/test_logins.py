"""Names and passwords, from the first password to the last logout; on a cluster by two gateways in turn."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from shared.control import tokens
from tests.acceptance.cluster import Cluster, Process
from tests.acceptance.conftest import Make
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing

RIGHT, OTHER = "correct horse battery", "staple staple staple"


@dataclass
class Desk:
    """A place at which somebody types commands, and where their logins are kept."""

    nursery: Nursery
    folder: Path
    url: str
    token: str = ""

    def type(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VOXLOOM_")}
        told = {"VOXLOOM_URL": self.url, "XDG_CONFIG_HOME": str(self.folder), "NO_COLOR": "1"}
        shown = {"VOXLOOM_TOKEN": self.token} if self.token else {}
        self.folder.mkdir(exist_ok=True)
        return self.nursery.run(*words, environment={**clean, **told, **shown}, cwd=self.folder, typed=typed)

    def done(self, *words: str, typed: str = "") -> str:
        ended = self.type(*words, typed=typed)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def log_in(self, *passwords: str) -> str:
        """The token that is kept here after that."""
        self.done("login", "anna", "--password-stdin", typed="".join(f"{one}\n" for one in passwords))
        (login,) = json.loads((self.folder / "voxloom" / "logins.json").read_text()).values()
        return str(login["token"])


def who(url: str, token: str) -> str:
    """Whom a gateway knows by it, or why it lets nobody in."""
    answer = httpx.get(f"{url}/api/v1/whoami", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    told = answer.json()
    return str(told["principal_id"] if answer.status_code == 200 else answer.status_code)


@pytest.fixture
def closed(make_footing: Make, tmp_path: Path, nursery: Nursery) -> Iterator[tuple[Footing, str]]:
    """A system of gateways alone, where it has processes, and the token of its admin."""
    footing = make_footing(
        tmp_path / "closed", services=["gateway"], more=["gateway"], auth="closed", password_login="true"
    )
    footing.folder.mkdir()
    token = tokens.mint().text
    places = {**footing.environment, "VOXLOOM_DATA": str(footing.data)}
    made = nursery.run(token, environment=places, cwd=footing.folder, module="tests.closed")
    assert made.returncode == 0, made.stderr
    yield footing.start(), token
    footing.close()


def test_who_logs_out_at_one_gateway_is_out_at_all(
    closed: tuple[Footing, str], nursery: Nursery, tmp_path: Path
) -> None:
    footing, token = closed
    urls = footing.urls if isinstance(footing, Cluster) else [footing.url]
    first, second = urls[0], urls[-1]
    root, here = Desk(nursery, tmp_path / "root", second, token), Desk(nursery, tmp_path / "here", first)
    # Given somebody who has logged in at both, at first with a password for one time
    root.done("admin", "user", "add", "anna")
    once = json.loads(root.done("passwd", "anna", "--one-time", "--json"))["password"]
    mine, other = here.log_in(once, RIGHT), log_in(second, RIGHT)
    assert json.loads(here.done("whoami", "--json"))["principal_id"] == "anna"
    assert [who(url, one) for url in (first, second) for one in (mine, other)] == ["anna"] * 4
    # When they log out at one, then all refuse that token, and take the other
    here.done("logout")
    assert [who(url, one) for url in (first, second) for one in (mine, other)] == ["401", "anna"] * 2
    # And another password ends what was got with the old one, at whichever
    change = {"password": OTHER, "old_password": RIGHT}
    ask(first, "PUT", "/api/v1/principals/anna/password", log_in(first, RIGHT), change)
    assert who(second, other) == "401"
    # And an admin ends all there are, and none that comes after that
    old = log_in(second, OTHER)
    root.done("admin", "user", "logout", "anna")
    new = log_in(second, OTHER)
    assert [who(url, one) for url in (first, second) for one in (old, new)] == ["401", "anna"] * 2
    # And no log has a password
    logs = footing.log.read_text() + "".join(one.log.read_text() for one in processes_of(footing))
    assert not [secret for secret in (once, RIGHT, OTHER) if secret in logs]


def log_in(url: str, password: str) -> str:
    """The token."""
    return str(ask(url, "POST", "/api/v1/login", "", {"name": "anna", "password": password})["token"])


def ask(url: str, method: str, path: str, token: str, body: dict[str, str]) -> dict[str, object]:
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.request(method, f"{url}{path}", json=body, headers=shown, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def processes_of(footing: Footing) -> list[Process]:
    return list(footing.processes.values()) if isinstance(footing, Cluster) else []
