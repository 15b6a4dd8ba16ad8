"""Divides images into regions of distinct brightness.

In: one grey image (H, W) per file. Out: for each its region_names, from dark to bright, and region_masks (R, H, W),
uint8, 1 inside. Every pixel is in exactly one region.

The thresholds are those that separate the grey values into the most distinct classes, as scikit-image finds them:
P.-S. Liao, T.-S. Chen and P.-C. Chung, "A fast algorithm for multilevel thresholding", J. Inf. Sci. Eng. 17 (2001)
713-727.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from voxloom.runner import Image2MultiRegionSegmentationRunner


class Runner(Image2MultiRegionSegmentationRunner):
    def inference(self, data: np.ndarray, args: dict[str, Any]) -> list[dict[str, np.ndarray]]:
        if data.ndim != 3 or not np.isfinite(data).all():
            raise ValueError(f"Grey images with finite values are needed; these have the shape {data.shape[1:]}.")
        names = _names(int(args.get("regions", 3)), args.get("names") or [])
        results = []
        for index, image in enumerate(data):
            results.append(self._regions(f"slice {index}", image, names, float(args.get("smoothing", 1.0))))
            self.set_progress((index + 1) / len(data))
        return results

    def _regions(self, name: str, image: np.ndarray, names: list[str], smoothing: float) -> dict[str, np.ndarray]:
        smooth = ndimage.gaussian_filter(image.astype(np.float32), smoothing) if smoothing else image
        if len(np.unique(smooth)) < len(names):
            raise ValueError(f"{name} has fewer grey values than {len(names)} regions: ask for fewer.")
        # Flat, because scikit-image takes a last axis of 3 or 4 for colours.
        thresholds = threshold_multiotsu(smooth.ravel(), classes=len(names))
        self.log_message(f"{name}: thresholds {', '.join(f'{one:g}' for one in thresholds)}")
        regions = np.digitize(smooth, thresholds)
        return {region: (regions == number).astype(np.uint8) for number, region in enumerate(names)}


def _names(count: int, given: list[str]) -> list[str]:
    if given and (len(given) != count or len(set(given)) != count):
        raise ValueError(f"There are {count} regions and {len(set(given))} names for them: give one name to each.")
    return list(given) or [f"region_{number}" for number in range(1, count + 1)]
