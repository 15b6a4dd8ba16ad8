"""What a client calls a file, and which file that is."""

from __future__ import annotations

import itertools

import pytest

from shared.caller import LOCAL, Caller
from shared.file_names import Names, ids_of, is_upload_of, project_in, upload_key
from shared.files import check_name
from voxloom.errors import InvalidInput

ID = "0b1c2d3e-0000-1000-8000-00000000000a"
PROJECTS = ("default", "lab1", "lab2", "lab-1", "lab")
NAMES = (
    *("scan", "/scan", "//scan", "a/b", "@", "@/", "@lab2/", "@lab1/scan", "@lab1//scan", "@default/scan", ID, "\n"),
    *("@default/@lab1/scan", "@default/@default/scan", "@system/scan", "@system/lab1/scan", "@system/lab1//scan"),
    f"@default/{ID}",
)


@pytest.mark.parametrize(
    ("project", "asked", "ids"),
    [
        ("default", "scan", ("scan",)),
        ("default", ID, (ID, f"@default/{ID}")),
        ("default", "@lab1/scan", ("@lab1/scan", "@default/@lab1/scan")),
        ("default", "@default/@lab1/scan", ("@default/@lab1/scan", "@lab1/scan")),
        ("default", "@default/scan", ("@default/scan", "@default/@default/scan")),
        ("default", "@default/@default/scan", ("@default/@default/scan",)),
        ("lab1", ID, (ID, f"@lab1/{ID}", f"@system/lab1/{ID}")),
        ("lab1", "scan", ("@lab1/scan", "@system/lab1/scan")),
        ("lab1", "/scan", ("@lab1//scan", "@system/lab1//scan")),
        ("lab1", "a/b\n@lab2/c", ("@lab1/a/b\n@lab2/c", "@system/lab1/a/b\n@lab2/c")),
        ("lab1", "@lab1/scan", ("@lab1/scan", "@system/lab1/scan")),
        ("lab1", "@system/lab1/scan", ("@system/lab1/scan", "@lab1/scan")),
        ("lab1", "@lab2/scan", ("@lab2/scan", "@lab1/@lab2/scan", "@system/lab1/@lab2/scan")),
        ("lab1", "@one two/scan", ("@lab1/@one two/scan", "@system/lab1/@one two/scan")),
    ],
)
def test_which_files_may_be_meant(project: str, asked: str, ids: tuple[str, ...]) -> None:
    assert Names(project).possible(asked) == ids


@pytest.mark.parametrize(
    ("project", "name", "ids"),
    [
        ("default", "scan", ("scan",)),
        ("default", "@home", ("@home",)),
        ("default", ID, (f"@default/{ID}",)),
        ("default", "@lab1/scan", ("@default/@lab1/scan",)),
        ("default", "@default/scan", ("@default/@default/scan",)),
        ("default", "@default/@lab1/scan", ("@default/@lab1/scan",)),
        ("lab1", "scan", ("@lab1/scan", "@system/lab1/scan")),
        ("lab1", "@lab1/scan", ("@lab1/scan", "@system/lab1/scan")),
        ("lab1", ID, (f"@lab1/{ID}", f"@system/lab1/{ID}")),
        ("lab1", "@lab2/scan", ("@lab1/@lab2/scan", "@system/lab1/@lab2/scan")),
    ],
)
def test_the_ids_that_a_new_file_may_have(project: str, name: str, ids: tuple[str, ...]) -> None:
    assert Names(project).new(name) == ids


@pytest.mark.parametrize("project", PROJECTS)
def test_no_two_names_of_a_project_have_an_id_in_common(project: str) -> None:
    names = Names(project)
    for one, other in itertools.permutations((*NAMES, *(f"@{project}/{name}" for name in NAMES)), 2):
        if names.plain(one) != names.plain(other):
            assert not set(names.new(one)) & set(names.possible(other)), (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_on_an_open_server_every_name_is_the_id(name: str) -> None:
    names = Names.of(LOCAL)
    assert (names.possible(name), names.new(name)) == ((name,), (name,))


def test_a_closed_server_has_other_projects() -> None:
    assert not Names.of(Caller("anna", "default", LOCAL.rights)).alone


@pytest.mark.parametrize("name", NAMES)
def test_whoever_has_made_a_file_finds_it_by_its_name_and_by_its_id(name: str) -> None:
    for project in PROJECTS:
        names = Names(project)
        assert set(names.new(name)) <= set(names.possible(name))
        assert all(one in names.possible(one) for one in names.new(name))


def test_no_new_file_of_a_project_takes_the_id_of_anothers() -> None:
    for one, other in itertools.permutations(PROJECTS, 2):
        ids = {new for name in NAMES for new in Names(one).new(name)}
        others = {new for name in (*NAMES, *ids) for new in Names(other).new(name)}
        assert ids & others <= set(NAMES), (one, other)  # `default` may be given a name, as it is, that others have


@pytest.mark.parametrize("name", NAMES)
def test_what_becomes_a_file_lies_where_its_project_has_put_it(name: str) -> None:
    for project, other in itertools.permutations(PROJECTS, 2):
        key = Names(project).upload_key(name)
        assert all(is_upload_of(project, one, key) for one in Names(project).new(name))
        assert not any(is_upload_of(other, one, key) for one in (*ids_of(project, name), *ids_of(other, name)))


def test_an_upload_of_another_name_does_not_become_the_file() -> None:
    assert not is_upload_of("lab1", "@lab1/scan", upload_key("lab1", "other"))
    assert not is_upload_of("lab1", "scan", upload_key("lab1", "scan"))
    assert not is_upload_of("default", "@lab1/scan", upload_key("lab1", "scan"))


@pytest.mark.parametrize("name", ["scan", "@lab1/scan", "@default/scan", ID])
def test_what_an_earlier_version_has_staged_is_found(name: str) -> None:
    """Of `default`, and of a server that was open then."""
    assert Names("default").upload_key(name) == Names("default", alone=True).upload_key(name)
    assert is_upload_of("default", "@default/@lab1/scan", upload_key("default", "@lab1/scan"))


@pytest.mark.parametrize("project", ["default", "lab1"])
@pytest.mark.parametrize("name", ["", "  ", "x" * 1020, "é" * 460, "nul\0", "@lab1/ "])
def test_names_that_no_file_can_have_are_refused(project: str, name: str) -> None:
    if (project, name) == ("default", "@lab1/ "):
        return
    with pytest.raises(InvalidInput):
        check_name(Names(project), name)


@pytest.mark.parametrize("project", ["default", "lab1"])
def test_a_refusal_tells_how_long_a_name_may_be(project: str) -> None:
    with pytest.raises(InvalidInput) as told:
        check_name(Names(project), "x" * 1000)
    longest = int(told.value.message.partition("1 to ")[2].split()[0])
    check_name(Names(project), "x" * longest)
    with pytest.raises(InvalidInput):
        check_name(Names(project), "x" * (longest + 1))


@pytest.mark.parametrize(
    ("text", "project"),
    [
        ("@lab1/scan", "lab1"),
        ("@lab1//scan", "lab1"),
        ("@system/lab1/a", "system"),
        ("@lab1/", None),
        ("@/x", None),
        ("@a b/x", None),
        ("x", None),
    ],
)
def test_the_project_that_an_id_looks_like(text: str, project: str | None) -> None:
    assert project_in(text) == project
