"""The format of bundles, and `voxloom bundle`."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.client_fake import running
from voxloom.bundles import Keys, Protection, Secret, build, open_bundle, sealing
from voxloom.cli.program import app
from voxloom.errors import InvalidInput

KEY = Secret(Protection.KEY, bytes(range(32)))
FULL = sealing.CHUNK + sealing.TAG
BOTH = pytest.mark.parametrize("secret", [None, KEY], ids=["plain", "encrypted"])


def algorithm(folder: Path, name: str = "smooth", version: str = "1.0", asset: int = 200_000) -> Path:
    (folder / "files").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "{version}"\n[tool.voxloom]\n')
    (folder / "Runner.py").write_text("class Runner: ...\n")
    (folder / "files" / "weights").write_bytes(bytes(range(256)) * (asset // 256) + b"\0" * (2 << 20))
    return folder


def opened(path: Path, secret: Secret | None, folder: Path) -> list[str]:
    with open_bundle(path, Keys(key=secret)) as bundle:
        bundle.check()
        return [f"{one.packed.name} {one.packed.version}" if one.packed else "-" for one in bundle.items(folder)]


def sealed(path: Path, payload: bytes, secret: Secret | None = None) -> Path:
    with path.open("wb") as file:
        writer = sealing.SealedWriter(file, secret)
        writer.write(payload)
        writer.close()
    return path


def record(data: bytes) -> bytes:
    return b"\1" + len(data).to_bytes(8, "big") + data


@BOTH
def test_what_is_put_in_comes_out_by_name_and_version(tmp_path: Path, secret: Secret | None) -> None:
    sources = [algorithm(tmp_path / "b", version="1.10"), algorithm(tmp_path / "a", version="1.9")]
    build(tmp_path / "x.vxb", sources, secret)
    assert opened(tmp_path / "x.vxb", secret, tmp_path) == ["smooth 1.9", "smooth 1.10"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b", "x.vxb"]


def _swapped(data: bytes) -> bytes:
    at = sealing.HEADER
    return data[:at] + data[at + FULL : at + 2 * FULL] + data[at : at + FULL] + data[at + 2 * FULL :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "header alone": lambda data: data[: sealing.HEADER],
    "half a header": lambda data: data[:40],
    "a byte less": lambda data: data[:-1],
    "cut between chunks": lambda data: data[: sealing.HEADER + FULL],
    "a byte more": lambda data: data + b"\0",
    "itself twice": lambda data: data + data,
    "swapped chunks": _swapped,
    "a chunk left out": lambda data: data[: sealing.HEADER] + data[sealing.HEADER + FULL :],
    "format 2": lambda data: data[:8] + b"\2" + data[9:],
    "no bundle": lambda data: b"PK\3\4" + data,
}


@BOTH
@pytest.mark.parametrize("how", DAMAGE)
def test_what_was_changed_is_refused(tmp_path: Path, secret: Secret | None, how: str) -> None:
    build(tmp_path / "x.vxb", [algorithm(tmp_path / "a")], secret)
    (tmp_path / "x.vxb").write_bytes(DAMAGE[how]((tmp_path / "x.vxb").read_bytes()))
    with pytest.raises(InvalidInput) as refused:
        opened(tmp_path / "x.vxb", secret, tmp_path)
    assert refused.value.code == "invalid_bundle"


@BOTH
def test_one_flipped_bit_anywhere_is_refused(tmp_path: Path, secret: Secret | None) -> None:
    good = sealed(tmp_path / "x.vxb", record(b"zip"), secret).read_bytes()
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidInput):
            sealing.SealedReader(io.BytesIO(bytes(bad)), Keys(key=KEY if secret else None)).read(100)


def test_another_key_does_not_open_it_and_is_told_from_damage(tmp_path: Path) -> None:
    build(tmp_path / "x.vxb", [algorithm(tmp_path / "a")], KEY)
    with pytest.raises(InvalidInput) as refused:
        opened(tmp_path / "x.vxb", Secret(Protection.KEY, bytes(32)), tmp_path)
    assert refused.value.code == "bundle_key_wrong"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\2" + bytes(8), "does not know"),
        (b"\1" + (1 << 60).to_bytes(8, "big") + b"x", "no end"),
        (b"\1\0", "no end"),
    ],
)
def test_records_that_are_none_are_refused(tmp_path: Path, payload: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        opened(sealed(tmp_path / "x.vxb", payload), None, tmp_path)


def hostile(name: str, mode: int = stat.S_IFREG, data: bytes = b"x") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = (mode | 0o644) << 16, zipfile.ZIP_DEFLATED
        archive.writestr(entry, data)
    return target.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "..": lambda: hostile("../x"),
    "absolute": lambda: hostile("/x"),
    "link": lambda: hostile("link", stat.S_IFLNK),
    "bomb": lambda: hostile("bomb", data=bytes(100 << 20)),
    "no zip": lambda: b"PK",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_is_a_fault_of_its_own(tmp_path: Path, kind: str) -> None:
    assert opened(sealed(tmp_path / "x.vxb", record(HOSTILE[kind]())), None, tmp_path) == ["-"]


def test_what_is_over_the_limit_is_passed_over(tmp_path: Path) -> None:
    build(tmp_path / "x.vxb", [algorithm(tmp_path / "a")])
    with open_bundle(tmp_path / "x.vxb", Keys()) as bundle:
        assert next(str(one.fault) for one in bundle.items(tmp_path, limit=1000)).endswith("1000 is the most here.")


# --- the program ------------------------------------------------------------------------------------------


def voxloom(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_bundle_is_built_with_a_key_and_inspected(tmp_path: Path) -> None:
    key, out = tmp_path / "key", tmp_path / "x.vxb"
    assert voxloom("bundle", "keygen", key).exit_code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert voxloom("bundle", "build", out, algorithm(tmp_path / "a"), "--key-file", key).exit_code == 0
    assert "--key-file" in voxloom("bundle", "inspect", out).stdout
    told = json.loads(voxloom("bundle", "inspect", out, "--key-file", key, "--json").stdout)
    assert (told["protection"], told["algorithms"][0]["name"], told["algorithms"][0]["files"]) == ("key", "smooth", 3)


def test_a_passphrase_opens_what_it_has_closed(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("correct horse battery\n")
    (tmp_path / "words").chmod(0o644)
    given = ("--passphrase-file", tmp_path / "words")
    made = voxloom("bundle", "build", tmp_path / "x.vxb", algorithm(tmp_path / "a"), *given)
    assert (made.exit_code, "chmod 600" in made.stderr) == (0, True)
    assert "smooth" in voxloom("bundle", "inspect", tmp_path / "x.vxb", *given).stdout


@pytest.mark.parametrize("text", ["", "short", "voxloom-bundle-key:QUJD", "voxloom-bundle-key:*", "x" * 5000])
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    done = voxloom("bundle", "build", tmp_path / "x.vxb", algorithm(tmp_path / "a"), "--key-file", tmp_path / "key")
    assert (done.exit_code, "key file" in done.stderr, (tmp_path / "x.vxb").exists()) == (1, True, False)


def test_where_nobody_may_write_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InvalidInput, match="may not write"):
        build(tmp_path / "x.vxb", [algorithm(tmp_path / "a")])


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.kdf.hkdf", None)
    voxloom("bundle", "keygen", tmp_path / "key")
    done = voxloom("bundle", "build", tmp_path / "x.vxb", algorithm(tmp_path / "a"), "--key-file", tmp_path / "key")
    assert (done.exit_code, "pip install 'voxloom[bundles]'" in done.stderr) == (2, True)


def test_one_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    build(tmp_path / "x.vxb", [algorithm(tmp_path / "a")])
    good = next(iter(_zips(tmp_path / "x.vxb", tmp_path)))
    sealed(tmp_path / "y.vxb", record(b"no zip") + record(good))
    with running() as server:
        done = voxloom("--url", server.url, "bundle", "import", tmp_path / "y.vxb")
        assert (done.exit_code, "refused" in done.stdout, len(server.deployed)) == (1, True, 1)


def _zips(path: Path, folder: Path) -> list[bytes]:
    with open_bundle(path, Keys()) as bundle:
        return [one.archive.read_bytes() for one in bundle.items(folder)]
