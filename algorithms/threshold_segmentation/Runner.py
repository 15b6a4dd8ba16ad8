"""Separates objects from background with an automatic threshold.

In: one grey image (H, W) per file. Out: one mask (H, W) per image, uint8, 1 for object and 0 for background.

Methods:

- `otsu`: the threshold that separates the grey values into the two most distinct classes.
  N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66.
- `li`: minimum cross entropy between the image and its two-valued version.
  C. H. Li and C. K. Lee, "Minimum cross entropy thresholding", Pattern Recognition 26 (1993) 617-625, by the
  iteration of C. H. Li and P. K. S. Tam, Pattern Recognition Letters 19 (1998) 771-776.
- `yen`: maximum correlation criterion.
  J.-C. Yen, F.-J. Chang and S. Chang, "A new criterion for automatic multilevel thresholding",
  IEEE Trans. Image Process. 4 (1995) 370-378.
- `local`: a Gaussian-weighted mean of each pixel's neighbourhood, for images that are lit unevenly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import filters

from voxloom.runner import Image2SegmentationRunner

METHODS: dict[str, Callable[[np.ndarray], float]] = {
    "otsu": filters.threshold_otsu,
    "li": filters.threshold_li,
    "yen": filters.threshold_yen,
}


class Runner(Image2SegmentationRunner):
    # Image2SegmentationRunner has already fetched the input files when `inference` is called, stacked along the
    # first axis. The masks returned here are written as one file per slice.
    def inference(self, data: np.ndarray, args: dict[str, Any]) -> np.ndarray:
        _check(data)
        # A server has filled the defaults of pyproject.toml in; `get` is for those who call this class without one.
        method = args.get("method", "otsu")
        per_slice = args.get("per_slice", True)
        stack_threshold = None
        if method != "local" and not per_slice:
            stack_threshold = self._threshold("the stack", data, args)

        masks = np.zeros(data.shape, np.uint8)
        for index, image in enumerate(data):
            threshold = stack_threshold
            if threshold is None:
                threshold = self._threshold(f"slice {index}", image, args)
            masks[index] = _mask(image, threshold, args)
            # Reporting is cheap, and a run that was asked to stop ends inside such a call: report often.
            self.set_progress((index + 1) / len(data))
        return masks

    def _threshold(self, name: str, image: np.ndarray, args: dict[str, Any]) -> float | np.ndarray:
        """One value, or for `local` one per pixel; `name` is for the log."""
        method = args.get("method", "otsu")
        if image.min() == image.max():
            self.log_message(f"{name}: every pixel is {image.min()}, so there is nothing to separate", "WARNING")
            return np.nan  # no pixel is above it, none below
        if method == "local":
            return self._local_threshold(name, image, args)
        # Flat, because scikit-image takes a last axis of 3 or 4 for colours.
        threshold = float(METHODS[method](image.ravel())) + float(args.get("offset", 0.0))
        self.log_message(f"{name}: {method} threshold {threshold:g}")
        return threshold

    def _local_threshold(self, name: str, image: np.ndarray, args: dict[str, Any]) -> np.ndarray:
        block_size = int(args.get("block_size", 51))
        if block_size % 2 == 0:
            block_size += 1
            self.log_message(f"{name}: the block size must be odd, so {block_size} is taken", "WARNING")
        # scikit-image subtracts its offset; ours is added, for every method alike.
        threshold: np.ndarray = filters.threshold_local(image, block_size, offset=-float(args.get("offset", 0.0)))
        self.log_message(
            f"{name}: local thresholds from {threshold.min():g} to {threshold.max():g}, block size {block_size}"
        )
        return threshold


def _check(stack: np.ndarray) -> None:
    if stack.ndim != 3:
        raise ValueError(
            f"Grey images are needed, but these have the shape {stack.shape[1:]}: convert colour images to grey first."
        )
    if not np.isfinite(stack).all():
        raise ValueError(
            "The images hold NaN or infinite values: replace those first, for example by numpy.nan_to_num."
        )


def _mask(image: np.ndarray, threshold: float | np.ndarray, args: dict[str, Any]) -> np.ndarray:
    # A pixel that equals the threshold is dark: that is how the three methods define it.
    dark = args.get("foreground", "bright") == "dark"
    mask = image <= threshold if dark else image > threshold
    return _without_small_objects(mask, int(args.get("min_size", 0)))


def _without_small_objects(mask: np.ndarray, min_size: int) -> np.ndarray:
    if min_size <= 1:
        return mask
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_size
    keep[0] = False  # the background
    kept: np.ndarray = keep[labels]
    return kept
