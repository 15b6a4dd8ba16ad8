"""Images of many files as one array."""

from __future__ import annotations

import operator

import numpy as np

from voxloom.runner.exceptions import InvalidShape


class Stack:
    """Memory for `count` arrays of one shape and dtype, so that they need no copying together.

    The first array decides shape and dtype; what does not match gets memory of its own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._block: np.ndarray | None = None
        self._items: list[np.ndarray] = []

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self._block is None:
            self._block = np.empty((self._count, *shape), dtype)
        if (shape, dtype) != (self._block.shape[1:], self._block.dtype) or len(self._items) == self._count:
            return np.empty(shape, dtype)
        item: np.ndarray = self._block[len(self._items)]
        self._items.append(item)
        return item

    def put_together(self, images: list[np.ndarray], name: str) -> np.ndarray:
        """`images` along a new first axis; a copy only where they are not what was allocated here, in order."""
        in_place = len(images) == len(self._items) and all(map(operator.is_, images, self._items))
        if self._block is not None and in_place and len(images) == self._count:
            return self._block
        return stack_images(images, name)


def stack_images(images: list[np.ndarray], name: str) -> np.ndarray:
    """A copy of all, along a new first axis. Raises InvalidShape for none, or where shapes differ."""
    if not images:
        raise InvalidShape("There are no input files: name at least one in input_dataset_ids.")
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            raise InvalidShape(
                f"Input {index} has {name} of shape {image.shape}, input 0 of {images[0].shape}: "
                "give inputs of one shape, or override preprocess."
            )
    return np.stack(images)
