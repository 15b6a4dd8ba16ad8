"""TOML that somebody has sent is not parsed where that would take for ever."""

from __future__ import annotations

import tomllib

import pytest

from voxloom.tomltext import DEEPEST, LARGEST, MOST_PARTS, MOST_VALUES, Unusable, outline, parse

EXCESSIVE = {
    "a key of many parts": ("a" + ".a" * MOST_PARTS + " = 1", "dotted parts"),
    "with blanks and quotes": ("a" + " . 'a'" * MOST_PARTS + " = 1", "dotted parts"),
    "a title of many parts": ("[a" + '."a.a"' * MOST_PARTS + "]", "dotted parts"),
    "in an inline table": ("x = {a" + ".a" * MOST_PARTS + " = 1}", "dotted parts"),
    "many values": ("x = [" + "1," * MOST_VALUES + "]", "values"),
    "many keys": ("a\n=1\n" * (MOST_VALUES + 1), "values"),
    "deep lists": ("x = " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "levels"),
    "deep tables": ("x = " + "{a=" * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), "levels"),
    "large": (" " * (LARGEST + 1), "bytes"),
}


@pytest.mark.parametrize(("text", "why"), EXCESSIVE.values(), ids=EXCESSIVE)
def test_what_would_take_for_ever_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr(tomllib, "loads", None)
    with pytest.raises(Unusable, match=why):
        parse(text.encode())


HARMLESS = {
    "dots in strings": "x = '" + "a." * 50 + "'",
    "dots in comments": "#" + "a." * 50 + "\nx = 1",
    "brackets in strings": "x = '''" + "[" * 50 + "'''",
    "many numbers": "x = [" + "1.5, " * 5000 + "]",
    "quotes in quotes": 'x = "it\'s # no \\" comment [["\ny = \'"\'',
    "quotes at the end of a long string": 'x = """a"""""\ny = """\\""" + "[" * 50 + ""' + '"""',
    "as many parts as may be": "a" + ".a" * (MOST_PARTS - 1) + " = 1",
    "as many levels as may be": "x = " + "[" * DEEPEST + "]" * DEEPEST,
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_only_looks_like_much_is_parsed(text: str) -> None:
    assert parse(text.encode()) == tomllib.loads(text)


OUTLINES = {
    'a = "x" # y': "a=_",
    "a . 'b.c' = '''\n#'''\n[d]": "a._=_\n[d]",
    'a = "no end\nb = 1': "a=",
    'a = """no end': "a=",
}


@pytest.mark.parametrize(("text", "expected"), OUTLINES.items())
def test_an_outline_has_no_strings_and_comments(text: str, expected: str) -> None:
    assert outline(text) == expected


@pytest.mark.parametrize("raw", [b"\xff", b"x = ", b"x = " + b"9" * 5000])
def test_what_is_no_toml_is_refused(raw: bytes) -> None:
    with pytest.raises(Unusable):
        parse(raw)
