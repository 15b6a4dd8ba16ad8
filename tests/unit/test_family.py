"""What each class of the family does by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from voxloom import testing
from voxloom.runner import (
    BaseRunner,
    GenericSchema,
    Image2AlignmentRunner,
    Image2EmbeddingRunner,
    Image2ImageRunner,
    Image2MultiRegionSegmentationRunner,
    Image2SegmentationRunner,
    ImageSchema,
    InvalidShape,
    Segmentation2SegmentationRunner,
    TaskHandler,
    WrongType,
)
from voxloom.runner.base import execute, make

STACK = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
COLOURS = np.zeros((2, 3, 4, 5), np.float32)
FAMILY: dict[str, type[BaseRunner]] = {
    "Image2Image": Image2ImageRunner,
    "Image2Segmentation": Image2SegmentationRunner,
    "Image2MultiRegionSegmentation": Image2MultiRegionSegmentationRunner,
    "Image2Alignment": Image2AlignmentRunner,
    "Image2Embedding": Image2EmbeddingRunner,
    "Segmentation2Segmentation": Segmentation2SegmentationRunner,
}


def returning(base: type[Any], result: Any) -> type[BaseRunner]:
    """A Runner of that type whose inference returns `result`, or what it makes of its data."""

    class Returning(base):  # type: ignore[misc]  # mypy takes no variable for a base class
        def inference(self, data: Any, args: Any) -> Any:
            return result(data) if callable(result) else result

    return Returning


@pytest.mark.parametrize(("name", "runner"), FAMILY.items())
def test_a_class_is_named_after_its_algorithm_type(name: str, runner: type[BaseRunner]) -> None:
    assert (runner.algorithm_type, runner.__name__) == (name, f"{name}Runner")


@pytest.mark.parametrize("runner", FAMILY.values(), ids=FAMILY)
def test_a_class_without_inference_says_so(runner: type[BaseRunner]) -> None:
    with pytest.raises(NotImplementedError, match="defines no inference"):
        testing.run(runner, STACK)


@pytest.mark.parametrize("inputs", [STACK, COLOURS, COLOURS.astype(np.float16)], ids=["grey", "colour", "float16"])
@pytest.mark.parametrize("runner", [runner for name, runner in FAMILY.items() if name.startswith("Image2")])
def test_images_are_stacked_along_a_first_axis(runner: type[BaseRunner], inputs: np.ndarray) -> None:
    assert_stacked(runner, inputs)


def test_masks_are_stacked_along_a_first_axis() -> None:
    assert_stacked(Segmentation2SegmentationRunner, STACK.astype(np.int32))


def assert_stacked(runner: type[BaseRunner], inputs: np.ndarray) -> None:
    seen: list[np.ndarray] = []

    class Seeing(runner):  # type: ignore[misc,valid-type]  # mypy takes no variable for a base class
        def inference(self, data: Any, args: Any) -> Any:
            seen.append(data)

        def postprocess(self, data: Any, args: Any = None) -> list[str]:
            return []

    testing.run(Seeing, inputs)
    np.testing.assert_array_equal(seen[0], inputs, strict=True)
    assert seen[0].flags.writeable


class TestOutputs:
    def test_images(self) -> None:
        outputs = testing.run(returning(Image2ImageRunner, lambda data: data + 1), STACK)

        np.testing.assert_array_equal([output["image"] for output in outputs], STACK + 1)

    @pytest.mark.parametrize("runner", [Image2SegmentationRunner, Segmentation2SegmentationRunner])
    def test_masks(self, runner: type[BaseRunner]) -> None:
        outputs = testing.run(returning(runner, lambda data: data > 3), STACK)

        np.testing.assert_array_equal([output["mask"] for output in outputs], STACK > 3)

    @pytest.mark.parametrize(
        "item",
        [
            {"a": STACK[0], "b": STACK[1]},
            {"region_names": ("a", "b"), "region_masks": (STACK[0], STACK[1])},
            {"region_names": ["a", "b"], "region_masks": STACK[:2]},
        ],
    )
    def test_regions_in_either_form(self, item: dict[str, Any]) -> None:
        outputs = testing.run(returning(Image2MultiRegionSegmentationRunner, [item] * 3), STACK)

        assert [output["region_names"] for output in outputs] == [["a", "b"]] * 3
        np.testing.assert_array_equal(outputs[0]["region_masks"], STACK[:2])

    def test_alignments(self, tmp_path: Path) -> None:
        matrices = [np.eye(3), np.eye(3) * 2]
        outputs = testing.run(returning(Image2AlignmentRunner, matrices), STACK)

        assert [output["points1"] + output["points2"] + output["confidence"] for output in outputs] == [[], []]
        for name in ("transform_matrix", "translation_matrix"):
            np.testing.assert_array_equal([output[name] for output in outputs], matrices)

    def test_embeddings_with_the_sizes_of_their_images(self) -> None:
        outputs = testing.run(returning(Image2EmbeddingRunner, np.ones((3, 7))), STACK)

        assert [output["features"].shape for output in outputs] == [(7,)] * 3
        assert [list(outputs[0][name]) for name in ("input_size", "original_size")] == [[4, 5], [4, 5]]

    def test_height_and_width_are_free_to_change(self) -> None:
        outputs = testing.run(returning(Image2ImageRunner, np.zeros((3, 8, 10))), STACK)

        assert outputs[2]["image"].shape == (8, 10)


WRONG_COUNTS: dict[str, tuple[type[BaseRunner], Any, str]] = {
    "images": (Image2ImageRunner, STACK[:2], "2 items where 3"),
    "masks of images": (Image2SegmentationRunner, STACK[:2], "2 items where 3"),
    "masks of masks": (Segmentation2SegmentationRunner, STACK[:2], "2 items where 3"),
    "regions": (Image2MultiRegionSegmentationRunner, [{}], "1 items where 3"),
    "matrices": (Image2AlignmentRunner, [np.eye(3)] * 3, "3 items where 2"),
}


@pytest.mark.parametrize(("runner", "result", "reason"), WRONG_COUNTS.values(), ids=WRONG_COUNTS)
@pytest.mark.parametrize("kind", [ValueError, AssertionError, InvalidShape])
def test_a_wrong_count_is_an_error_of_either_kind(
    runner: type[BaseRunner], result: Any, reason: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=reason):
        testing.run(returning(runner, result), STACK)


WRONG_TYPES: dict[str, tuple[type[BaseRunner], Any, type[Exception], str]] = {
    "images": (Image2ImageRunner, list(STACK), AssertionError, "a list: return one numpy array"),
    "one number": (Image2ImageRunner, np.array(1.0), ValueError, "a single number"),
    "masks of images": (Image2SegmentationRunner, None, AssertionError, "None: return one numpy array"),
    "masks of masks": (Segmentation2SegmentationRunner, {}, AssertionError, "a dict: return one numpy array"),
    "features": (Image2EmbeddingRunner, list(STACK), AssertionError, "a list: return one numpy array"),
    "regions as an array": (Image2MultiRegionSegmentationRunner, STACK, TypeError, "one dict per image"),
    "regions without dicts": (Image2MultiRegionSegmentationRunner, list(STACK), TypeError, "Item 0 .* a numpy array"),
    "names without masks": (
        Image2MultiRegionSegmentationRunner,
        [{"region_names": ["a"]}] * 3,
        ValueError,
        "lacks region_masks",
    ),
    "masks that differ in shape": (
        Image2MultiRegionSegmentationRunner,
        [{"a": STACK[0], "b": STACK[0].T}] * 3,
        ValidationError,
        "one shape",
    ),
    "matrices as an array": (Image2AlignmentRunner, np.zeros((2, 3, 3)), AssertionError, "a list of arrays"),
    "matrices as lists": (Image2AlignmentRunner, [[[1.0]], [[1.0]]], AssertionError, "a list of arrays"),
}


@pytest.mark.parametrize(("runner", "result", "kind", "reason"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_result_of_another_type_is_refused(
    runner: type[BaseRunner], result: Any, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        testing.run(returning(runner, result), STACK)


def test_wrong_types_are_errors_of_three_kinds() -> None:
    assert issubclass(WrongType, ValueError)
    assert issubclass(WrongType, TypeError)
    assert issubclass(WrongType, AssertionError)


class TestInputs:
    def test_images_of_two_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"Input 1 has image of shape \(5, 4\), input 0 of \(4, 5\)"):
            testing.run(returning(Image2ImageRunner, STACK), [STACK[0], STACK[0].T])

    def test_images_of_two_dtypes_meet_in_one_that_holds_both(self) -> None:
        outputs = testing.run(returning(Image2ImageRunner, lambda data: data), [STACK[0], STACK[1].astype(np.float32)])

        np.testing.assert_array_equal([output["image"] for output in outputs], STACK[:2].astype(np.float32))
        assert outputs[0]["image"].dtype == np.float32

    def test_no_images_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no input files"):
            testing.run(returning(Image2ImageRunner, STACK), [])

    def test_a_file_without_an_image_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="image"):
            testing.run(returning(Image2ImageRunner, STACK), {"mask": STACK[0]})


class TestOwnSteps:
    def test_an_own_fetch_data_is_used_by_the_default_preprocess(self) -> None:
        class Doubling(Image2ImageRunner):
            def fetch_data(self, file_ids: Any, *keys: Any, parallel: bool = False) -> list[dict[str, Any]]:
                items = super().fetch_data(file_ids, *keys, parallel=parallel)
                return [{"image": item["image"] * 2} for item in items]

            def inference(self, data: Any, args: Any) -> Any:
                return data

        np.testing.assert_array_equal(testing.run(Doubling, STACK[0])[0]["image"], STACK[0] * 2)

    def test_the_count_can_be_set_by_an_own_preprocess(self) -> None:
        class Pairing(Image2ImageRunner):
            def preprocess(self, input_data: dict[str, Any], args: Any = None) -> Any:
                self._input_images_count = 1
                return STACK[:1]

            def inference(self, data: Any, args: Any) -> Any:
                return data

        assert len(testing.run(Pairing, STACK)) == 1

    def test_an_own_preprocess_that_sets_no_count_is_told_so(self) -> None:
        class Forgetting(Image2ImageRunner):
            def preprocess(self, input_data: dict[str, Any], args: Any = None) -> Any:
                return STACK

            def inference(self, data: Any, args: Any) -> Any:
                return data

        with pytest.raises(AttributeError, match=r"self\._input_images_count"):
            testing.run(Forgetting, STACK)

    def test_the_shape_of_the_inputs_is_kept_for_an_own_postprocess(self) -> None:
        class Looking(Image2SegmentationRunner):
            def inference(self, data: Any, args: Any) -> Any:
                return None

            def postprocess(self, data: Any, args: Any = None) -> list[str]:
                return [str(self._input_images_shape)]

        assert testing.run(Looking, STACK).ids == ["(3, 4, 5)"]

    def test_another_schema_goes_through_the_task_handler(self) -> None:
        class Other(Image2ImageRunner):
            def preprocess(self, input_data: dict[str, Any], args: Any = None) -> Any:
                return self.task_handler.fetch_data(input_data["input_dataset_ids"], GenericSchema)

            def inference(self, data: Any, args: Any) -> Any:
                return data

            def postprocess(self, data: Any, args: Any = None) -> list[str]:
                return self.task_handler.post_data(data, GenericSchema)

        np.testing.assert_array_equal(testing.run(Other, {"data": STACK})[0]["data"], STACK)

    def test_a_schema_in_place_of_a_key_is_refused(self) -> None:
        class Confused(Image2ImageRunner):
            def preprocess(self, input_data: dict[str, Any], args: Any = None) -> Any:
                return self.fetch_data(input_data["input_dataset_ids"], ImageSchema, "image")

        with pytest.raises(ValueError, match=r"self\.task_handler\.fetch_data"):
            testing.run(Confused, STACK)


def test_outputs_are_files_that_plain_h5py_reads(tmp_path: Path) -> None:
    link = testing.LocalLink(tmp_path)
    input_ids = [link.add({"image": image}) for image in STACK]
    runner = make(returning(Image2AlignmentRunner, [np.eye(3)] * 2), TaskHandler(link))
    ids = execute(runner, TaskHandler(link), {"input_dataset_ids": input_ids})

    with h5py.File(link.files[ids[0]]) as file:
        shapes = {name: dataset.shape for name, dataset in file.items()}

    empty = {"points1": (0,), "points2": (0,), "confidence": (0,)}
    assert shapes == {"transform_matrix": (3, 3), "translation_matrix": (3, 3), **empty}
