"""How long libraries take to import, apart from the algorithm that imports them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from voxloom.runner.libraries import LONGEST, Times, times

NOTES = "begun 10.0 \nenter 11.0 torch\nleave 31.0 torch\nenter 32.0 scipy\nleave 33.5 scipy\nenter 34.0 torch\n"


def test_the_time_of_libraries_is_told_apart_while_it_goes_on() -> None:
    so_far = times(NOTES + "ent", 36.0)
    assert (so_far.passed, dict(so_far.libraries)) == (26.0, {"torch": 22.0, "scipy": 1.5})
    assert (so_far.own, so_far.told()) == (2.5, "torch 22.0 s, scipy 1.5 s")


CASES = {
    "nothing yet": ("", None, 0.0),
    "no library": ("begun 10.0 \n", 90.0, 90.0),
    "what is none of ours": ("begun 10.0 \nenter soon x\nleave\n\n", 90.0, 90.0),
    "an end without a begin": ("begun 10.0 \nleave 20.0 torch\n", 90.0, 90.0),
}


@pytest.mark.parametrize(("notes", "passed", "own"), CASES.values(), ids=CASES)
def test_notes_say_how_far_it_has_come(notes: str, passed: float | None, own: float) -> None:
    assert (times(notes, 100.0).passed, times(notes, 100.0).own) == (passed, own)


def test_libraries_cannot_take_for_ever() -> None:
    assert Times(LONGEST + 50.0, {"torch": LONGEST + 40.0}).own == 50.0


def test_a_process_notes_the_libraries_it_imports_and_they_notice_nothing(tmp_path: Path) -> None:
    folder, installed, notes = tmp_path / "algorithm", tmp_path / "installed", tmp_path / "notes"
    for place in (folder, installed / "heavy"):
        place.mkdir(parents=True)
    (installed / "heavy" / "__init__.py").write_text("from . import part\nloader = type(__loader__).__name__")
    (installed / "heavy" / "part.py").write_text("import sqlite3.dump")
    (folder / "mine.py").write_text("import heavy, importlib\nimportlib.import_module('heavy.part')")
    script = (
        "import sys; from pathlib import Path; from voxloom.runner import libraries\n"
        f"sys.path[:0] = [{str(folder)!r}, {str(installed)!r}]\n"
        f"libraries.watch(Path({str(folder)!r}), Path({str(notes)!r}))\n"
        "import mine; print(mine.heavy.loader, type(mine.heavy.__spec__.loader).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    begun, *said = [(line.split()[0], *line.split()[2:]) for line in notes.read_text().splitlines()]
    assert done.stdout.split() == ["SourceFileLoader", "SourceFileLoader"]
    assert (begun, set(said)) == (("begun",), {("enter", "heavy"), ("leave", "heavy")})


def test_what_a_loader_tells_of_a_module_that_is_not_imported_is_told_as_always(tmp_path: Path) -> None:
    asked = (
        "import importlib.util, pkgutil; from pathlib import Path; from voxloom.runner import libraries\n"
        "{}\nloader = importlib.util.find_spec('sqlite3').loader\n"
        "print(loader.get_filename('sqlite3'), loader.is_package('sqlite3'), len(loader.get_source('sqlite3')))\n"
        "print(pkgutil.get_data('wsgiref', '__init__.py'))"
    )
    watch = f"libraries.watch(Path({str(tmp_path)!r}), Path({str(tmp_path / 'notes')!r}))"
    said = [subprocess.check_output([sys.executable, "-c", asked.format(first)]) for first in ("", watch)]
    assert said[0] == said[1]
