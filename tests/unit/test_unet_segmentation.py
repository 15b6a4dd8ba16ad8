"""The U-Net that ships: it learns on real pictures, and its checkpoint beats what it was before."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxloom import testing
from voxloom.runner.exceptions import TaskStoppedException

if not all(find_spec(name) for name in ("torch", "scipy", "skimage")):
    pytest.skip("torch, scipy or scikit-image is missing", allow_module_level=True)
# They are imported where they are used: every process that shares the tests reads this file, and one needs torch.

FOLDER = Path(__file__).parents[2] / "algorithms" / "unet_segmentation"
WEIGHTS = "files/weights.pt"
LEAST_GAIN = 0.3
"""By so much Dice the trained network must beat both the untrained one and a mask that is object everywhere."""
FEW: dict[str, Any] = {"epochs": 1, "tile": 32, "width": 4, "depth": 2}


def coins() -> tuple[np.ndarray, np.ndarray]:
    """A real picture (303, 384) uint8 and its mask: a watershed's, as in scikit-image's gallery; nobody drew it."""
    from scipy import ndimage
    from skimage import data, filters, segmentation

    image = data.coins()
    markers = np.where(image < 30, 1, np.where(image > 150, 2, 0))
    regions = segmentation.watershed(filters.sobel(image), markers)
    return image, ndimage.binary_fill_holes(regions == 2).astype(np.uint8)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * np.sum((found > 0) & (truth > 0)) / (np.sum(found > 0) + np.sum(truth > 0)))


def pair(image: np.ndarray, mask: np.ndarray) -> list[list[dict[str, list[testing.Input]]]]:
    return [[{"image": [image], "mask": [mask]}]]


def segmented(image: np.ndarray, checkpoint: testing.SavedCheckpoint | None = None, **args: Any) -> np.ndarray:
    outputs = testing.run(FOLDER, image, args, checkpoint=checkpoint.assets if checkpoint else None)
    mask: np.ndarray = outputs[0]["mask"]
    return mask


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained() -> testing.Trained:
    """Learnt from the upper three rows of coins."""
    image, mask = coins()
    return testing.train(FOLDER, pair(image[:220], mask[:220]), {"epochs": 4})


def test_a_checkpoint_beats_the_untrained_network_on_coins_that_it_has_not_seen(trained: testing.Trained) -> None:
    image, mask = coins()
    new, truth = image[223:], mask[223:]
    untrained, everything = dice(segmented(new), truth), dice(np.ones_like(truth), truth)
    assert dice(segmented(new, trained[-1]), truth) >= max(untrained, everything) + LEAST_GAIN


def test_a_training_keeps_its_best_checkpoint_alone_and_tells_how_it_goes(trained: testing.Trained) -> None:
    best = max(trained.states, key=lambda state: state["val_dice"])
    (kept,) = trained
    assert kept.properties == {"epoch": best["epoch"], "val_dice": best["val_dice"]}
    assert (trained.states[-1].keys() >= {"epoch", "loss", "val_dice"}, trained.progress[-1]) == (True, 1.0)


def test_the_same_seed_gives_the_same_weights() -> None:
    image, mask = coins()
    first, second = (testing.train(FOLDER, pair(image[:64, :64], mask[:64, :64]), FEW) for _ in range(2))
    assert first[0].properties == second[0].properties


@pytest.mark.parametrize("shape", [(37, 53), (1, 5), (64, 9)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float64"])
def test_images_of_any_size_and_dtype_get_masks_of_their_size(shape: tuple[int, int], dtype: str) -> None:
    mask = segmented(np.random.default_rng(1).integers(0, 200, shape).astype(dtype))
    assert (mask.shape, mask.dtype.name) == (shape, "uint8")


def test_neither_dtype_nor_exposure_changes_what_is_found(trained: testing.Trained) -> None:
    image = coins()[0][223:300, :91]
    found = segmented(image, trained[-1])
    for same in (image.astype(np.uint16) * 200, image.astype(np.float32) / 255 + 7):
        assert np.mean(segmented(same, trained[-1]) != found) < 0.001


def test_images_smaller_than_a_tile_and_of_odd_sizes_can_be_learnt_from() -> None:
    image, mask = coins()
    samples: list[Any] = [
        [{"image": [image[:41, :57], image[60:90, :19]], "mask": [mask[:41, :57], mask[60:90, :19]]}],
        *pair(image[:5, :7], mask[:5, :7]),
    ]
    assert len(testing.train(FOLDER, samples, FEW)) == 1


def test_a_training_goes_on_with_the_shape_of_its_checkpoint() -> None:
    image, mask = (one[:64, :64] for one in coins())
    (first,) = testing.train(FOLDER, pair(image, mask), FEW)
    again = testing.train(FOLDER, pair(image, mask), {"epochs": 1}, checkpoint=first.assets)
    import torch

    stored = torch.load(io.BytesIO(again[0].assets[WEIGHTS]), weights_only=True)
    assert (stored["width"], stored["depth"]) == (4, 2)
    assert any("keeps them" in text for level, text in again.log if level == "WARNING")


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(20, 20\) with a mask of the shape \(20, 21\)"):
        testing.train(FOLDER, pair(np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8)), FEW)


def test_samples_without_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="lack the key 'mask'"):
        testing.train(FOLDER, [[{"image": [np.zeros((20, 20), np.uint8)]}]], FEW)


@pytest.mark.parametrize("image", [np.zeros((1, 3, 8, 8), np.uint8), np.full((8, 8), np.nan, np.float32)])
def test_colours_and_missing_values_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Grey images are needed|NaN"):
        testing.run(FOLDER, image)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"cos\nsystem\n(S'true'\ntR."])
def test_weights_that_are_none_are_refused_and_never_run(content: bytes) -> None:
    with pytest.raises(ValueError, match="weights cannot be read"):
        testing.run(FOLDER, np.zeros((8, 8), np.uint8), checkpoint={WEIGHTS: content})


def test_a_stop_keeps_what_was_learnt_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    links: list[testing.LocalLink] = []

    class Stopped(testing.LocalLink):
        def set_progress(self, progress: float) -> None:
            super().set_progress(progress)
            links.append(self)
            self.stop()

    monkeypatch.setattr(testing, "LocalLink", Stopped)
    image, mask = coins()
    with pytest.raises(TaskStoppedException):
        testing.train(FOLDER, pair(image[:128, :128], mask[:128, :128]), FEW)
    assert len(links[0].checkpoints) == 1


def test_the_benchmark_gives_dice_and_seconds() -> None:
    found = testing.benchmark(FOLDER, {"epochs": 1})
    assert 0 <= found["dice"] <= 1
    assert found["training_seconds"] > 0
