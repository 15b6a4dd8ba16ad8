"""Which of its dependencies an algorithm does not find here."""

from __future__ import annotations

import pytest

from voxloom.dependencies import installed_version, lacking, warning

VERSIONS = {"numpy": "2.1.0", "scikit-image": "0.25.0rc1"}
CASES = {
    "there": ("numpy>=2", []),
    "by another spelling": ("Scikit_Image>=0.24", []),
    "not there": ("monai==1.4", ["monai==1.4 (not installed)"]),
    "another version": ("numpy<2,>=1.26", ["numpy<2,>=1.26 (it has 2.1.0)"]),
    "a release before the release": ("scikit-image>=0.25.0rc1", []),
    "with extras": ("numpy[all]", []),
    "from elsewhere": ("monai @ https://example.org/monai.whl", ["monai (not installed)"]),
    "for another system": ("monai; sys_platform == 'nowhere'", []),
    "the server itself": ("voxloom>=99", []),
    "whom it is compatible with": ("compox", []),
    "no requirement": ("numpy >> 2", ["'numpy >> 2' (which is no requirement)"]),
}


@pytest.mark.parametrize(("dependency", "expected"), CASES.values(), ids=CASES)
def test_a_dependency_is_held_against_what_is_installed(dependency: str, expected: list[str]) -> None:
    from packaging.utils import canonicalize_name

    assert lacking([dependency], lambda name: VERSIONS.get(canonicalize_name(name))) == expected


def test_a_warning_names_them_but_not_without_end() -> None:
    told = warning(lacking([f"missing-{number}" for number in range(30)]))
    assert ("missing-19 (not installed)" in told, "missing-20" in told, "and 10 more" in told) == (True, False, True)
    assert warning([]) == ""


def test_what_is_installed_is_found() -> None:
    assert installed_version("NumPy") is not None
