"""What a client calls a file, and which file that is."""

from __future__ import annotations

import pytest

from shared.files import named_id, new_name, possible_ids, project_in
from voxloom.errors import InvalidInput

ID = "0b1c2d3e-0000-1000-8000-00000000000a"


@pytest.mark.parametrize(
    ("project", "asked", "ids"),
    [
        ("default", "scan", ("scan",)),
        ("default", ID, (ID,)),
        ("lab1", ID, (ID, f"@lab1/{ID}")),
        ("lab1", "scan", ("@lab1/scan",)),
        ("lab1", "a/b\n@lab2/c", ("@lab1/a/b\n@lab2/c",)),
        ("lab1", "@lab1/scan", ("@lab1/scan",)),
        ("lab1", "@lab2/scan", ("@lab2/scan",)),
        ("lab1", "@lab2/", ("@lab1/@lab2/",)),
        ("lab1", "@one two/scan", ("@lab1/@one two/scan",)),
        ("default", "@lab1/scan", ("@lab1/scan",)),
    ],
)
def test_which_files_may_be_meant(project: str, asked: str, ids: tuple[str, ...]) -> None:
    assert possible_ids(project, asked) == ids


@pytest.mark.parametrize(
    ("project", "name", "file_id"),
    [
        ("default", "scan", "scan"),
        ("default", "@home", "@home"),
        ("default", "@/scan", "@/scan"),
        ("lab1", "scan", "@lab1/scan"),
        ("lab1", "@lab1/scan", "@lab1/scan"),
        ("lab1", ID, f"@lab1/{ID}"),
        ("lab1", "@lab1/@lab1/scan", "@lab1/@lab1/scan"),
    ],
)
def test_the_id_of_a_new_file(project: str, name: str, file_id: str) -> None:
    assert new_name(project, name) == file_id


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("default", "@lab1/scan"),
        ("default", "@default/scan"),
        ("lab1", "@lab2/scan"),
        ("lab1", "@default/scan"),
        ("lab1", ""),
        ("lab1", "  "),
        ("lab1", "x" * 1020),
        ("lab1", "nul\0"),
    ],
)
def test_names_that_would_be_anothers_or_nobodys_are_refused(project: str, name: str) -> None:
    with pytest.raises(InvalidInput):
        new_name(project, name)


@pytest.mark.parametrize("name", ["scan", "a/b", "@", "@lab2/", ID, "\n"])
def test_no_two_projects_have_a_file_of_one_id(name: str) -> None:
    ids = [named_id(project, name) for project in ("default", "lab1", "lab2", "lab-1", "lab")]
    assert len(set(ids)) == len(ids)
    assert [project_in(one) for one in ids] == [None, "lab1", "lab2", "lab-1", "lab"]
