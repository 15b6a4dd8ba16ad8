"""What outputs inherit of their inputs: axes and voxel sizes, where output i stands for input i."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voxloom.imagemeta import Meta, inherited

_IMAGES = ("image", "volume", "data", "mask")
"""Datasets that can stand for an input, by the names that schemas have for them."""


class Inheritance:
    """Of one run."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        """The files that the run was given, in order."""
        self.lost = False
        """Some output has another height or width than its input, so the size of its voxels is not known."""
        self._known: dict[str, tuple[Meta, tuple[int, ...]]] = {}

    def remember(self, file_id: str, datasets: Mapping[str, Any], metas: Mapping[str, Meta]) -> None:
        """What a file that was fetched says of its first image that says anything."""
        for name in _IMAGES:
            image = datasets.get(name)
            if name in metas and isinstance(image, np.ndarray) and image.ndim == len(metas[name].axes):
                self._known.setdefault(file_id, (metas[name], image.shape))

    def of(self, outputs: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Meta]]:
        """For each output, by dataset; nothing where there are not as many as inputs."""
        if len(outputs) != len(self.inputs) or not self._known:
            return [{} for _ in outputs]
        return [self._one(file_id, one) for file_id, one in zip(self.inputs, outputs, strict=True)]

    def _one(self, file_id: str, output: Mapping[str, np.ndarray]) -> dict[str, Meta]:
        if file_id not in self._known:
            return {}
        meta, shape = self._known[file_id]
        found = {
            name: inherited(meta, shape, output[name].shape, labels=name == "mask")
            for name in _IMAGES
            if name in output
        }
        self.lost |= any(one is not None and meta.spacing.keys() - one.spacing.keys() for one in found.values())
        return {name: one for name, one in found.items() if one is not None}
