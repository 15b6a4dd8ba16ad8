"""Smooths images with a Gaussian.

In: one image per file, (H, W) or (3, H, W). Out: as many images of the same shape and dtype. Integers are
rounded to the nearest value and clipped to what their type can hold; the sums are made in float32, or in float64
where the image is float64.

`sigma` is in pixels on every axis that is smoothed: with `across_slices`, slices that lie further apart than
pixels do are smoothed too strongly along the stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from voxloom.runner import Image2ImageRunner


class Runner(Image2ImageRunner):
    # Image2ImageRunner has already fetched the input files when `inference` is called, stacked along the first
    # axis: (N, H, W), or (N, 3, H, W) for colour. What is returned here is written as one file per slice.
    def inference(self, data: np.ndarray, args: dict[str, Any]) -> np.ndarray:
        # A server has filled the defaults of pyproject.toml in; `get` is for those who call this class without one.
        sigma = float(args.get("sigma", 1.0))
        mode = str(args.get("mode", "reflect"))
        if args.get("across_slices", False):
            self.log_message(f"3-D Gaussian over {len(data)} slices: sigma {sigma} px, mode {mode}")
            return self._smooth_stack(data, sigma, mode)
        self.log_message(f"2-D Gaussian on each of {len(data)} slices: sigma {sigma} px, mode {mode}")
        return self._smooth_slices(data, sigma, mode)

    def _smooth_slices(self, stack: np.ndarray, sigma: float, mode: str) -> np.ndarray:
        smooth = np.empty_like(stack)
        for index, image in enumerate(stack):
            for axis in (-2, -1):  # never across colours
                image = _smooth_axis(image, axis, sigma, mode)
            smooth[index] = _as_dtype(image, stack.dtype)
            # Reporting is cheap, and a run that was asked to stop ends inside such a call: report often.
            self.set_progress((index + 1) / len(stack))
        return smooth

    def _smooth_stack(self, stack: np.ndarray, sigma: float, mode: str) -> np.ndarray:
        # A Gaussian is separable: one axis after the other is the same filter, and leaves room to report between.
        smooth = stack
        for done, axis in enumerate((0, -2, -1), start=1):
            smooth = _smooth_axis(smooth, axis, sigma, mode)
            self.set_progress(done / 3)
        return _as_dtype(smooth, stack.dtype)


def _smooth_axis(image: np.ndarray, axis: int, sigma: float, mode: str) -> np.ndarray:
    precision = np.float64 if image.dtype == np.float64 else np.float32
    smooth: np.ndarray = ndimage.gaussian_filter1d(image.astype(precision, copy=False), sigma, axis=axis, mode=mode)
    return smooth


def _as_dtype(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        image = np.clip(np.rint(image), limits.min, limits.max)
    return image.astype(dtype, copy=False)
