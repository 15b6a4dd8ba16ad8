"""Slices before anything is read, and pictures once it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from services.gateway.volumes.blocks import stretches
from shared.hdf5 import png
from shared.hdf5.slice_plan import (
    BLOCK,
    Cut,
    Wrong,
    check_chunks,
    check_picture,
    check_size,
    cut_of,
    runs_of,
)


@pytest.mark.parametrize(
    ("shape", "axis", "index", "cut"),
    [
        ((5, 4), None, None, Cut(None, None)),
        ((3, 5, 4), None, None, Cut(None, None)),
        ((3, 5, 4), None, 2, Cut(0, 2)),
        ((7, 5, 4), 2, 3, Cut(2, 3)),
        ((7, 5, 4), None, 6, Cut(0, 6)),
    ],
)
def test_what_a_request_means(shape: tuple[int, ...], axis: int | None, index: int | None, cut: Cut) -> None:
    assert cut_of(shape, axis, index) == cut


@pytest.mark.parametrize(
    ("shape", "axis", "index", "where"),
    [
        ((), None, 0, "dataset"),
        ((9,), 0, 0, "dataset"),
        ((7, 5, 4), None, None, "index"),
        ((7, 5, 4), 1, None, "index"),
        ((7, 5, 4), 3, 0, "axis"),
        ((7, 5, 4), -1, 0, "axis"),
        ((7, 5, 4), 0, 7, "index"),
        ((7, 5, 4), 0, -1, "index"),
        ((0, 5, 4), 0, 0, "index"),
    ],
)
def test_a_request_that_means_nothing_is_told_where(
    shape: tuple[int, ...], axis: int | None, index: int | None, where: str
) -> None:
    with pytest.raises(Wrong) as caught:
        cut_of(shape, axis, index)
    assert caught.value.where == where


def test_a_slice_that_is_too_large_is_told_the_limit() -> None:
    with pytest.raises(Wrong, match="33554432 values"):
        check_size((1 << 13, 1 << 13), 1)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 6), (2, 3, 4, 5), (0, 4), (3, 4, 0)])
def test_what_is_no_picture_is_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(Wrong):
        check_picture(shape)


@pytest.mark.parametrize("chunk", [(1, 1, 1), (1 << 14, 1 << 10, 1 << 10)])
def test_too_many_or_too_large_chunks_are_refused(chunk: tuple[int, ...]) -> None:
    with pytest.raises(Wrong, match="chunks"):
        check_chunks((1 << 14, 1 << 10, 1 << 10), chunk, Cut(0, 0), 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_runs_of_a_cut_are_its_bytes(axis: int) -> None:
    array = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
    runs = runs_of(array.shape, 2, Cut(axis, 3))
    data = array.tobytes()
    starts = range(runs.first, runs.first + runs.count * runs.step, runs.step)
    joined = b"".join(data[at : at + runs.length] for at in starts)
    assert joined == array.take(3, axis).tobytes()


def test_runs_far_apart_are_read_alone_and_others_with_what_is_between() -> None:
    assert runs_of((256, 2048, 2048), 2, Cut(1, 7)).sparse
    assert not runs_of((256, 64, 64), 2, Cut(2, 7)).sparse


def test_what_makes_one_read_a_gibibyte_and_more_is_refused() -> None:
    with pytest.raises(Wrong, match="in chunks"):
        runs_of((1024, 1024, 1024), 4, Cut(2, 0)).check()


def test_blocks_that_follow_each_other_are_read_in_one_go() -> None:
    most = (8 << 20) // BLOCK
    assert list(stretches([1, 2, 3, 7, 9, 10])) == [(1, 3), (7, 7), (9, 10)]
    assert list(stretches(range(most + 1))) == [(0, most - 1), (most, most)]


class TestPictures:
    @pytest.mark.parametrize("shape", [(5, 7), (1, 1), (300, 2), (4, 6, 3)])
    def test_others_read_what_was_written(self, shape: tuple[int, ...]) -> None:
        image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        with Image.open(io.BytesIO(png.encode(image))) as opened:
            assert opened.mode == ("RGB" if len(shape) == 3 else "L")
            assert np.array_equal(np.asarray(opened), image)

    def test_values_are_stretched_between_low_and_high(self) -> None:
        values = np.array([[-5, 0, 50, 100, 900]], np.int16)
        assert png.to_grey(values, 0, 100).tolist() == [[0, 0, 128, 255, 255]]

    def test_what_is_no_number_is_black_and_infinity_white(self) -> None:
        values = np.array([[np.nan, -np.inf, np.inf, 1]], np.float32)
        assert png.to_grey(values, 0, 1).tolist() == [[0, 0, 255, 255]]

    def test_where_all_is_the_same_all_is_black(self) -> None:
        assert png.to_grey(np.full((1, 2), 7.0), 7, 7).tolist() == [[0, 0]]
