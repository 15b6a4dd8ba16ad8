"""Bundles from the folder to a run, and at the start of a server."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import Make
from tests.acceptance.support import eventually, generic
from tests.acceptance.test_cli import Cli, cli
from voxloom.bundles import build, make_key_file, read_key_file

__all__ = ["cli"]


def folder_of(place: Path, name: str, version: str = "1.0") -> Path:
    place.mkdir()
    for path, text in generic(name, "pass", version=version, **{"files/v.txt": version}).items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text)
    return place


def test_what_is_built_is_imported_once(cli: Cli, tmp_path: Path) -> None:
    folder_of(tmp_path / "a", "bundled")
    folder_of(tmp_path / "b", "bundled", "1.1")
    cli("bundle", "keygen", "key")
    assert cli("bundle", "build", "x.vxb", "a", "b", "--key-file", "key").returncode == 0
    first = cli("bundle", "import", "x.vxb", "--key-file", "key")
    again = cli("bundle", "import", "x.vxb", "--key-file", "key")
    assert (first.stdout.count("added"), again.stdout.count("there already")) == (2, 2), first.stderr + again.stderr


def test_bundles_are_imported_at_start_and_only_once(new_embedded: Make, tmp_path: Path) -> None:
    # Given a folder with a good bundle and a broken one
    store = tmp_path / "bundles"
    store.mkdir()
    make_key_file(tmp_path / "key")
    build(store / "good.vxb", [folder_of(tmp_path / "a", "starter")], read_key_file(tmp_path / "key", print))
    (store / "broken.vxb").write_bytes(b"no bundle")
    # When a server starts with it, twice
    system = new_embedded(bundles=f'["{store}"]', bundle_key_file=tmp_path / "key")
    eventually(lambda: system.api().http.get("/api/v0/algorithm/starter/1").status_code == 200)
    found = system.api().http.get("/api/v0/algorithm/starter/1").json()
    system.stop()
    system.start()
    # Then the algorithm runs and was deployed once, and the log names the broken one
    assert system.api().run(found["algorithm_id"])["status"] == "COMPLETED"
    assert len(system.api().http.get("/api/v1/deploys").json()) == 1
    assert "broken.vxb was not imported" in system.log.read_text()
