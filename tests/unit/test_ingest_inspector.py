"""What the inspector makes of HDF5 files, hostile ones among them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from shared.hdf5.inspector import answer, inspect
from voxloom.hdf5 import links
from voxloom.hdf5.refusals import Refused

LIMIT = 1 << 42


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Callable[[h5py.File], Any]], str]:
    def make(fill: Callable[[h5py.File], Any]) -> str:
        with h5py.File(tmp_path / "file.h5", "w") as file:
            fill(file)
        return str(tmp_path / "file.h5")

    return make


Write = Callable[[Callable[[h5py.File], Any]], str]


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (np.zeros((2, 3), np.uint16), [2, 3], "<u2"),
        (np.zeros((1, 2, 3), np.float32), [1, 2, 3], "<f4"),
        (np.zeros(3, bool), [3], "|b1"),
        (np.complex64(1), [], "<c8"),
        (np.zeros(2, [("a", "f4"), ("b", "i2")]), [2], "|V6"),
        ("text", [], "str"),
        (["a", "b"], [2], "str"),
        (h5py.Empty("f4"), [], "<f4"),
        (np.zeros((0,)), [0], "<f8"),
    ],
)
def test_a_dataset_is_told_with_shape_and_dtype(write: Write, value: Any, shape: list[int], dtype: str) -> None:
    path = write(lambda file: file.__setitem__("x", value))

    assert inspect(path, LIMIT) == [{"name": "x", "shape": shape, "dtype": dtype}]


def test_datasets_in_groups_are_told_by_their_paths_in_order(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file["b/deep/x"] = 1
        file["a"] = 2

    assert [dataset["name"] for dataset in inspect(write(fill), LIMIT)] == ["a", "b/deep/x"]


def test_all_names_of_a_dataset_are_told(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file["x"] = np.zeros(4)
        file["same"] = file["x"]
        file["g/soft"] = h5py.SoftLink("../x")
        file["g/up"] = h5py.SoftLink("/same")

    assert [dataset["name"] for dataset in inspect(write(fill), LIMIT)] == ["g/up", "same", "x"]


def test_several_names_of_one_dataset_count_once_against_the_limit(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file["x"] = np.zeros(1000)
        file["same"] = file["x"]
        file["soft"] = h5py.SoftLink("/x")

    assert len(inspect(write(fill), 8000)) == 3


def test_soft_links_in_a_circle_or_to_nothing_are_passed_over(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file["x"] = 1
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        file["nothing"] = h5py.SoftLink("/not/there")

    assert [dataset["name"] for dataset in inspect(write(fill), LIMIT)] == ["x"]


def test_groups_that_contain_each_other_come_to_an_end(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file.create_group("a")["up"] = file["/"]

    assert inspect(write(fill), LIMIT) == []


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_usual_storage_is_good(write: Write, compression: str | None) -> None:
    path = write(lambda file: file.create_dataset("x", data=np.zeros((64, 64)), chunks=True, compression=compression))

    assert len(inspect(path, LIMIT)) == 1


def test_named_types_and_attributes_do_no_harm(write: Write) -> None:
    def fill(file: h5py.File) -> None:
        file["kind"] = np.dtype([("a", "f4")])
        file.attrs["unit"] = "nm"

    assert inspect(write(fill), LIMIT) == []


def external_storage(file: h5py.File) -> None:
    file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def external_link(file: h5py.File) -> None:
    file["x"] = h5py.ExternalLink("/tmp/other.h5", "/image")


def external_link_in_a_group(file: h5py.File) -> None:
    file["a/b/x"] = h5py.ExternalLink("other.h5", "/image")


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "image", (4,))
    file.create_virtual_dataset("x", layout)


def unlimited_virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1", maxshape=(None,))
    source = h5py.VirtualSource("other.h5", "image", (4,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED : 1] = source[: h5py.h5s.UNLIMITED : 1]
    file.create_virtual_dataset("x", layout)


def virtual_through_a_link_out(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/image")
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(".", "elsewhere", (4,))
    file.create_virtual_dataset("a", layout)


def virtual_of_itself(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(".", "x", (4,))
    file.create_virtual_dataset("x", layout)


def huge_and_empty(file: h5py.File) -> None:
    file.create_dataset("x", (20_000_000, 1_000_000), "f8")


def huge_in_chunks(file: h5py.File) -> None:
    file.create_dataset("x", (20_000_000, 1_000_000), "f8", chunks=(1, 1000))


def huge_in_sum(file: h5py.File) -> None:
    for number in range(5):
        file.create_dataset(f"x{number}", (1 << 30,), "u1")


def one_huge_chunk(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 30,), "u2", chunks=(1 << 30,), compression="gzip")


def unknown_filter(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32_008, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, dcpl=plan)


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (external_storage, "has its data in another file"),
        (external_link, "link to another file"),
        (external_link_in_a_group, "'a/b/x' is a link to another file"),
        (virtual_dataset, "virtual dataset"),
        (unlimited_virtual_dataset, "virtual dataset"),
        (virtual_through_a_link_out, "'elsewhere' is a link to another file"),
        (virtual_of_itself, "from a virtual dataset"),
        (huge_and_empty, "declare 160000000000000 bytes"),
        (huge_in_chunks, "declare 160000000000000 bytes"),
        (huge_in_sum, "with 'x4'"),
        (one_huge_chunk, "chunks of 2147483648 bytes"),
        (unknown_filter, r"compressed by bitshuffle \(filter 32008\), not readable here; .*h5repack"),
    ],
)
def test_a_hostile_file_is_refused_with_the_reason(write: Write, fill: Callable[[h5py.File], Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        inspect(write(fill), LIMIT)


def test_more_than_the_stated_limit_is_refused(write: Write) -> None:
    path = write(lambda file: file.create_dataset("x", data=np.zeros(1000)))

    with pytest.raises(Refused, match="declare 8000 bytes"):
        inspect(path, 7999)


def test_too_many_objects_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST", 3)

    with pytest.raises(Refused, match="more than 3 objects"):
        inspect(write(lambda file: [file.create_group(str(number)) for number in range(4)]), LIMIT)


def test_a_dataset_that_ends_beyond_the_file_is_refused(write: Write) -> None:
    path = Path(write(lambda file: file.create_dataset("x", data=np.arange(1000, dtype="<u8"))))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<Q", 8000), struct.pack("<Q", 80_000_000)))

    assert "refused" in answer(str(path), LIMIT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"not HDF5 at all" * 100, "it is not HDF5"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:8], "broken or cut off"),
        (lambda data: data[:200] + b"\xff" * 600 + data[800:], "broken or cut off"),
    ],
)
def test_a_broken_file_is_refused(write: Write, change: Callable[[bytes], bytes], said: str) -> None:
    path = Path(write(lambda file: file.create_dataset("x", data=np.zeros(100))))
    path.write_bytes(change(path.read_bytes()))

    assert said in answer(str(path), LIMIT)["refused"]


def test_after_a_broken_file_the_process_leaves(write: Write) -> None:
    path = Path(write(lambda file: file.create_dataset("x", data=np.zeros(100))))
    path.write_bytes(path.read_bytes()[:500])

    assert answer(str(path), LIMIT)["leaving"] is True
