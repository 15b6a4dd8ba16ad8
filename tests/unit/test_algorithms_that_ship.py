"""The ready-made algorithms, run as a server runs them: parameters checked and filled in, files in, files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
import skimage

from voxloom import testing
from voxloom.errors import InvalidInput
from voxloom.manifest import read_folder
from voxloom.parameters import check_parameters

ALGORITHMS = Path(__file__).parents[2] / "algorithms"
DENOISE = ALGORITHMS / "gaussian_denoise"
THRESHOLD = ALGORITHMS / "threshold_segmentation"
REGISTRATION = ALGORITHMS / "slice_registration"
REGIONS = ALGORITHMS / "multi_region_segmentation"
EMBEDDING = ALGORITHMS / "texture_embedding"
UNET = ALGORITHMS / "unet_segmentation"  # what it does: test_unet_segmentation.py
ALL = [DENOISE, THRESHOLD, REGISTRATION, REGIONS, EMBEDDING, UNET]


def run(folder: Path, images: np.ndarray, **sent: Any) -> testing.Outputs:
    return testing.run(folder, images, check_parameters(read_folder(folder).additional_parameters, sent))


def stack_of(outputs: testing.Outputs, dataset: str) -> np.ndarray:
    return np.stack([output[dataset] for output in outputs])


@pytest.fixture(scope="module")
def cell() -> np.ndarray:
    """A real micrograph, (660, 550) uint8: one bright cell on a background with bands."""
    image: np.ndarray = skimage.data.cell()
    return image


def two_discs() -> np.ndarray:
    """Two slices: a disc of 100 on 20, and a smaller one of 40 on 20."""
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 32, x - 32)
    return np.stack([np.where(distance < 20, 100, 20), np.where(distance < 10, 40, 20)]).astype(np.uint8)


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_an_algorithm_that_ships_deploys_without_a_warning(folder: Path) -> None:
    manifest = read_folder(folder)
    assert manifest.name == folder.name
    assert manifest.warnings == []


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_an_algorithm_that_ships_may_be_removed_over_rest(folder: Path) -> None:
    assert read_folder(folder).removable


# --- gaussian_denoise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("across_slices", [False, True])
def test_denoising_keeps_shape_and_dtype(dtype: str, across_slices: bool) -> None:
    images = np.random.default_rng(1).uniform(0, 200, (3, 20, 30)).astype(dtype)
    smooth = stack_of(run(DENOISE, images, across_slices=across_slices), "image")
    assert smooth.shape == images.shape
    assert smooth.dtype == images.dtype


def test_denoising_slice_by_slice_is_a_2d_gaussian() -> None:
    images = np.random.default_rng(2).normal(size=(3, 32, 32))
    expected = [scipy.ndimage.gaussian_filter(image, 2.0) for image in images]
    np.testing.assert_allclose(stack_of(run(DENOISE, images, sigma=2.0), "image"), expected, atol=1e-12)


def test_denoising_across_slices_is_a_3d_gaussian() -> None:
    images = np.random.default_rng(3).normal(size=(8, 32, 32))
    expected = scipy.ndimage.gaussian_filter(images, 1.5, mode="nearest")
    smooth = stack_of(run(DENOISE, images, sigma=1.5, across_slices=True, mode="nearest"), "image")
    np.testing.assert_allclose(smooth, expected, atol=1e-12)


def test_denoising_never_mixes_colours() -> None:
    images = np.zeros((2, 3, 16, 16), np.float32)
    images[:, 0] = 1.0
    np.testing.assert_allclose(stack_of(run(DENOISE, images, sigma=3.0), "image"), images, atol=1e-6)


def test_denoising_rounds_integers_to_the_nearest() -> None:
    images = np.random.default_rng(4).integers(0, 65536, (1, 24, 24), dtype=np.uint16)
    expected = np.rint(scipy.ndimage.gaussian_filter(images[0].astype(np.float64), 1.0))
    assert np.abs(run(DENOISE, images)[0]["image"].astype(np.float64) - expected).max() <= 1


def test_a_white_image_stays_white() -> None:
    white = np.full((1, 32, 32), 65535, np.uint16)
    np.testing.assert_array_equal(run(DENOISE, white, sigma=5.0)[0]["image"], white[0])


def test_denoising_takes_noise_off_a_real_micrograph(cell: np.ndarray) -> None:
    noisy = np.clip(cell + np.random.default_rng(5).normal(0, 20, cell.shape), 0, 255).astype(np.uint8)
    smooth = run(DENOISE, noisy, sigma=2.0)[0]["image"]
    error_before, error_after = (np.abs(image - cell.astype(float)).mean() for image in (noisy, smooth))
    assert error_after < error_before / 3


@pytest.mark.parametrize("across_slices", [False, True])
def test_denoising_reports_its_progress_to_the_end(across_slices: bool) -> None:
    progress = run(DENOISE, np.zeros((4, 8, 8), np.uint8), across_slices=across_slices).progress
    assert len(progress) > 2
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0}, {"sigma": 51}, {"sigma": "2"}, {"mode": "mirrored"}, {"across_slices": 1}]
)
def test_denoising_refuses_a_wrong_parameter(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        run(DENOISE, np.zeros((1, 8, 8), np.uint8), **wrong)


# --- threshold_segmentation -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["otsu", "li", "yen"])
def test_each_method_finds_the_discs(method: str) -> None:
    images = two_discs()
    masks = stack_of(run(THRESHOLD, images, method=method), "mask")
    np.testing.assert_array_equal(masks, images > 20)


def test_a_local_threshold_finds_small_objects_under_uneven_light() -> None:
    y, x = np.mgrid[:128, :128]
    spots = ((y % 16 == 8) & (x % 16 == 8)).astype(np.float32)
    uneven = (x * 4 + 200 * spots).astype(np.uint16)
    mask = run(THRESHOLD, uneven, method="local", block_size=15, offset=50)[0]["mask"]
    np.testing.assert_array_equal(mask, spots > 0)


def test_masks_are_uint8_of_zeros_and_ones() -> None:
    masks = stack_of(run(THRESHOLD, two_discs()), "mask")
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}


def test_one_threshold_for_the_stack_differs_from_one_per_slice() -> None:
    images = two_discs()
    masks = stack_of(run(THRESHOLD, images, per_slice=False), "mask")
    np.testing.assert_array_equal(masks, images > skimage.filters.threshold_otsu(images.ravel()))
    assert masks[1].sum() == 0  # the second disc is dark beside the first


def test_dark_foreground_is_the_complement_of_bright() -> None:
    bright, dark = (run(THRESHOLD, two_discs(), foreground=side) for side in ("bright", "dark"))
    np.testing.assert_array_equal(stack_of(bright, "mask") + stack_of(dark, "mask"), 1)


def test_the_offset_is_added_to_the_threshold() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    threshold = skimage.filters.threshold_otsu(ramp)
    mask = run(THRESHOLD, ramp, offset=10)[0]["mask"]
    np.testing.assert_array_equal(mask, ramp > threshold + 10)


def test_objects_under_the_smallest_size_are_dropped() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[4:8, 4:8] = 200  # 16 pixels
    image[20:23, 20:25] = 200  # 15 pixels
    mask = run(THRESHOLD, image, min_size=16)[0]["mask"]
    assert mask.sum() == 16
    assert mask[5, 5] == 1


def test_an_even_block_size_becomes_the_next_odd_one_with_a_warning() -> None:
    image = np.random.default_rng(6).integers(0, 255, (40, 40), dtype=np.uint8)
    even, odd = (run(THRESHOLD, image, method="local", block_size=size) for size in (10, 11))
    np.testing.assert_array_equal(even[0]["mask"], odd[0]["mask"])
    assert [level for level, text in even.log if "11" in text] == ["WARNING", "INFO"]


@pytest.mark.parametrize("foreground", ["bright", "dark"])
@pytest.mark.parametrize("method", ["otsu", "li", "yen", "local"])
def test_a_slice_of_one_grey_value_has_no_objects_and_a_warning(method: str, foreground: str) -> None:
    outputs = run(THRESHOLD, np.full((16, 16), 7.0, np.float32), method=method, foreground=foreground)
    assert outputs[0]["mask"].sum() == 0
    assert outputs.log[0] == ("WARNING", "slice 0: every pixel is 7.0, so there is nothing to separate")


def test_the_thresholds_are_in_the_log() -> None:
    log = run(THRESHOLD, two_discs()).log
    assert [text.split(" threshold ")[0] for _, text in log] == ["slice 0: otsu", "slice 1: otsu"]


def test_thresholding_reports_its_progress_per_slice() -> None:
    assert run(THRESHOLD, np.repeat(two_discs(), 2, axis=0)).progress == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("method", ["otsu", "li", "yen", "local"])
def test_every_dtype_of_images_can_be_thresholded(method: str, dtype: str) -> None:
    images = two_discs()
    masks = stack_of(run(THRESHOLD, images.astype(dtype), method=method), "mask")
    np.testing.assert_array_equal(masks, stack_of(run(THRESHOLD, images, method=method), "mask"))


@pytest.mark.parametrize("method", ["otsu", "yen"])
def test_the_cell_in_a_real_micrograph_is_found(cell: np.ndarray, method: str) -> None:
    mask = run(THRESHOLD, cell, method=method, min_size=1000)[0]["mask"]
    count = scipy.ndimage.label(mask)[1]
    y, x = scipy.ndimage.center_of_mass(mask)
    assert count == 1
    assert np.hypot(y - 374, x - 428) < 5  # where the cell lies, read off the picture


def test_slices_that_are_three_or_four_pixels_wide_are_no_colours() -> None:
    image = np.array([[0, 0, 9], [9, 9, 0]], np.uint8)
    np.testing.assert_array_equal(run(THRESHOLD, image)[0]["mask"], image > 4)


def test_colour_images_are_refused() -> None:
    with pytest.raises(ValueError, match="convert colour images to grey"):
        run(THRESHOLD, np.zeros((2, 3, 8, 8), np.uint8))


def test_images_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        run(THRESHOLD, np.full((8, 8), np.nan, np.float32))


@pytest.mark.parametrize(
    "wrong", [{"method": "otsy"}, {"block_size": 2}, {"block_size": 5.5}, {"min_size": -1}, {"offset": "3"}]
)
def test_thresholding_refuses_a_wrong_parameter(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        run(THRESHOLD, two_discs(), **wrong)


# --- slice_registration -----------------------------------------------------------------------------------


def shifts_of(outputs: testing.Outputs) -> np.ndarray:
    """(N - 1, 2): x and y of each matrix."""
    matrices = stack_of(outputs, "transform_matrix")
    np.testing.assert_array_equal(matrices[:, :2, :2], np.broadcast_to(np.eye(2), (len(matrices), 2, 2)))
    return matrices[:, :2, 2]


def moved(image: np.ndarray, *shifts: tuple[float, float]) -> np.ndarray:
    """The same region of the image, seen from places that are so far (x, y) apart."""
    places = [(0, 0), *shifts]
    seen = [scipy.ndimage.shift(image.astype(np.float64), (-y, -x), order=3)[100:356, 100:356] for x, y in places]
    return np.stack(seen)


def test_known_shifts_are_found_to_a_tenth_of_a_pixel(cell: np.ndarray) -> None:
    images = moved(cell, (3.0, -5.0), (3.4, -4.7), (10.2, 2.6))
    found = shifts_of(run(REGISTRATION, images, reference="first", normalization="none"))
    np.testing.assert_allclose(found, [(3.0, -5.0), (3.4, -4.7), (10.2, 2.6)], atol=0.1)


def test_each_slice_is_compared_with_the_one_before_it(cell: np.ndarray) -> None:
    images = moved(cell, (4.0, 0.0), (6.0, -3.0))
    found = shifts_of(run(REGISTRATION, images, normalization="none"))
    np.testing.assert_allclose(found, [(4.0, 0.0), (2.0, -3.0)], atol=0.1)


def test_noise_does_not_hide_a_shift(cell: np.ndarray) -> None:
    images = moved(cell, (7.0, 4.0))
    noisy = images + np.random.default_rng(0).normal(0, 0.1 * images.std(), images.shape)
    found = shifts_of(run(REGISTRATION, noisy.astype(np.float32), normalization="none"))
    np.testing.assert_allclose(found, [(7.0, 4.0)], atol=0.3)


def test_equal_images_are_not_shifted(cell: np.ndarray) -> None:
    np.testing.assert_array_equal(shifts_of(run(REGISTRATION, np.stack([cell, cell]))), [(0.0, 0.0)])


def test_an_image_without_contrast_is_left_where_it_is_and_that_is_said(cell: np.ndarray) -> None:
    outputs = run(REGISTRATION, np.stack([cell, np.full_like(cell, 7)]))
    assert shifts_of(outputs).tolist() == [[0.0, 0.0]]
    assert [level for level, _ in outputs.log] == ["WARNING"]


# --- multi_region_segmentation ----------------------------------------------------------------------------


def test_regions_are_those_of_the_picture_from_dark_to_bright() -> None:
    image = np.full((60, 60), 20.0)
    image[:, 20:40], image[:, 40:] = 100.0, 200.0
    noisy = image + np.random.default_rng(1).normal(0, 8, image.shape)
    (output,) = run(REGIONS, noisy[np.newaxis].astype(np.float32), names=["pore", "matrix", "grain"])
    masks = np.stack(output["region_masks"])
    assert output["region_names"] == ["pore", "matrix", "grain"]
    assert [float(masks[n][:, 20 * n + 2 : 20 * n + 18].mean()) for n in range(3)] == pytest.approx([1, 1, 1], abs=0.01)


def test_every_pixel_of_a_real_picture_is_in_one_region(cell: np.ndarray) -> None:
    (output,) = run(REGIONS, cell[np.newaxis], regions=4)
    masks = np.stack(output["region_masks"])
    assert (masks.shape, set(masks.sum(axis=0).ravel())) == ((4, *cell.shape), {1})
    means = [cell[mask > 0].mean() for mask in masks]
    assert means == sorted(means)


@pytest.mark.parametrize(
    ("sent", "words"), [({"names": ["a", "b"]}, "one name to each"), ({"regions": 5}, "fewer grey values")]
)
def test_what_cannot_be_divided_is_said(sent: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(REGIONS, np.zeros((1, 32, 32), np.uint8), **sent)


# --- texture_embedding ------------------------------------------------------------------------------------


def features_of(images: np.ndarray, **sent: Any) -> np.ndarray:
    return stack_of(run(EMBEDDING, images, **sent), "features").reshape(len(images), -1)


@pytest.fixture(scope="module")
def tiles() -> tuple[np.ndarray, np.ndarray]:
    """Tiles (N, 128, 128) of real textures, none of which overlap, and which texture each is of."""
    textures = [skimage.data.brick(), skimage.data.grass(), skimage.data.gravel()]
    cut = [[one[y : y + 128, x : x + 128] for y in (0, 128, 256) for x in (0, 128, 256)] for one in textures]
    return np.concatenate([np.stack(one) for one in cut]), np.repeat(np.arange(len(textures)), 9)


def test_tiles_look_most_like_other_tiles_of_their_texture(tiles: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = tiles
    features = features_of(images)
    likeness = features @ features.T - 2 * np.eye(len(images))
    assert np.mean(labels[likeness.argmax(axis=1)] == labels) >= 0.95


def test_brightness_contrast_half_turns_and_mirrors_do_not_count(tiles: tuple[np.ndarray, np.ndarray]) -> None:
    images = tiles[0][::5]
    features = features_of(images)
    changed = [images // 2 + 40, images[:, ::-1, ::-1], images[:, :, ::-1]]
    for others in changed:
        likeness = features_of(np.ascontiguousarray(others)) @ features.T
        np.testing.assert_array_equal(likeness.argmax(axis=1), np.arange(len(images)))
        assert np.diag(likeness).min() > 0.98


def test_vectors_are_of_length_one_and_tell_the_size_of_their_images(tiles: tuple[np.ndarray, np.ndarray]) -> None:
    outputs = run(EMBEDDING, tiles[0][:2], scales=2)
    assert [np.linalg.norm(output["features"]) for output in outputs] == pytest.approx([1.0, 1.0])
    assert (outputs[0]["features"].size, tuple(outputs[0]["input_size"])) == (52, (128, 128))


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="16 x 16"):
        run(EMBEDDING, np.zeros((1, 8, 8), np.uint8))
