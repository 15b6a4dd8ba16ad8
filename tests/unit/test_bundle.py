"""An algorithm's files: from a folder into a zip, and out of a zip that may be hostile."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from voxloom.bundle import DEEPEST_PATH, MOST_FILES, pack_folder
from voxloom.errors import InvalidInput
from voxloom.unpack import FREE_GROWTH, Algorithm, unpack_zip

GOOD = {"Runner.py": b"class Runner: ...", "pyproject.toml": b"[project]", "files/weights.pt": b"\0" * 100}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "algorithm"
    for path, data in GOOD.items():
        place = made / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return made


def packed(folder: Path) -> bytes:
    target = io.BytesIO()
    pack_folder(folder, target)
    return target.getvalue()


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return target.getvalue()


def unpack(tmp_path: Path, data: bytes, **options: int) -> Algorithm:
    source, target = tmp_path / "source.zip", tmp_path / "target"
    source.write_bytes(data)
    target.mkdir()
    return unpack_zip(source, target, **options)


def refusal(tmp_path: Path, data: bytes, **options: int) -> str:
    with pytest.raises(InvalidInput) as caught:
        unpack(tmp_path, data, **options)
    assert (caught.value.code, caught.value.http_status) == ("invalid_deployment_zip", 400)
    return caught.value.message


# --- packing ----------------------------------------------------------------------------------------------


def test_a_folder_is_packed_without_junk(folder: Path) -> None:
    for junk in (".git/config", "__pycache__/a.pyc", "pkg/.hidden", ".venv/x.py", "b.pyc", "__MACOSX/a"):
        (folder / junk).parent.mkdir(parents=True, exist_ok=True)
        (folder / junk).write_text("junk")

    assert names(packed(folder)) == ["Runner.py", "files/weights.pt", "pyproject.toml"]


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    before = packed(folder)

    os.utime(folder / "Runner.py", (1, 1))
    (folder / "Runner.py").chmod(0o600)

    assert packed(folder) == before


def test_a_target_that_cannot_seek_will_do(folder: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb") as target:
        pack_folder(folder, target)
        target.close()
        data = source.read()

    assert names(data) == names(packed(folder))


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "same.pt").symlink_to("files/weights.pt")
    (folder / "more").symlink_to("files")

    assert {"same.pt", "more/weights.pt"} <= set(names(packed(folder)))


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "nowhere", ".", "loop"])
def test_a_link_that_leads_elsewhere_is_refused(folder: Path, target: str) -> None:
    (folder.parent / "secret").write_text("s")
    (folder / "loop").symlink_to(target)

    with pytest.raises(InvalidInput, match="link"):
        packed(folder)


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    with pytest.raises(InvalidInput, match="neither a file nor a folder"):
        packed(folder)


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\udcff"])
def test_a_name_that_cannot_travel_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("")

    with pytest.raises(InvalidInput) as caught:
        packed(folder)

    assert caught.value.code == "invalid_algorithm_files"


def test_what_can_be_executed_can_be_executed_after_a_journey(folder: Path, tmp_path: Path) -> None:
    (folder / "tool").write_text("#!/bin/sh")
    plain = unpack(tmp_path, packed(folder))
    (folder / "tool").chmod(0o755)
    shutil.rmtree(tmp_path / "target")
    algorithm = unpack(tmp_path, packed(folder))
    algorithm.lay_out()

    assert [os.access(algorithm.module_dir / path, os.X_OK) for path in ("tool", "Runner.py")] == [True, False]
    assert plain.assets["tool"].content != algorithm.assets["tool"].content


# --- unpacking --------------------------------------------------------------------------------------------


def test_what_was_packed_is_unpacked_as_module_and_assets(folder: Path, tmp_path: Path) -> None:
    (folder / "pkg").mkdir()
    (folder / "pkg/util.py").write_text("x = 1")

    algorithm = unpack(tmp_path, packed(folder))

    assert (set(algorithm.module), set(algorithm.assets)) == (
        {"Runner.py", "pkg/util.py"},
        {"files/weights.pt", "pyproject.toml"},
    )
    assert (algorithm.module_dir / "pkg/util.py").read_text() == "x = 1"
    assert algorithm.assets["files/weights.pt"].size == 100


def test_one_top_level_folder_is_taken_off(tmp_path: Path) -> None:
    algorithm = unpack(tmp_path, zipped({f"denoise-main/{path}": data for path, data in GOOD.items()}))

    assert algorithm.paths == set(GOOD)


def test_a_package_at_the_root_stays(tmp_path: Path) -> None:
    algorithm = unpack(tmp_path, zipped({"Runner.py": b"", "pkg/a.py": b""}))

    assert algorithm.paths == {"Runner.py", "pkg/a.py"}


def test_junk_in_a_zip_is_left_out(tmp_path: Path) -> None:
    junk = {"__MACOSX/._Runner.py": b"", ".gitignore": b"", "pkg/__pycache__/a.cpython-311.pyc": b"", "a.pyc": b""}

    assert unpack(tmp_path, zipped({**GOOD, **junk})).paths == set(GOOD)


def test_compiled_modules_count_where_there_are_no_sources(tmp_path: Path) -> None:
    algorithm = unpack(tmp_path, zipped({"Runner.pyc": b"", "pkg/a.pyc": b"", "pyproject.toml": b""}))

    assert set(algorithm.module) == {"Runner.pyc", "pkg/a.pyc"}


def test_backslashes_become_slashes(tmp_path: Path) -> None:
    algorithm = unpack(tmp_path, zipped({"Runner.py": b"", "files\\weights.pt": b""}))

    assert "files/weights.pt" in algorithm.assets


def test_a_name_in_utf8_is_kept(tmp_path: Path) -> None:
    assert "größe.txt" in unpack(tmp_path, zipped({**GOOD, "größe.txt": b""})).assets


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../evil", "pkg/../../evil", "C:/evil", "C:\\evil", "..\\evil", "a//b", "./a", "a\nb", "x" * 300],
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert "file name" in refusal(tmp_path, zipped({**GOOD, name: b""}))
    assert {path.name for path in tmp_path.iterdir()} == {"source.zip", "target"}


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    data = zipped({**GOOD, "evil_.py": b""}).replace(b"evil_.py", b"evil\0.py")

    assert "control characters" in refusal(tmp_path, data)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    data = zipped({**GOOD, "gr__e.txt": b""}).replace(b"gr__e.txt", b"gr\xf6\xdfe.txt")

    assert "not marked as UTF-8" in refusal(tmp_path, data)


def test_a_name_that_is_marked_as_utf8_and_is_none_is_refused(tmp_path: Path) -> None:
    data = zipped({**GOOD, "grööße.txt": b""}).replace("grööße.txt".encode(), b"gr\xff\xff\xff\xff\xff\xffe.txt")

    refusal(tmp_path, data)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(tmp_path: Path, kind: int) -> None:
    target = io.BytesIO(zipped(GOOD))
    with zipfile.ZipFile(target, "a") as archive:
        entry = zipfile.ZipInfo("link.pt")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")

    assert "link or a device" in refusal(tmp_path, target.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("Runner.py", "one")
        archive.writestr("Runner.py", "two")

    assert "twice" in refusal(tmp_path, target.getvalue())


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    assert "a file and a folder" in refusal(tmp_path, zipped({**GOOD, "Runner.py/x.py": b""}))


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"Runner.py": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1

    assert "encrypted" in refusal(tmp_path, bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_method_is_refused(tmp_path: Path, method: int) -> None:
    assert "unusual method" in refusal(tmp_path, zipped(GOOD, method))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    bomb = zipped({**GOOD, "zeros.bin": b"\0" * (FREE_GROWTH + (1 << 26))})

    assert "is the most for a zip of its size" in refusal(tmp_path, bomb)
    assert not (tmp_path / "target/assets").exists()


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """The directory declares ten bytes where a megabyte comes out."""
    data = bytearray(zipped({"zeros.bin": b"\0" * (1 << 20)}))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)

    refusal(tmp_path, bytes(data))
    written = [path.stat().st_size for path in (tmp_path / "target").rglob("*") if path.is_file()]
    assert max(written, default=0) <= 10


def test_more_than_the_stated_limit_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path, zipped(GOOD), limit=50)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    data = zipped({f"{number}": b"" for number in range(MOST_FILES + 1)}, zipfile.ZIP_STORED)

    assert str(MOST_FILES) in refusal(tmp_path, data)


def test_an_endless_list_of_files_is_not_read(tmp_path: Path) -> None:
    """The end record says that the directory has 64 MiB."""
    size = 64 << 20
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 60000, 60000, size, 0, 0)

    assert "list of files" in refusal(tmp_path, b"\0" * size + end)


@pytest.mark.parametrize(
    "data",
    [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100, zipped(GOOD)[:-30]],
    ids=["empty", "text", "beginning", "cut off"],  # a zip has the time in it, and ids must be alike in all processes
)
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    refusal(tmp_path, data)


def test_a_file_that_does_not_match_its_checksum_is_refused(tmp_path: Path) -> None:
    data = zipped({"Runner.py": b"class Runner: ..."}, zipfile.ZIP_STORED).replace(b"Runner: ", b"Rummer: ")

    refusal(tmp_path, data)


def test_an_end_record_that_points_before_the_beginning_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(GOOD))
    data[data.rfind(b"PK\x05\x06") + 16] += 40  # where it says that the list of files begins

    assert "points to where nothing is" in refusal(tmp_path, bytes(data))


def test_files_in_too_many_folders_are_refused(tmp_path: Path) -> None:
    deep, wide = "a/" * DEEPEST_PATH, "/".join("abcdefghijklmnopqrstuvwxy")

    assert "lies in more than" in refusal(tmp_path, zipped({f"{deep}x.py": b""}))
    shutil.rmtree(tmp_path / "target")
    assert "folders;" in refusal(tmp_path, zipped({f"{number}/{wide}/x.py": b"" for number in range(800)}))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """With some bytes changed, cut out, put in, or cut off, more often where the zip lists its files."""
    changed = bytearray(data)
    at = rng.randrange(rng.choice([0, data.find(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")]), len(data))
    match rng.choice(["change", "change", "fill", "cut out", "put in", "cut off"]):
        case "change":
            changed[at] = rng.randrange(256)
        case "fill":
            changed[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, rng.randbytes(4)])
        case "cut out":
            del changed[at : at + rng.randrange(1, 40)]
        case "put in":
            changed[at:at] = rng.randbytes(rng.randrange(1, 40))
        case "cut off":
            del changed[at:]
    return bytes(changed)


def test_whatever_happens_to_a_zip_it_is_taken_or_refused_with_a_sentence(tmp_path: Path) -> None:
    rng, data = random.Random(17), zipped(GOOD)  # the same mutations every time
    refused = 0
    for _ in range(400):
        try:
            unpack(tmp_path, mutated(rng, data))
        except InvalidInput as error:
            refused += error.code == "invalid_deployment_zip" and error.message.startswith("The zip cannot be used: ")
        shutil.rmtree(tmp_path / "target")
    assert refused > 200
