"""Tokens: what they look like, and what is none."""

from __future__ import annotations

import re

from shared.control.tokens import digest_of, fits, id_of, mint
from tests.each import each

GOOD = mint().text


def test_a_token_has_an_id_a_secret_and_a_check() -> None:
    made = mint()
    assert re.fullmatch(r"vox_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", made.text)
    assert (id_of(made.text), digest_of(made.text)) == (made.id, made.digest)


def test_no_two_are_alike() -> None:
    made = [mint() for _ in range(100)]
    assert len({one.text for one in made}) == len({one.id for one in made}) == 100


def test_a_token_fits_its_own_digest_alone() -> None:
    assert (fits(GOOD, digest_of(GOOD)), fits(mint().text, digest_of(GOOD))) == (True, False)


def other(text: str, at: int) -> str:
    """With another sign there."""
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


NO_TOKENS = {
    "nothing": "",
    "a word": "token",
    "cut off": GOOD[:-1],
    "one sign more": f"{GOOD}0",
    "a new line behind it": f"{GOOD}\n",
    "another prefix": f"voy{GOOD[3:]}",
    "another sign in the id": other(GOOD, 6),
    "another sign in the secret": other(GOOD, 30),
    "another sign in the check": other(GOOD, len(GOOD) - 2),
    "a letter of another script": GOOD[:20] + "é" + GOOD[21:],
    "halves of letters": "\udc80" * len(GOOD),
    "very long": "vox_" + "a" * 1_000_000,
}


@each("what", NO_TOKENS)
def test_what_is_no_token_whole_and_unchanged_is_none(what: str) -> None:
    assert id_of(NO_TOKENS[what]) is None
