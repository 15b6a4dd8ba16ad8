"""What the documents show is run as it stands there; links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.gateway.app import ROUTES
from services.gateway.reference.tables import anchor
from shared.settings import Settings
from voxloom import testing
from voxloom.manifest import read_folder
from voxloom.parameters import check_parameters

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted(path for folder in ("voxloom", "shared", "services") for path in (ROOT / folder).rglob("*.py"))
NOT_IN_USE = {"training_expire_days"}
"""Settings that nothing reads so far."""
INNER_CODES = {
    *("error", "invalid_input", "not_found", "not_allowed", "conflict", "unavailable", "too_many"),  # of those without
    *("object_not_found", "precondition_failed"),  # what the store says to those who stand on it
    *("signed_url_expired", "signed_url_invalid"),  # no route gives such URLs out so far
    "task_stopped",  # ends a run as STOPPED, which is no error
}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_PLACE = re.compile(r"\]\(([\w./-]+\.md)?#([^)]+)\)")


def blocks(document: str, language: str, holding: str) -> list[str]:
    """The fenced blocks of a document in one language that hold a text."""
    found = _BLOCK.findall((ROOT / document).read_text())
    return [text for kind, text in found if kind == language and holding in text]


def write_algorithm(folder: Path, document: str, position: int) -> Path:
    """The algorithm that a document shows: its pyproject and its Runner."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(blocks(document, "toml", "[project]")[0])
    (folder / "Runner.py").write_text(blocks(document, "python", "class Runner")[position])
    return folder


def test_the_first_runner_of_the_authors_guide_runs(tmp_path: Path) -> None:
    folder = write_algorithm(tmp_path / "algorithm", "docs/authors.md", 0)
    images = np.linspace(0, 1, 2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    outputs = testing.run(folder, images, check_parameters(read_folder(folder).additional_parameters, {}))
    np.testing.assert_array_equal(np.stack([output["mask"] for output in outputs]), images > 0.5)


def test_the_second_runner_of_the_authors_guide_runs(tmp_path: Path) -> None:
    folder = write_algorithm(tmp_path / "algorithm", "docs/authors.md", 1)
    outputs = testing.run(folder, {"volume": np.zeros((2, 3, 4), np.int16)}, {"add": 5})
    np.testing.assert_array_equal(outputs[0]["volume"], np.full((2, 3, 4), 5))


def test_the_try_out_of_the_authors_guide_says_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_algorithm(tmp_path / "my_algorithm", "docs/authors.md", 0)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(blocks("docs/authors.md", "python", "testing.run")[0], names)
    assert names["outputs"].progress == [0.25, 0.5, 0.75, 1.0]


def test_the_first_algorithm_of_the_readme_runs(tmp_path: Path) -> None:
    folder = write_algorithm(tmp_path / "stretch", "README.md", 0)
    images = np.linspace(50, 150, 2 * 40 * 40, dtype=np.float32).reshape(2, 40, 40)
    outputs = testing.run(folder, images, check_parameters(read_folder(folder).additional_parameters, {"cut": 2}))
    assert [(output["image"].min(), output["image"].max()) for output in outputs] == [(0, 1), (0, 1)]


def test_every_route_is_documented_and_every_documented_one_exists() -> None:
    documented = re.findall(r"^### ([A-Z]+ /.*)$", (ROOT / "docs/rest.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(f"{route.method} {route.path}" for route in ROUTES)


def test_every_setting_is_documented_with_its_name() -> None:
    table = (ROOT / "docs/operations.md").read_text()
    named = {
        name for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)
    }
    assert set(Settings.model_fields) - NOT_IN_USE <= named


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs/errors.md").read_text()))
    used = {code for path in SOURCES for code in codes_in(ast.parse(path.read_text()))}
    assert used - documented - INNER_CODES == set()


def codes_in(tree: ast.Module) -> Iterator[str]:
    """The error codes that a module names: `code=…` in a call, or a constant that it calls by such a name."""
    constants = {name: node.value for node in tree.body if isinstance(node, ast.Assign) for name in names_of(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword | ast.Assign) and "code" in names_of(node):
            yield from texts_of(node.value, constants)


def names_of(node: ast.keyword | ast.Assign) -> list[str | None]:
    if isinstance(node, ast.keyword):
        return [node.arg]
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def texts_of(value: ast.expr | None, constants: dict[str | None, ast.expr]) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from texts_of(value.body, constants)
        yield from texts_of(value.orelse, constants)
    elif isinstance(value, ast.Name):
        yield from texts_of(constants.get(value.id), {})
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = [target for target in _LINK.findall(document.read_text()) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_a_place_in_a_document_lead_to_a_heading(document: Path) -> None:
    places = _PLACE.findall(document.read_text())
    known = {name: headings(document.parent / (name or document.name)) for name, _ in places}
    assert [(name, place) for name, place in places if place not in known[name]] == []


def headings(document: Path) -> set[str]:
    text = _BLOCK.sub("", document.read_text())
    return {anchor(one.replace("`", "")) for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
