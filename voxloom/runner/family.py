"""Runners that know their data: one base class per algorithm type.

Each fetches its inputs and stacks them along a first axis, and writes one file per item that `inference` returns.
Authors implement `inference`, and override the other two steps where the defaults do not fit. The default
`preprocess` leaves the number of inputs (`_input_images_count`) or the stack's shape (`_input_images_shape`) for the
default `postprocess`; who overrides one of the two may read or set these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from voxloom.runner.base import BaseRunner
from voxloom.runner.byname import by_name
from voxloom.runner.exceptions import InvalidShape, WrongType, kind_of
from voxloom.runner.schemas import (
    AlignmentSchema,
    DataSchema,
    EmbeddingSchema,
    ImageSchema,
    MultiRegionSegmentationSchema,
    SegmentationSchema,
)
from voxloom.runner.stacks import stack_images


class _FamilyRunner(BaseRunner):
    """What the family shares."""

    input_schema: ClassVar[type[DataSchema]]
    input_key: ClassVar[str]
    """The dataset that the default `preprocess` stacks."""
    output_schema: ClassVar[type[DataSchema]]

    # The schema is the class's own, so the signatures differ from BaseRunner's on purpose: that is what authors call.
    def fetch_data(self, file_ids: Sequence[str], *keys: Any, parallel: bool = False) -> list[dict[str, Any]]:
        """As TaskHandler.fetch_data, with the schema of this type of algorithm."""
        return self.task_handler.fetch_data(file_ids, self.input_schema, *keys, parallel=parallel)

    def post_data(self, data: Sequence[Any], parallel: Any = False) -> list[str]:  # type: ignore[override]
        """As TaskHandler.post_data, with the schema of this type of algorithm."""
        return self.task_handler.post_data(data, self.output_schema, parallel)

    def preprocess(self, input_data: dict[str, Any], args: Any = None) -> np.ndarray:
        """All inputs as one array: (N, H, W), or (N, 3, H, W) for colour; their dtype is kept."""
        stack = self._fetch_stack(input_data["input_dataset_ids"], self.input_key)
        self._remember(stack)
        return stack

    @by_name
    def inference(self, data: Any, args: Any, /) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no inference: that is where the algorithm goes.")

    def _fetch_stack(self, file_ids: Sequence[str], key: str) -> np.ndarray:
        if type(self).fetch_data is _FamilyRunner.fetch_data:
            return self.task_handler.fetch_stack(file_ids, self.input_schema, key)
        return stack_images([item[key] for item in self.fetch_data(file_ids, key)], key)

    def _remember(self, stack: np.ndarray) -> None:
        self._input_images_count = len(stack)

    def _remembered(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise AttributeError(
                f"preprocess has not set self.{name}, which the default postprocess needs: set it, or override both."
            ) from None


class Image2ImageRunner(_FamilyRunner):
    """Images in, as many images out; their shape may change."""

    algorithm_type = "Image2Image"
    input_schema, input_key, output_schema = ImageSchema, "image", ImageSchema

    def postprocess(self, data: np.ndarray, args: Any = None) -> list[str]:
        """One file with `image` for each item of the first axis."""
        check_count(check_array(data), self._remembered("_input_images_count"))
        return self.post_data([{"image": image} for image in data])


class Image2SegmentationRunner(_FamilyRunner):
    """Images in, as many masks out."""

    algorithm_type = "Image2Segmentation"
    input_schema, input_key, output_schema = ImageSchema, "image", SegmentationSchema

    def postprocess(self, data: np.ndarray, args: Any = None) -> list[str]:
        """One file with `mask` for each item of the first axis."""
        check_count(check_array(data), self._remembered("_input_images_shape")[0])
        return self.post_data([{"mask": mask} for mask in data])

    def _remember(self, stack: np.ndarray) -> None:
        self._input_images_shape = stack.shape


class Segmentation2SegmentationRunner(_FamilyRunner):
    """Masks in, as many masks out."""

    algorithm_type = "Segmentation2Segmentation"
    input_schema, input_key, output_schema = SegmentationSchema, "mask", SegmentationSchema

    def postprocess(self, data: np.ndarray, args: Any = None) -> list[str]:
        """One file with `mask` for each item of the first axis."""
        check_count(check_array(data), self._remembered("_input_images_count"))
        return self.post_data([{"mask": mask} for mask in data])


class Image2MultiRegionSegmentationRunner(_FamilyRunner):
    """Images in, several named masks out for each."""

    algorithm_type = "Image2MultiRegionSegmentation"
    input_schema, input_key, output_schema = ImageSchema, "image", MultiRegionSegmentationSchema

    def postprocess(self, data: list[dict[str, Any]], args: Any = None) -> list[str]:
        """`data` has one dict per image: `{name: mask, …}`, or `{"region_names": […], "region_masks": […]}`."""
        if not isinstance(data, list):
            raise TypeError(f"inference returned {kind_of(data)}: return a list with one dict per image.")
        check_count(data, self._remembered("_input_images_shape")[0])
        return self.post_data([regions_of(index, item) for index, item in enumerate(data)])

    def _remember(self, stack: np.ndarray) -> None:
        self._input_images_shape = stack.shape


class Image2AlignmentRunner(_FamilyRunner):
    """N images in, N - 1 matrices out: how each image lies on the next."""

    algorithm_type = "Image2Alignment"
    input_schema, input_key, output_schema = ImageSchema, "image", AlignmentSchema

    def postprocess(self, data: list[np.ndarray], args: Any = None) -> list[str]:
        """One file per matrix, which it holds as `transform_matrix` and as `translation_matrix`."""
        if not isinstance(data, list) or not all(isinstance(matrix, np.ndarray) for matrix in data):
            raise WrongType(
                f"inference returned {kind_of(data)}: return a list of arrays, one matrix per pair of images."
            )
        check_count(data, self._remembered("_input_images_count") - 1, "one per pair of neighbouring images")
        return self.post_data([_alignment(matrix) for matrix in data])


class Image2EmbeddingRunner(_FamilyRunner):
    """Images in, features out for each."""

    algorithm_type = "Image2Embedding"
    input_schema, input_key, output_schema = ImageSchema, "image", EmbeddingSchema

    def postprocess(self, data: np.ndarray, args: Any = None) -> list[str]:
        """One file per item with `features`, and the images' (H, W) as `input_size` and `original_size`."""
        size = self._remembered("_input_images_size")
        return self.post_data(
            [{"features": features, "input_size": size, "original_size": size} for features in check_array(data)]
        )

    def _remember(self, stack: np.ndarray) -> None:
        super()._remember(stack)
        self._input_images_size = stack.shape[-2:]


# --- checks and conversions -------------------------------------------------------------------------------


def check_array(data: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise WrongType(f"inference returned {kind_of(data)}: return one numpy array, its first axis being the items.")
    if data.ndim == 0:
        raise InvalidShape(
            "inference returned a single number: return one numpy array, its first axis being the items."
        )
    return data


def check_count(items: Sequence[Any] | np.ndarray, expected: int, why: str = "one per input file") -> None:
    """Heights and widths are free to change; only the number counts."""
    if len(items) != expected:
        raise InvalidShape(f"inference returned {len(items)} items where {expected} are needed, {why}.")


def regions_of(index: int, item: Any) -> dict[str, list[Any]]:
    if not isinstance(item, dict):
        raise TypeError(f"Item {index} of what inference returned is {kind_of(item)}: return one dict per image.")
    explicit = {"region_names", "region_masks"}
    if not explicit & item.keys():
        return {"region_names": list(item.keys()), "region_masks": list(item.values())}
    if missing := explicit - item.keys():
        raise ValueError(f"Item {index} of what inference returned lacks {missing.pop()}: names and masks go together.")
    return {name: list(item[name]) for name in explicit}


def _alignment(matrix: np.ndarray) -> dict[str, Any]:
    return {
        "points1": [],
        "points2": [],
        "confidence": [],
        "transform_matrix": matrix,
        "translation_matrix": matrix,
    }
