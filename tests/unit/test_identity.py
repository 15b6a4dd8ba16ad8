"""What an export changes in the text of a pyproject, and that a deploy takes it back."""

from __future__ import annotations

import tomllib

import pytest

from voxloom.bundle import RUNNER
from voxloom.identity import with_identity, with_overrides, without_identity
from voxloom.manifest import parse_manifest

PLAIN = """\
# name = "none of it"
[project]
name = "echo"  # version = "9.9"
version = '1.0.3'
description = \"\"\"
name = "echo"
version = '1.0.3'
\"\"\"
[tool.voxloom]
tags = ["echo", "1.0.3"]
removable = false
"""


def named(text: str, name: str = "other", major: str = "2", minor: str = "7") -> str:
    return with_identity(text.encode(), name, major, minor).decode()


def overridden(text: str, *, removable: bool = True, exportable: bool = True) -> str:
    return with_overrides(text.encode(), removable=removable, exportable=exportable).decode()


def test_only_name_and_the_first_two_numbers_change() -> None:
    expected = PLAIN.replace('name = "echo"  #', 'name = "other"  #').replace("'1.0.3'\ndesc", '"2.7.3"\ndesc')

    assert named(PLAIN) == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('project = { name = "a", version = "1.0" }', ("other", "2.7")),
        ('project.name = "a"\nproject.version = "1.0"', ("other", "2.7")),
        ('[project]\n"name" = "a"\n"version"="1.0"', ("other", "2.7")),
        ("[project]\nname = '''a'''\nversion = \"\"\"1.0\"\"\"", ("other", "2.7")),
        ('[x]\nname = "a"\nversion = "1.0"\n[project]\nname = "a"\nversion = "1.0.b.c"', ("other", "2.7.b.c")),
        ('[project]\r\nname = "\\u0061"\r\nversion = " 1.0 "', ("other", "2.7")),
    ],
)
def test_however_it_is_written_it_reads_as_told(text: str, read: tuple[str, str]) -> None:
    project = tomllib.loads(named(text))["project"]

    assert (project["name"], project["version"]) == read


@pytest.mark.parametrize("name", ['say "hi"', "Näme", "a'b", "dash - 1.0"])
def test_any_name_survives_the_quotes(name: str) -> None:
    assert tomllib.loads(named(PLAIN, name))["project"]["name"] == name


@pytest.mark.parametrize(("major", "minor"), [("1", "0"), ("01", "00")])
def test_what_says_so_already_is_left_as_it_is(major: str, minor: str) -> None:
    assert named(PLAIN, "echo", major, minor) == PLAIN


@pytest.mark.parametrize(
    ("text", "removable", "exportable", "added"),
    [
        (PLAIN, False, True, []),
        (PLAIN, True, True, ["removable = true"]),
        (PLAIN, True, False, ["removable = true", "exportable = false"]),
        (PLAIN + "obfuscate = true\n", False, True, ["exportable = true"]),
        ('project = { name = "a", version = "1.0" }\ntool = {}', True, True, ["removable = true"]),
    ],
)
def test_an_override_is_said_at_the_end_where_the_text_says_otherwise(
    text: str, removable: bool, exportable: bool, added: list[str]
) -> None:
    # When the text is given these values
    result = overridden(text, removable=removable, exportable=exportable)
    # Then it has those lines more, and reads so
    manifest = parse_manifest(result.encode(), {RUNNER})
    assert [line for line in result[len(text) :].splitlines()[3:] if line] == added
    assert (result[: len(text)], manifest.removable, manifest.exportable) == (text, removable, exportable)


def test_the_newest_override_takes_the_place_of_one_before() -> None:
    assert overridden(overridden(PLAIN, exportable=False)) == overridden(PLAIN)


def test_an_override_taken_back_leaves_nothing() -> None:
    assert overridden(overridden(PLAIN), removable=False) == PLAIN


@pytest.mark.parametrize("text", [PLAIN, PLAIN.rstrip(), PLAIN.replace("\n", "\r\n")])
def test_what_was_changed_is_equal_without_it(text: str) -> None:
    exported = overridden(named(text), exportable=False)

    assert without_identity(exported.encode()) == without_identity(text.encode())


@pytest.mark.parametrize(
    "edit",
    [
        ("removable = false", "removable = true"),
        ("'1.0.3'\ndesc", "'1.0.4'\ndesc"),
        ("# name", "# Name"),
        ('["echo", ', '["other", '),
    ],
)
def test_any_other_edit_is_seen(edit: tuple[str, str]) -> None:
    assert without_identity(PLAIN.replace(*edit).encode()) != without_identity(PLAIN.encode())
