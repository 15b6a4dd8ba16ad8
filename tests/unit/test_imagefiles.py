from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from voxloom import imagefiles
from voxloom.errors import InvalidInput, NotFound

VOLUME: np.ndarray[Any, np.dtype[np.uint16]] = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.npy", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_image_is_read_back_as_it_was_written(tmp_path: Path, name: str, dtype: str) -> None:
    path = tmp_path / name
    imagefiles.write_image(path, VOLUME.astype(dtype))
    back = imagefiles.read_image(path)
    np.testing.assert_array_equal(back, VOLUME)
    assert back.dtype == dtype


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.tif"])
def test_a_stack_written_item_by_item_is_read_back_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with imagefiles.stack_writer(path, VOLUME.shape, VOLUME.dtype) as target:
        for index in (2, 0, 3, 1):
            target[index] = VOLUME[index]
    np.testing.assert_array_equal(imagefiles.read_image(path), VOLUME)


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_a_stack_for_which_there_is_no_room_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OSError, match="No space left"), imagefiles.stack_writer(tmp_path / name, (9, 9), "u1"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_a_disk_that_fills_up_under_a_stack_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, name: str
) -> None:
    """A limit on the size of files stands in for the disk: under both, a write fails, and a mapping kills."""
    code = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from voxloom.imagefiles import stack_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with stack_writer(Path(sys.argv[1]), (4, 64, 64), "u1") as target:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        target[3] = np.ones((64, 64), "u1")
except OSError as error:
    print(error.strerror)
"""
    said = subprocess.check_output([sys.executable, "-c", code, tmp_path / name], text=True)
    assert said.strip() == "File too large"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.tif"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), imagefiles.stack_writer(path, VOLUME.shape, VOLUME.dtype):
        _ = 1 // 0
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(name, "before")]


def test_a_compressed_tiff_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOLUME, compression="zlib", photometric="minisblack")
    np.testing.assert_array_equal(imagefiles.read_image(path), VOLUME)


@pytest.mark.parametrize("order", ["contig", "separate"])
def test_the_colours_of_a_tiff_come_before_height_and_width(tmp_path: Path, order: Any) -> None:
    stack = np.arange(2 * 3 * 6 * 5, dtype=np.uint8).reshape(2, 3, 6, 5)
    stored = stack if order == "separate" else np.moveaxis(stack, 1, -1)
    tifffile.imwrite(tmp_path / "stack.tif", stored, photometric="rgb", planarconfig=order)
    named = {"axes": "SYX" if order == "separate" else "YXS"}
    tifffile.imwrite(tmp_path / "one.tif", stored[1], photometric="rgb", planarconfig=order, metadata=named)
    np.testing.assert_array_equal(imagefiles.read_image(tmp_path / "stack.tif"), stack)
    with imagefiles.open_image(tmp_path / "one.tif") as one:
        assert imagefiles.is_colour(one)
        np.testing.assert_array_equal(one[...], stack[1])


def test_a_colour_stack_is_written_as_colours(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 6 * 5, dtype=np.uint8).reshape(2, 3, 6, 5)
    with imagefiles.stack_writer(tmp_path / "a.tif", stack.shape, stack.dtype) as target:
        target[0], target[1] = stack
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.series[0].axes == "QSYX"
    np.testing.assert_array_equal(imagefiles.read_image(tmp_path / "a.tif"), stack)


def test_a_tiff_with_images_of_several_shapes_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(VOLUME[0])
        file.write(VOLUME[0, :3])
    with pytest.raises(InvalidInput, match=r"2 images that make no stack .* save the one you mean"):
        imagefiles.read_image(tmp_path / "a.tif")


def test_a_tiff_says_which_package_its_compression_takes(tmp_path: Path) -> None:
    Image.fromarray(VOLUME[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    with pytest.raises(InvalidInput, match=r"is compressed \(LZW\).* pip install imagecodecs"):
        imagefiles.read_image(tmp_path / "a.tif")


def test_damage_within_an_hdf5_file_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        place = file.create_dataset("image", data=VOLUME, chunks=(1, 6, 5), compression="gzip").id.get_chunk_info(2)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\0" * place.size)
    with (
        pytest.raises(InvalidInput, match=r"a chunk of '/image', at \(2, 0, 0\), cannot be unpacked"),
        imagefiles.open_image(path) as source,
    ):
        imagefiles.read_item(source, 2)


def test_an_npy_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, VOLUME)
    with imagefiles.open_image(path) as source:
        assert isinstance(source, np.memmap)


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.tif"])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not an image at all")
    with pytest.raises(InvalidInput, match=f"{name} cannot be read as"):
        imagefiles.read_image(path)


def test_a_pickled_npy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput):
        imagefiles.read_image(path)


def test_an_unknown_suffix_says_which_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InvalidInput, match=r"\.h5, \.npy or \.tif"):
        imagefiles.read_image(tmp_path / "a.jpg")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="check the path"):
        imagefiles.read_image(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("shapes", "wanted", "chosen"),
    [
        ({"x/y": (3, 3)}, None, "x/y"),
        ({"other": (3, 3), "image": (3, 3)}, None, "image"),
        ({"mask": (3, 3), "volume": (3, 3, 3)}, None, "volume"),
        ({"a": (3, 3), "b": (3, 3)}, "b", "b"),
        ({"g/b": (3, 3)}, "/g/b", "g/b"),
    ],
)
def test_the_dataset_is_the_wanted_the_only_or_the_customary_one(
    shapes: dict[str, tuple[int, ...]], wanted: str | None, chosen: str
) -> None:
    assert imagefiles.choose_dataset(Path("f.h5"), shapes, wanted) == chosen


@pytest.mark.parametrize(
    ("shapes", "wanted", "said"),
    [
        ({}, None, "holds no image"),
        ({"a": (3, 3), "b": (3, 3)}, None, r"say which one to take \(.*\): a, b\."),
        ({"a": (3, 3)}, "c", "it has: a"),
    ],
)
def test_a_doubtful_dataset_is_refused(shapes: dict[str, tuple[int, ...]], wanted: str | None, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        imagefiles.choose_dataset(Path("f.h5"), shapes, wanted)


def test_datasets_come_back_as_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    imagefiles.write_datasets(path, {"image": VOLUME, "names": ["a", "ü"], "note": "", "none": [], "left": None})
    back = imagefiles.read_datasets(path)
    np.testing.assert_array_equal(back.pop("image"), VOLUME)
    assert back == {"names": ["a", "ü"], "note": "", "none": []}


def test_datasets_in_groups_keep_their_path(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/inner"] = VOLUME
    assert list(imagefiles.read_datasets(path)) == ["group/inner"]


def test_what_hdf5_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'image'"):
        imagefiles.write_datasets(tmp_path / "a.h5", {"image": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_kept_in_another_file_is_refused(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "a.h5"
    secret.write_bytes(b"x" * 64)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", shape=(8, 8), dtype="u1", external=[(str(secret), 0, 64)])
    with pytest.raises(InvalidInput, match="in another file"):
        imagefiles.read_datasets(path)
    with pytest.raises(InvalidInput, match="in another file"):
        imagefiles.read_image(path)


def test_tiff_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="TIFF keeps numbers only"):
        imagefiles.write_image(tmp_path / "a.tif", VOLUME > 3)


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="they are the usual ones on this machine")
def test_tiff_refuses_numbers_that_are_wider_than_it_has(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(InvalidInput, match="TIFF keeps 64 bits of a number"):
        imagefiles.write_image(tmp_path / "a.tif", VOLUME.astype(dtype))
