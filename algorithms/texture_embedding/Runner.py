"""Describes each image by a vector of its texture.

In: one grey image (H, W) per file, 16 pixels at least. Out: features (26 per scale), float32, of length 1, so that
their product says how alike two images look. Brightness and contrast do not count, and neither does a half turn or a
mirror.

Two histograms per scale: of local binary patterns, uniform and rotation invariant (T. Ojala, M. Pietikäinen and
T. Mäenpää, "Multiresolution gray-scale and rotation invariant texture classification with local binary patterns", IEEE
Trans. Pattern Anal. Mach. Intell. 24 (2002) 971-987), and of gradients by direction, weighted by their strength.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.feature import local_binary_pattern
from skimage.transform import downscale_local_mean

from voxloom.runner import Image2EmbeddingRunner

POINTS = 16
DIRECTIONS = 8
LEAST = 16


class Runner(Image2EmbeddingRunner):
    def inference(self, data: np.ndarray, args: dict[str, Any]) -> np.ndarray:
        if data.ndim != 3 or min(data.shape[1:]) < LEAST or not np.isfinite(data).all():
            raise ValueError(
                f"Grey images of {LEAST} x {LEAST} finite pixels at least are needed; these are {data.shape[1:]}."
            )
        features = []
        for index, image in enumerate(data):
            features.append(features_of(image, int(args.get("scales", 3))))
            self.set_progress((index + 1) / len(data))
        return np.stack(features)


def features_of(image: np.ndarray, scales: int) -> np.ndarray:
    """(26 * scales,), float32, of length 1."""
    parts = []
    current = _normal(image)
    for _ in range(scales):
        parts += [_patterns(current), _directions(current)]
        if min(current.shape) >= 2 * LEAST:
            current = downscale_local_mean(current, (2, 2))
    vector = np.concatenate(parts)
    result: np.ndarray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return result


def _normal(image: np.ndarray) -> np.ndarray:
    """From 0 to 1 between its 1st and 99th percentile."""
    low, high = np.percentile(image, [1, 99])
    scaled: np.ndarray = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-12), 0.0, 1.0)
    return scaled


def _patterns(image: np.ndarray) -> np.ndarray:
    codes = local_binary_pattern(np.round(image * 255).astype(np.uint8), POINTS, 2, method="uniform")
    return _share(np.bincount(codes.astype(int).ravel(), minlength=POINTS + 2))


def _directions(image: np.ndarray) -> np.ndarray:
    down, right = np.gradient(image)
    angles = np.arctan2(down, right) % np.pi
    # Mirrored, a direction becomes its opposite: both count as one.
    bins = np.minimum((angles / np.pi * DIRECTIONS).astype(int), DIRECTIONS - 1)
    weights = np.bincount(bins.ravel(), np.hypot(down, right).ravel(), minlength=DIRECTIONS)
    return _share(weights + weights[::-1])


def _share(counts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.sqrt(counts / max(counts.sum(), 1e-12))
    return shares
