"""Separates objects from background with a small U-Net that learns from images and their masks.

In: one grey image (H, W) of any size per file. Out: one mask (H, W) per image, uint8, 1 for object.

It is deployed untrained. A training takes samples with the keys `image` and `mask`, as many masks as images, each as
large as its image; every pixel above 0 is object. It leaves one checkpoint: of the epoch with the best Dice on tiles
that were not learnt from.
"""

from __future__ import annotations

import copy
import os
import time
from typing import Any

import numpy as np
import torch

from voxloom.runner import Image2SegmentationRunner, ImageSchema, SegmentationSchema
from voxloom.runner.exceptions import TaskStoppedException

from .learning import Learning, Pair, Settings, padded, standardized
from .unet import UNet, from_bytes, to_bytes, untrained

WEIGHTS = "files/weights.pt"
"""The asset that a checkpoint replaces."""
_SIDE = 192
"""Of the pictures that `benchmark` draws, in pixels."""


class Runner(Image2SegmentationRunner):
    def load_assets(self) -> None:
        # A network this small gains little by threads, and beside other runs, waiting for each other, they are the
        # slower by far. Who has cores to spare says so.
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        stored = from_bytes(self.fetch_asset(WEIGHTS).getvalue())
        self.trained = stored is not None
        self.network = (stored or untrained()).to(self.device).eval()

    def inference(self, data: np.ndarray, args: dict[str, Any]) -> np.ndarray:
        _check_images(data)
        if not self.trained:
            self.log_message("The network is untrained and guesses: run it with a checkpoint.", "WARNING")
        masks = np.zeros(data.shape, np.uint8)
        for index, image in enumerate(data):
            masks[index] = probabilities(self.network, image, self.device) > float(args.get("threshold", 0.5))
            self.set_progress((index + 1) / len(data))
        return masks

    # --- training ---

    def train(self, training_data: list[str], args: dict[str, Any]) -> None:
        settings = Settings.of(args)
        learning = Learning(self._beginning(args), self._pairs(training_data), settings, self.device)
        self.log_message(f"{len(learning.tiles)} tiles to learn from, {len(learning.aside)} to measure on.")
        self.best = -1.0
        try:
            for epoch in range(settings.epochs):
                loss = self._learn(learning, epoch, settings.epochs)
                self._keep_if_better(learning, epoch, loss)
        except TaskStoppedException:
            # Saving still works for a while: what this epoch has learnt so far may be the best.
            self._keep_if_better(learning, epoch, None)
            raise

    def _beginning(self, args: dict[str, Any]) -> UNet:
        """A copy, as this process may serve executions afterwards, and those want the weights that it was made with."""
        if not self.trained:
            return untrained(int(args.get("width", 8)), int(args.get("depth", 3)), int(args.get("seed", 0)))
        if (self.network.width, self.network.depth) != (args.get("width"), args.get("depth")):
            shape = f"width {self.network.width} and depth {self.network.depth}"
            self.log_message(f"The checkpoint's network has {shape}, and keeps them.", "WARNING")
        return copy.deepcopy(self.network)

    def _pairs(self, training_data: list[str]) -> list[Pair]:
        dataset = self.get_training_dataset(training_data)
        if missing := {"image", "mask"} - set(dataset.get_sample_keys()):
            raise ValueError(f"The samples lack the key {min(missing)!r}: give each entry images and their masks.")
        schemas = {key: SegmentationSchema if key == "mask" else ImageSchema for key in dataset.get_sample_keys()}
        loaded = self.load_dataset_from_temp_store(self.download_dataset_to_temp_store(dataset, schemas))
        return [pair for number, entries in enumerate(loaded) for entry in entries for pair in _paired(number, entry)]

    def _learn(self, learning: Learning, epoch: int, epochs: int) -> float:
        """One epoch; its mean loss."""
        losses = []
        for loss in learning.epoch():
            losses.append(loss)
            # Every step, as a stop is noticed in such a call.
            self.set_progress((epoch + len(losses) / learning.steps) / epochs)
        return float(np.mean(losses))

    def _keep_if_better(self, learning: Learning, epoch: int, loss: float | None) -> None:
        dice = learning.dice()
        self.set_state({"epoch": epoch, "loss": loss, "val_dice": dice, "best_dice": max(dice, self.best)})
        if dice > self.best:
            kept = self.save_checkpoint({WEIGHTS: to_bytes(learning.network)}, {"epoch": epoch, "val_dice": dice})
            self.best = dice
            self._drop_all_but(kept)

    def _drop_all_but(self, kept: str) -> None:
        # Only after the better one is saved: there is always one to go on from.
        for checkpoint_id in self.task_handler.output_checkpoint_ids:
            if checkpoint_id != kept:
                self.delete_checkpoint(checkpoint_id)

    # --- how good, how fast ---

    def benchmark(self, args: dict[str, Any]) -> dict[str, Any]:
        """Dice on drawn discs, whose masks are exactly known, before and after a short training on others; seconds."""
        seen, new = ([_drawn(seed) for seed in seeds] for seeds in (range(4), range(4, 8)))
        settings = Settings(epochs=int(args.get("epochs", 10)))
        learning = Learning(untrained(), seen, settings, self.device)
        before = self._measured(learning.network, new)
        started = time.perf_counter()
        for epoch in range(settings.epochs):
            self._learn(learning, epoch, settings.epochs)
        training = {"training_seconds": time.perf_counter() - started, "epochs": settings.epochs}
        return {**training, "untrained_dice": before["dice"], **self._measured(learning.network, new)}

    def _measured(self, network: UNet, pairs: list[Pair]) -> dict[str, float]:
        network.eval()
        started = time.perf_counter()
        found = np.stack([probabilities(network, image, self.device) > 0.5 for image, _ in pairs])
        seconds = (time.perf_counter() - started) / len(pairs)
        truth = np.stack([mask > 0 for _, mask in pairs])
        return {"dice": float(2 * (found & truth).sum() / (found.sum() + truth.sum())), "seconds_per_image": seconds}


@torch.no_grad()
def probabilities(network: UNet, image: np.ndarray, device: str) -> np.ndarray:
    """(H, W) float32 from 0 to 1, for an image (H, W) of any size and dtype. The network must be in `eval` mode."""
    height, width = image.shape
    prepared = padded(standardized(image), network.factor)
    logits = network(torch.from_numpy(prepared).to(device)[None, None])
    found: np.ndarray = torch.sigmoid(logits)[0, 0, :height, :width].cpu().numpy()
    return found


def _check_images(data: np.ndarray) -> None:
    """(N, H, W), all finite."""
    if data.ndim != 3:
        raise ValueError(
            f"Grey images are needed; these have the shape {data.shape[1:]}: convert colours to grey first."
        )
    if not np.isfinite(data).all():
        raise ValueError(
            "The images hold NaN or infinite values: replace those first, for example by numpy.nan_to_num."
        )


def _paired(sample: int, entry: dict[str, list[dict[str, Any]]]) -> list[Pair]:
    """The images and masks of an entry; raises ValueError where they do not go together."""
    images, masks = [item["image"] for item in entry["image"]], [item["mask"] for item in entry["mask"]]
    if len(images) != len(masks):
        raise ValueError(f"Sample {sample} has {len(images)} images and {len(masks)} masks in an entry: pair them.")
    for image, mask in zip(images, masks, strict=True):
        _check_images(image[np.newaxis])
        if image.shape != mask.shape:
            raise ValueError(
                f"Sample {sample} has an image of the shape {image.shape} with a mask of the shape {mask.shape}: "
                "give each image a mask of its own height and width."
            )
    return list(zip(images, masks, strict=True))


def _drawn(seed: int) -> Pair:
    """Bright discs on a background that is lit unevenly, with noise."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    mask = np.zeros((_SIDE, _SIDE), bool)
    for top, left, radius in draw.uniform((0, 0, 6), (_SIDE, _SIDE, 20), (12, 3)):
        mask |= np.hypot(y - top, x - left) < radius
    return (mask + 1.5 * x / _SIDE + draw.normal(0, 0.3, mask.shape)).astype(np.float32), mask
