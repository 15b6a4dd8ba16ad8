"""Finds how each slice of a stack is shifted against the one before it.

In: one grey image (H, W) per file. Out: N - 1 matrices (3, 3) for N images, homogeneous, in pixels, for points
(x, y, 1) with x along W: the n-th maps a point of image n + 1 to where it is in image n (or in the first one, if that
is the reference).

The peak of the cross-correlation is found by Fourier transforms and refined by a matrix multiplication, as scikit-image
does it: M. Guizar-Sicairos, S. T. Thurman and J. R. Fienup, "Efficient subpixel image registration algorithms", Optics
Letters 33 (2008) 156-158.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.filters import window
from skimage.registration import phase_cross_correlation

from voxloom.runner import Image2AlignmentRunner


class Runner(Image2AlignmentRunner):
    # Image2AlignmentRunner stacks the input images, and writes each matrix into a file of its own.
    def inference(self, data: np.ndarray, args: dict[str, Any]) -> list[np.ndarray]:
        _check(data)
        fade = window("hann", data.shape[1:]) if args.get("window", True) else 1.0
        matrices = []
        for index in range(1, len(data)):
            fixed = data[0] if args.get("reference", "previous") == "first" else data[index - 1]
            matrices.append(self._matrix(f"slice {index}", fixed, data[index], fade, args))
            self.set_progress(index / (len(data) - 1))
        return matrices

    def _matrix(self, name: str, fixed: np.ndarray, moving: np.ndarray, fade: Any, args: dict[str, Any]) -> np.ndarray:
        if min(np.ptp(fixed), np.ptp(moving)) == 0:
            self.log_message(f"{name}: an image without contrast has no place; it is left where it is", "WARNING")
            return np.eye(3)
        normalization = args.get("normalization", "phase")
        shift, error, _ = phase_cross_correlation(
            _centred(fixed) * fade,
            _centred(moving) * fade,
            upsample_factor=int(args.get("upsampling", 20)),
            normalization=None if normalization == "none" else normalization,
        )
        self.log_message(f"{name}: shifted by {shift[1]:g} in x, {shift[0]:g} in y (error {error:.3f})")
        matrix = np.eye(3)
        matrix[:2, 2] = shift[::-1]
        return matrix


def _check(stack: np.ndarray) -> None:
    if stack.ndim != 3:
        raise ValueError(f"Grey images are needed, but these have the shape {stack.shape[1:]}: convert them first.")
    if not np.isfinite(stack).all():
        raise ValueError("The images hold NaN or infinite values: replace those first.")


def _centred(image: np.ndarray) -> np.ndarray:
    centred: np.ndarray = image - image.mean(dtype=np.float64)
    return centred
