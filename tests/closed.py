"""`--closed`: systems of the acceptance tests ask who people are, and all that the tests do is asked with a token.

The token is the same for all systems of a process, so that clients and commands find it where users have it: in
VOXLOOM_TOKEN.

python -m tests.closed TOKEN: lets the token into the store of the settings, before there is a server.
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from shared.control import bootstrap, tokens
from shared.control.store import ControlStore
from shared.control.tokens import Minted
from shared.platform import make_store
from shared.settings import load_settings
from voxloom.values import utc_now

TOKEN = "VOXLOOM_TOKEN"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--closed", action="store_true", help="the acceptance tests on servers that ask who people are")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("closed"):
        os.environ[TOKEN] = tokens.mint().text


def token() -> str | None:
    """None: systems are open, as they usually are."""
    return os.environ.get(TOKEN)


async def let_in(text: str) -> None:
    token_id = tokens.id_of(text)
    assert token_id is not None
    store = make_store(load_settings())
    await store.open()
    minted = Minted(text, token_id, tokens.digest_of(text))
    await bootstrap.begin(ControlStore(store), bootstrap.beginning("tester", minted, utc_now()))
    await store.close()


if __name__ == "__main__":
    asyncio.run(let_in(sys.argv[1]))
