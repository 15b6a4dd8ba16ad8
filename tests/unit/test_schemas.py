"""What the schemas let through, and how their fields come back from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import h5py
import numpy as np
import pytest
from pydantic import ConfigDict, ValidationError

from voxloom import testing
from voxloom.runner import (
    AlignmentSchema,
    DataSchema,
    EmbeddingSchema,
    GenericSchema,
    ImageSchema,
    InvalidDataset,
    MeshSchema,
    MultiRegionSegmentationSchema,
    SegmentationSchema,
    TaskHandler,
    VolumeSchema,
)

Files = tuple[TaskHandler, testing.LocalLink]

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
POINTS = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
VERTICES, FACES = np.zeros((4, 3)), np.zeros((2, 3), np.int64)
MATRIX = np.eye(3)

VALID: dict[str, tuple[type[DataSchema], dict[str, Any]]] = {
    "generic": (GenericSchema, {"data": np.zeros(3, bool)}),
    "generic of rank 0": (GenericSchema, {"data": np.array(3)}),
    "segmentation": (SegmentationSchema, {"mask": GREY}),
    "grey image": (ImageSchema, {"image": GREY, "mask": None, "points": None}),
    "colour image": (ImageSchema, {"image": np.zeros((3, 4, 5), np.float16), "mask": GREY, "points": POINTS}),
    "image with no points": (ImageSchema, {"image": GREY, "mask": None, "points": []}),
    "volume": (VolumeSchema, {"volume": np.zeros((2, 3, 4), np.int32), "mask": None, "points": POINTS, "stats": "é"}),
    "mesh": (MeshSchema, {"vertices": VERTICES, "faces": FACES, "stats": ""}),
    "regions": (MultiRegionSegmentationSchema, {"region_names": ["a", "b"], "region_masks": [GREY, GREY]}),
    "no regions": (MultiRegionSegmentationSchema, {"region_names": [], "region_masks": []}),
    "alignment": (
        AlignmentSchema,
        {
            "points1": POINTS,
            "points2": [],
            "confidence": [0.5, 1.0],
            "transform_matrix": MATRIX,
            "translation_matrix": None,
        },
    ),
    "embedding": (EmbeddingSchema, {"features": GREY, "input_size": (3, 4), "original_size": (30, 40)}),
}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    link = testing.LocalLink(tmp_path)
    return TaskHandler(link), link


@pytest.mark.parametrize(("schema", "item"), VALID.values(), ids=VALID)
def test_what_is_posted_can_be_fetched_alike(files: Files, schema: type[DataSchema], item: dict[str, Any]) -> None:
    handler, _ = files

    (fetched,) = handler.fetch_data(handler.post_data([item], schema), schema)

    assert_alike(fetched, item)


def assert_alike(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, strict=True)
        assert found.flags.writeable
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_alike(found[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == expected


INVALID: dict[str, tuple[type[DataSchema], dict[str, Any], str]] = {
    "field missing": (GenericSchema, {}, "Field required"),
    "a list is no array": (GenericSchema, {"data": [1, 2]}, "instance of ndarray"),
    "image 1-D": (ImageSchema, {"image": np.zeros(3)}, r"\(H, W\)"),
    "image with four channels": (ImageSchema, {"image": np.zeros((4, 5, 5))}, r"\(H, W\)"),
    "image with channels last": (ImageSchema, {"image": np.zeros((5, 5, 3))}, r"\(H, W\)"),
    "image of int32": (ImageSchema, {"image": np.zeros((5, 5), np.int32)}, "uint8, uint16"),
    "image of bool": (ImageSchema, {"image": np.zeros((5, 5), bool)}, "uint8, uint16"),
    "image in foreign byte order": (ImageSchema, {"image": np.zeros((5, 5), ">u2")}, "native byte order"),
    "volume 2-D": (VolumeSchema, {"volume": GREY}, "3-D"),
    "vertices float32": (MeshSchema, {"vertices": VERTICES.astype("f4"), "faces": FACES}, "float64"),
    "vertices 2-D points": (MeshSchema, {"vertices": VERTICES[:, :2], "faces": FACES}, r"\(N, 3\)"),
    "faces int32": (MeshSchema, {"vertices": VERTICES, "faces": FACES.astype("i4")}, "int64"),
    "names without masks": (
        MultiRegionSegmentationSchema,
        {"region_names": ["a"], "region_masks": []},
        "1 region_names for 0",
    ),
    "mask 3-D": (MultiRegionSegmentationSchema, {"region_names": ["a"], "region_masks": [np.zeros((1, 2, 3))]}, "2-D"),
    "masks of two shapes": (
        MultiRegionSegmentationSchema,
        {"region_names": ["a", "b"], "region_masks": [GREY, GREY.T]},
        "one shape",
    ),
    "sizes missing": (EmbeddingSchema, {"features": GREY}, "input_size"),
}


@pytest.mark.parametrize(("schema", "item", "reason"), INVALID.values(), ids=INVALID)
def test_an_item_that_does_not_fit_is_refused(
    files: Files, schema: type[DataSchema], item: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        files[0].post_data([item], schema)


class TestPosting:
    @pytest.mark.parametrize(
        "bad", [{"image": np.zeros(3)}, {"image": GREY, "points": [np.zeros(1), np.zeros(2)]}, None]
    )
    def test_one_bad_item_leaves_nothing_behind(self, files: Files, tmp_path: Path, bad: Any) -> None:
        with pytest.raises((ValidationError, InvalidDataset)):
            files[0].post_data([{"image": GREY}, bad], ImageSchema)

        assert list(tmp_path.iterdir()) == []

    def test_the_error_tells_which_item_is_meant(self, files: Files) -> None:
        with pytest.raises(ValidationError) as caught:
            files[0].post_data([{"image": GREY}, {}], ImageSchema)

        assert caught.value.__notes__ == ["in item 1 of post_data; nothing has been stored"]

    def test_none_is_not_written_and_other_keys_are_dropped(self, files: Files) -> None:
        handler, link = files
        (file_id,) = handler.post_data([{"image": GREY, "mask": None, "extra": 1}], ImageSchema)

        with h5py.File(link.files[file_id]) as file:
            assert list(file) == ["image"]

    def test_nothing_to_post_gives_no_ids(self, files: Files) -> None:
        assert files[0].post_data([], ImageSchema) == []

    def test_the_third_argument_may_be_positional(self, files: Files) -> None:
        assert len(files[0].post_data([{"image": GREY}], ImageSchema, True)) == 1

    def test_an_instance_of_the_schema_is_as_good_as_a_dict(self, files: Files) -> None:
        assert len(files[0].post_data([ImageSchema(image=GREY)], ImageSchema)) == 1

    def test_a_dict_in_place_of_a_list_is_refused(self, files: Files) -> None:
        with pytest.raises(ValueError, match="put the dict into a list"):
            files[0].post_data(cast(Any, {"image": GREY}), ImageSchema)


class TestFetching:
    def test_every_field_is_a_key_and_nothing_else(self, files: Files) -> None:
        handler, link = files
        file_id = link.add({"image": GREY, "unrelated": 1})

        assert set(handler.fetch_data([file_id], ImageSchema)[0]) == {"image", "mask", "points"}

    def test_keys_limit_what_is_read(self, files: Files) -> None:
        handler, link = files
        file_id = link.add({"image": GREY, "mask": GREY})

        assert handler.fetch_data([file_id], ImageSchema, "image")[0]["mask"] is None

    def test_a_named_dataset_that_is_absent_reads_as_none(self, files: Files) -> None:
        handler, link = files
        file_id = link.add({"transform_matrix": MATRIX})

        fetched = handler.fetch_data([file_id], AlignmentSchema, "points1", "transform_matrix")[0]

        assert (fetched["points1"], fetched["points2"]) == (None, [])

    @pytest.mark.parametrize("keys", [(), ("image",), ("mask",)])
    def test_a_needed_dataset_that_is_absent_is_refused(self, files: Files, keys: tuple[str, ...]) -> None:
        handler, link = files
        file_id = link.add({"mask": GREY})

        with pytest.raises(ValidationError, match="image") as caught:
            handler.fetch_data([file_id], ImageSchema, *keys)
        assert caught.value.__notes__ == [f"while reading the file {file_id}, which holds mask"]

    def test_the_bare_schema_gives_empty_dicts(self, files: Files) -> None:
        handler, link = files

        assert handler.fetch_data([link.add({"data": 1})], DataSchema) == [{}]

    def test_files_come_in_the_order_asked_for(self, files: Files) -> None:
        handler, link = files
        ids = [link.add({"data": np.array([number])}) for number in range(3)]

        fetched = handler.fetch_data(ids[::-1], GenericSchema, parallel=True)

        assert [int(item["data"][0]) for item in fetched] == [2, 1, 0]

    def test_an_unknown_file_is_refused(self, files: Files) -> None:
        with pytest.raises(ValueError, match="no file nowhere"):
            files[0].fetch_data(["nowhere"], GenericSchema)

    def test_a_single_id_in_place_of_a_list_is_refused(self, files: Files) -> None:
        with pytest.raises(ValueError, match="put a single id into a list"):
            files[0].fetch_data("abc", GenericSchema)

    def test_no_ids_give_no_items(self, files: Files) -> None:
        assert files[0].fetch_data([], GenericSchema) == []


class TestSchemasOfAuthors:
    def test_extra_datasets_are_kept_where_the_schema_allows_them(self, files: Files) -> None:
        class Open(DataSchema):
            model_config = ConfigDict(extra="allow")
            data: np.ndarray

        handler, _ = files
        item = {"data": GREY, "note": "n", "count": 2, "weights": np.ones(2)}

        (fetched,) = handler.fetch_data(handler.post_data([item], Open), Open)

        assert_alike({**fetched, "count": int(fetched["count"])}, item)

    def test_fields_decide_between_arrays_lists_and_numbers(self, files: Files) -> None:
        class Mixed(DataSchema):
            array: Annotated[np.ndarray, "pixels"]
            arrays: tuple[np.ndarray, ...] | None
            numbers: list[int]
            pairs: list[list[float]]
            size: tuple[int, int]
            number: float
            flag: bool

        handler, _ = files
        item = {
            "array": np.array(1.5),
            "arrays": (GREY, GREY),
            "numbers": [1, 2],
            "pairs": [[1.0, 2.0], [3.0, 4.0]],
            "size": (3, 4),
            "number": 0.5,
            "flag": True,
        }

        (fetched,) = handler.fetch_data(handler.post_data([item], Mixed), Mixed)

        assert_alike(fetched, item)


def test_the_public_name_of_the_schemas_holds_them_all() -> None:
    from voxloom.runner import io_schemas, schemas

    assert sorted(io_schemas.__all__) == sorted(schemas.__all__)
