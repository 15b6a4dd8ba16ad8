"""What the demo runs on and the picture it draws."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from benchmarks.demo.data import micrograph_stack, stack_from
from benchmarks.demo.picture import rows_to_show, side_by_side
from voxloom.errors import InvalidInput, NotFound


def _stack() -> np.ndarray:
    return np.arange(2 * 5 * 7, dtype=np.uint16).reshape(2, 5, 7)


def test_the_micrograph_comes_as_nine_fields_of_which_neighbours_overlap_by_half() -> None:
    stack = micrograph_stack()
    assert (stack.shape, stack.dtype.name) == ((9, 256, 256), "uint8")
    np.testing.assert_array_equal(stack[0][:, 128:], stack[1][:, :128])


def test_the_micrograph_is_bright_where_the_tissue_is_stained_and_dark_where_there_is_none() -> None:
    lower_left = micrograph_stack()[6]  # a gland's lumen at its left, without tissue
    assert lower_left[60:110, 0:20].mean() < 25 < 100 < lower_left[40:120, 80:130].mean()


def test_a_stack_is_read_from_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", _stack())
    np.testing.assert_array_equal(stack_from(tmp_path / "stack.npy"), _stack())


def test_a_stack_is_read_from_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["volume"] = _stack()
    np.testing.assert_array_equal(stack_from(tmp_path / "stack.h5"), _stack())


def test_a_stack_is_read_from_tiff_in_either_byte_order(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", _stack(), byteorder=">", photometric="minisblack")
    read = stack_from(tmp_path / "stack.tif")
    np.testing.assert_array_equal(read, _stack())
    assert read.dtype.isnative


def test_the_dataset_of_an_hdf5_file_can_be_chosen(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["raw"], file["labels"] = _stack(), _stack() + 1
    np.testing.assert_array_equal(stack_from(tmp_path / "stack.h5", "labels"), _stack() + 1)


def test_a_colour_image_is_refused_and_not_taken_for_three_slices(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InvalidInput, match="is a colour image; convert it to grey"):
        stack_from(tmp_path / "colour.tif")


def test_one_image_becomes_a_stack_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", _stack()[0])
    assert stack_from(tmp_path / "image.npy").shape == (1, 5, 7)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((2, 3, 4, 5), np.uint8), r"shape \(2, 3, 4, 5\)"),
        (np.zeros((0, 4, 4), np.uint8), r"shape \(0, 4, 4\)"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.full((4, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_an_array_that_cannot_be_run_on_is_refused_in_one_sentence(
    tmp_path: Path, array: np.ndarray, says: str
) -> None:
    np.save(tmp_path / "wrong.npy", array)
    with pytest.raises(InvalidInput, match=says) as caught:
        stack_from(tmp_path / "wrong.npy")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.tif"):
        stack_from(tmp_path / "nowhere.tif")


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InvalidInput, match=r"\.h5, \.npy or \.tif"):
        stack_from(tmp_path / "notes.txt")


@pytest.mark.parametrize(("count", "rows"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 4, 8])])
def test_the_picture_shows_first_middle_and_last_slice(count: int, rows: list[int]) -> None:
    assert rows_to_show(count) == rows


def test_the_picture_tints_what_the_mask_marks_and_nothing_else() -> None:
    image = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (1, 64, 1))
    mask = np.zeros_like(image)
    mask[:, :, :32] = 1
    sheet = side_by_side({"input": image}, (image, mask), [0])
    pixels = np.asarray(sheet).astype(int)
    tile = pixels[24 : 24 + 288, 8 + 288 + 8 : 8 + 288 + 8 + 288]
    redness = tile[..., 0] - tile[..., 2]
    assert redness[144, 20] > 100
    assert redness[144, 280] == 0
