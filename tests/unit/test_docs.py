"""What the documents show is run as it stands there; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxloom import testing
from voxloom.manifest import read_folder
from voxloom.parameters import check_parameters

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = [target for target in _LINK.findall(document.read_text()) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []
