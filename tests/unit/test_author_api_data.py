"""What algorithms' authors may rely on in the family's own steps, in schemas, and in the files on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from tests.unit.author_world import link as link
from tests.unit.author_world import within
from voxloom import runner
from voxloom.runner import DataSchema, ImageSchema, family
from voxloom.runner.base import BaseRunner, execute, make
from voxloom.runner.exceptions import InvalidShape, WrongType
from voxloom.runner.handler import TaskHandler
from voxloom.testing import LocalLink

IMAGE = np.arange(6, dtype=np.uint16).reshape(2, 3)


# --- 3. the family's own steps ----------------------------------------------------------------------------

TWO_NAMES = {"region_names": ["a", "b"], "region_masks": [IMAGE, IMAGE]}
GIVEN: dict[str, tuple[str, Any, list[str]]] = {
    "Image2ImageRunner": ("image", np.zeros((2, 4, 5)), ["image"]),
    "Image2SegmentationRunner": ("image", np.zeros((2, 4, 5)), ["mask"]),
    "Segmentation2SegmentationRunner": ("mask", np.zeros((2, 4, 5)), ["mask"]),
    "Image2MultiRegionSegmentationRunner": ("image", [TWO_NAMES, {"c": IMAGE}], ["region_masks", "region_names"]),
    "Image2AlignmentRunner": (
        "image",
        [np.eye(3)],
        ["confidence", "points1", "points2", "transform_matrix", "translation_matrix"],
    ),
    "Image2EmbeddingRunner": ("image", np.zeros((2, 7)), ["features", "input_size", "original_size"]),
}
WRONG_COUNT: dict[str, Any] = {
    **dict.fromkeys(["Image2ImageRunner", "Image2SegmentationRunner"], np.zeros((3, 2, 3))),
    "Segmentation2SegmentationRunner": np.zeros((3, 2, 3)),
    "Image2MultiRegionSegmentationRunner": [{"c": IMAGE}],
    "Image2AlignmentRunner": [np.eye(3), np.eye(3)],
}
WRONG_TYPE: dict[str, tuple[Any, type[Exception]]] = {
    **dict.fromkeys(["Image2ImageRunner", "Image2SegmentationRunner"], ([IMAGE, IMAGE], AssertionError)),
    "Segmentation2SegmentationRunner": ([IMAGE, IMAGE], AssertionError),
    "Image2MultiRegionSegmentationRunner": (np.zeros((2, 2, 3)), TypeError),
    "Image2AlignmentRunner": (np.zeros((1, 3, 3)), AssertionError),
    "Image2EmbeddingRunner": ([IMAGE], AssertionError),
}


def returning(name: str, result: Any) -> type[BaseRunner]:
    class Mine(getattr(family, name)):  # type: ignore[misc]
        seen: list[Any] = []

        def inference(self, data: Any, args: Any, /) -> Any:
            self.seen.append(data)
            return result

    return Mine


def run_on_two(link: LocalLink, mine: type[BaseRunner], key: str) -> list[Path]:
    ids = [link.add({key: IMAGE + n}) for n in range(2)]
    return [link.files[one] for one in execute(make(mine, TaskHandler(link)), TaskHandler(link), inputs_of(ids))]


def inputs_of(ids: list[str]) -> dict[str, Any]:
    return {"input_dataset_ids": ids}


@pytest.mark.parametrize("name", GIVEN)
def test_a_family_member_stacks_its_inputs_and_writes_one_file_per_item(link: LocalLink, name: str) -> None:
    key, result, expected = GIVEN[name]
    mine: Any = returning(name, result)
    paths = run_on_two(link, mine, key)
    assert [sorted(h5py.File(path)) for path in paths] == [expected] * len(result)
    assert (mine.seen[0].shape, mine.seen[0].dtype) == ((2, 2, 3), np.uint16)


@pytest.mark.parametrize("name", WRONG_COUNT)
def test_a_wrong_count_is_an_error_of_either_kind(link: LocalLink, name: str) -> None:
    with pytest.raises(InvalidShape) as caught:
        run_on_two(link, returning(name, WRONG_COUNT[name]), GIVEN[name][0])
    assert {ValueError, AssertionError} <= set(type(caught.value).__mro__)


@pytest.mark.parametrize("name", WRONG_TYPE)
def test_a_wrong_type_is_the_error_that_compox_raises(link: LocalLink, name: str) -> None:
    result, error = WRONG_TYPE[name]
    with pytest.raises(error, match="inference returned"):
        run_on_two(link, returning(name, result), GIVEN[name][0])
    assert issubclass(WrongType, AssertionError)


def test_colour_images_are_stacked_with_their_planes(link: LocalLink) -> None:
    ids = [link.add({"image": np.zeros((3, 4, 5), np.float32)}) for _ in range(2)]
    mine: Any = returning("Image2ImageRunner", np.zeros((2, 1, 1)))
    execute(make(mine, TaskHandler(link)), TaskHandler(link), inputs_of(ids))
    assert mine.seen[0].shape == (2, 3, 4, 5)


def test_an_embedding_has_the_images_size(link: LocalLink) -> None:
    path = run_on_two(link, returning("Image2EmbeddingRunner", np.ones((2, 7))), "image")[0]
    with h5py.File(path) as file:
        assert (file["input_size"][()].tolist(), file["original_size"][()].tolist()) == ([2, 3], [2, 3])


def test_an_alignment_is_written_twice_with_empty_points(link: LocalLink) -> None:
    (path,) = run_on_two(link, returning("Image2AlignmentRunner", [np.eye(3) * 2]), "image")
    with h5py.File(path) as file:
        assert file["transform_matrix"][()].tolist() == file["translation_matrix"][()].tolist()
        assert [file[name].shape for name in ("points1", "points2", "confidence")] == [(0,)] * 3


def test_the_family_without_inference_says_it_is_not_implemented(link: LocalLink) -> None:
    one = link.add({"image": IMAGE})
    with pytest.raises(NotImplementedError, match="inference"):
        execute(make(runner.Image2ImageRunner, TaskHandler(link)), TaskHandler(link), inputs_of([one]))


@pytest.mark.parametrize("name", [*GIVEN])
def test_own_steps_may_call_the_familys_with_names(link: LocalLink, name: str) -> None:
    key, result, _ = GIVEN[name]

    class Mine(returning(name, result)):  # type: ignore[misc]
        def preprocess(self, input_data: Any, args: Any) -> Any:
            return super().preprocess(input_data=input_data, args=args)

        def postprocess(self, data: Any, args: Any) -> Any:
            return super().postprocess(data=data, args=args)

    assert len(run_on_two(link, Mine, key)) == len(result)


# --- 4. schemas -------------------------------------------------------------------------------------------

VERTICES, FACES = np.zeros((4, 3)), np.zeros((2, 3), np.int64)
FITTING: list[tuple[str, dict[str, Any], list[str]]] = [
    ("DataSchema", {}, []),
    ("GenericSchema", {"data": IMAGE}, ["data"]),
    ("SegmentationSchema", {"mask": IMAGE}, ["mask"]),
    ("MultiRegionSegmentationSchema", TWO_NAMES, ["region_masks", "region_names"]),
    ("ImageSchema", {"image": IMAGE}, ["image", "mask", "points"]),
    ("ImageSchema", {"image": IMAGE, "points": [np.zeros(2), np.ones(2)]}, ["image", "mask", "points"]),
    ("VolumeSchema", {"volume": np.zeros((2, 2, 2), bool)}, ["mask", "points", "stats", "volume"]),
    ("VolumeSchema", {"volume": np.zeros((2, 2, 2)), "stats": "s"}, ["mask", "points", "stats", "volume"]),
    ("MeshSchema", {"vertices": VERTICES, "faces": FACES}, ["faces", "stats", "vertices"]),
    ("AlignmentSchema", {}, ["confidence", "points1", "points2", "transform_matrix", "translation_matrix"]),
    (
        "EmbeddingSchema",
        {"features": np.zeros(3), "input_size": (2, 3), "original_size": (4, 5)},
        ["features", "input_size", "original_size"],
    ),
]
NOT_FITTING: list[tuple[str, dict[str, Any]]] = [
    ("GenericSchema", {}),
    ("SegmentationSchema", {"mask": [1]}),
    ("MultiRegionSegmentationSchema", {"region_names": ["a"], "region_masks": [IMAGE, IMAGE]}),
    ("MultiRegionSegmentationSchema", {"region_names": ["a"], "region_masks": [np.zeros(3)]}),
    ("MultiRegionSegmentationSchema", {"region_names": ["a", "b"], "region_masks": [IMAGE, IMAGE.T]}),
    ("ImageSchema", {"image": np.zeros((4, 2, 2), np.uint8)}),
    ("ImageSchema", {"image": np.zeros((2, 2), np.int32)}),
    ("ImageSchema", {"image": np.zeros((2, 2), ">u2")}),
    ("VolumeSchema", {"volume": IMAGE}),
    ("MeshSchema", {"vertices": VERTICES.astype(np.float32), "faces": FACES}),
    ("MeshSchema", {"vertices": VERTICES, "faces": FACES.astype(np.int32)}),
    ("MeshSchema", {"vertices": VERTICES[:, :2], "faces": FACES}),
    ("EmbeddingSchema", {"features": np.zeros(3), "input_size": (2, 3)}),
]


@pytest.mark.parametrize(("name", "item", "fields"), FITTING)
def test_a_schema_has_these_fields(link: LocalLink, name: str, item: Any, fields: list[str]) -> None:
    schema = getattr(runner, name)

    def step(self: Any) -> Any:
        return self.fetch_data(self.post_data([item], schema), schema)

    (found,) = within(link, step)
    assert sorted(found) == fields
    assert all(np.array_equal(found[key], value) for key, value in item.items())


@pytest.mark.parametrize(("name", "item"), NOT_FITTING)
def test_a_schema_refuses_what_does_not_fit(link: LocalLink, name: str, item: Any) -> None:
    with pytest.raises(ValidationError):
        within(link, lambda self: self.post_data([item], getattr(runner, name)))


def test_a_schema_of_ones_own_may_keep_what_it_does_not_name(link: LocalLink) -> None:
    class Open(DataSchema):
        model_config = ConfigDict(extra="allow")

    def step(self: Any) -> Any:
        return self.fetch_data(self.post_data([{"a": 1, "b": IMAGE}], Open), Open)

    (found,) = within(link, step)
    assert (found["a"], found["b"].tolist()) == (1, IMAGE.tolist())
    assert issubclass(Open, BaseModel)


# --- 4. HDF5, both ways -----------------------------------------------------------------------------------


class Field(DataSchema):
    model_config = ConfigDict(arbitrary_types_allowed=True)


def schema_of(annotation: Any) -> type[DataSchema]:
    return type("One", (Field,), {"__annotations__": {"value": annotation}, "value": None, "__module__": __name__})


RECORDS = np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")])
TEXT = "text"
# value, field, shape and dtype on disk (`text` for variable-length UTF-8), what is read back
ENCODINGS: dict[str, tuple[Any, Any, tuple[int, ...], Any, Any]] = {
    **{
        f"array of {dtype}": (np.ones((2, 3), dtype), np.ndarray, (2, 3), dtype, np.ones((2, 3), dtype))
        for dtype in ("bool", "int8", "uint16", "int64", "float16", "float64", "complex128")
    },
    "structured array": (RECORDS, np.ndarray, (1,), RECORDS.dtype, RECORDS),
    "array of rank 0": (np.array(2.5), np.ndarray, (), "float64", np.array(2.5)),
    "array of rank 5": (np.ones((1, 2, 1, 2, 1)), np.ndarray, (1, 2, 1, 2, 1), "float64", np.ones((1, 2, 1, 2, 1))),
    "empty array": (np.ones((0, 3)), np.ndarray, (0, 3), "float64", np.ones((0, 3))),
    "str": ("süß", str, (), TEXT, "süß"),
    "empty str": ("", str, (), TEXT, ""),
    "list of str": (["a", ""], list[str], (2,), TEXT, ["a", ""]),
    "tuple of str": (("a", "b"), list[str], (2,), TEXT, ["a", "b"]),
    "array of kind U": (np.array(["a", "b"]), Any, (2,), TEXT, ["a", "b"]),
    "array of kind S": (np.array([b"a", b"b"]), Any, (2,), TEXT, ["a", "b"]),
    "empty list": ([], list[np.ndarray], (0,), TEXT, []),
    "empty tuple": ((), list[float], (0,), TEXT, []),
    "list of arrays": ([IMAGE, IMAGE + 1], list[np.ndarray], (2, 2, 3), "uint16", [IMAGE, IMAGE + 1]),
    "list of arrays for an array": ([IMAGE, IMAGE], Any, (2, 2, 3), "uint16", np.stack([IMAGE, IMAGE])),
    "list of int": ([1, 2], list[int], (2,), "int64", [1, 2]),
    "list of float": ([1.5, 2], list[float], (2,), "float64", [1.5, 2.0]),
    "tuple of int": ((1, 2), tuple[int, int], (2,), "int64", (1, 2)),
    "int": (3, int, (), "int64", 3),
    "float": (2.5, float, (), "float64", 2.5),
    "bool": (True, bool, (), "bool", True),
}


@pytest.mark.parametrize("what", ENCODINGS)
def test_a_value_is_written_for_any_hdf5_library_and_read_back(link: LocalLink, what: str) -> None:
    value, annotation, shape, dtype, expected = ENCODINGS[what]
    schema = schema_of(annotation if annotation is Any else annotation | None)
    (one,) = within(link, lambda self: self.post_data([{"value": value}], schema))
    with h5py.File(link.files[one]) as file:
        assert (list(file), file["value"].shape) == (["value"], shape)
        assert_plain(file["value"], dtype)
    (found,) = within(link, lambda self: self.fetch_data([one], schema))
    assert_same(found["value"], expected)


def assert_plain(dataset: h5py.Dataset, dtype: Any) -> None:
    assert (dataset.chunks, dataset.compression, len(dataset.attrs)) == (None, None, 0)
    text = h5py.check_string_dtype(dataset.dtype)
    assert (text.encoding, text.length) == ("utf-8", None) if text else dataset.dtype == np.dtype(dtype)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert [type(one) for one in found] == [type(one) for one in expected]
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.flags.writeable) == (expected.dtype, True)
    np.testing.assert_array_equal(found, expected)


def test_none_is_no_dataset_and_reads_as_none(link: LocalLink) -> None:
    (one,) = within(link, lambda self: self.post_data([{"image": IMAGE, "mask": None}], ImageSchema))
    assert list(h5py.File(link.files[one])) == ["image"]
    (found,) = within(link, lambda self: self.fetch_data([one], ImageSchema))
    assert found["mask"] is None


@pytest.mark.parametrize(
    "value",
    [
        [np.zeros(2), np.zeros(3)],
        {"a": 1},
        b"nul\0",
        np.array(["2026-01-01"], "datetime64[D]"),
        np.array([object()]),
        [1, "a"],
    ],
    ids=["ragged", "dict", "NUL", "date", "objects", "mixed"],
)
def test_what_no_dataset_holds_is_refused_and_nothing_stored(link: LocalLink, value: Any) -> None:
    with pytest.raises(ValueError, match="value"):
        within(link, lambda self: self.post_data([{"value": 1}, {"value": value}], schema_of(Any)))
    assert link.files == {}


def test_a_group_in_an_input_is_passed_over(link: LocalLink, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "given.h5", "w") as file:
        file["image"] = IMAGE
        file["group/inner"] = IMAGE
    one = link.add_path(tmp_path / "given.h5")
    (found,) = within(link, lambda self: self.fetch_data([one], ImageSchema))
    assert found["image"].tolist() == IMAGE.tolist()


def test_files_of_other_programs_read_alike(link: LocalLink, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "given.h5", "w") as file:
        file.create_dataset("region_names", data=["a", "b"], dtype=h5py.string_dtype())
        file.create_dataset("region_masks", data=np.ones((2, 4, 4), np.uint8), compression="gzip")
    one = link.add_path(tmp_path / "given.h5")
    (found,) = within(link, lambda self: self.fetch_data([one], runner.MultiRegionSegmentationSchema))
    assert (found["region_names"], len(found["region_masks"])) == (["a", "b"], 2)
