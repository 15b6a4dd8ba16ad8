"""What a training learns from, as its author indexes it; the folder it keeps its data in; what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from voxloom.runner import ImageSchema
from voxloom.runner.plain import NotPlain, plain_dict
from voxloom.runner.tempstore import PathOutside, TempStore
from voxloom.runner.training import KeysDiffer, SampleManifest, TrainingDataset, TrainingSample


def sample(name: str, *entries: dict[str, list[str]], tags: tuple[str, ...] = ()) -> TrainingSample:
    return TrainingSample(SampleManifest(name, entries, tags))


FIRST = sample("s1", {"image": ["a", "b"], "mask": ["m"]}, {"image": ["c"], "mask": []}, tags=(" Big ", "big", "Red"))
SECOND = sample("s2", {"image": ["d"], "mask": ["n"]})
DATASET = TrainingDataset([FIRST, SECOND])


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, {"image": ["a", "b"], "mask": ["m"]}),
        (slice(1, 2), [{"image": ["c"], "mask": []}]),
        ((0, "image"), ["a", "b"]),
        ((slice(None), "image"), ["a", "b", "c"]),
        ((slice(None), slice(None)), ["a", "b", "m", "c"]),
        ((np.int64(1), "image"), ["c"]),
    ],
)
def test_a_sample_is_indexed_by_entry_and_key(index: Any, value: Any) -> None:
    assert FIRST[index] == value


@pytest.mark.parametrize(
    ("index", "value"),
    [
        ((0, "image"), ["a", "b", "c"]),
        ((1, slice(None)), ["d", "n"]),
        ((slice(None), "mask"), [["m"], ["n"]]),
        ((slice(0, 1), "image"), [["a", "b", "c"]]),
        ((slice(None), slice(None)), [["a", "b", "m", "c"], ["d", "n"]]),
    ],
)
def test_a_dataset_gives_ids_flat_for_one_sample_and_in_lists_for_several(index: Any, value: Any) -> None:
    assert DATASET[index] == value


def test_a_dataset_is_a_sequence_of_samples() -> None:
    assert (DATASET[0], DATASET[0:2], list(DATASET), len(DATASET)) == (FIRST, [FIRST, SECOND], [FIRST, SECOND], 2)
    assert (DATASET.get_sample_by_id("s2"), DATASET.get_sample_by_id("x")) == (SECOND, None)
    assert DATASET.get_all_samples() == [FIRST, SECOND]
    assert DATASET.get_sample_keys() == ["image", "mask"]
    assert DATASET.get_all_file_lists() == [["a", "b", "m", "c"], ["d", "n"]]


def test_datasets_add_up() -> None:
    both = TrainingDataset([FIRST]) + TrainingDataset([SECOND])
    both.add_sample(sample("s3", {"image": [], "mask": []}))
    assert [one.sample_id for one in both] == ["s1", "s2", "s3"]


@pytest.mark.parametrize("index", ["image", 1.5, None, (0,), (0, 1), ("image", 0), (0, "image", 1)])
def test_other_indices_are_a_type_error(index: Any) -> None:
    with pytest.raises(TypeError):
        DATASET[index]


def test_a_key_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="image, mask"):
        FIRST[0, "points"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainingDataset([FIRST, sample("s", {"image": []})]),
        lambda: sample("s", {"image": []}, {"mask": []}),
    ],
)
def test_keys_that_differ_are_a_value_error(make: Any) -> None:
    with pytest.raises(KeysDiffer):
        make()
    assert issubclass(KeysDiffer, ValueError)


def test_tags_are_folded_and_asked_for() -> None:
    tagged = sample("s", {"image": []}, tags=(" Big ", "big", "Red"))
    assert tagged.sample_manifest.tags == ["big", "red"]
    assert (tagged.check_tags(["BIG"], ["blue"]), tagged.check_tags(["big"], ["red"])) == (True, False)
    tagged.add_tags(["Blue"])
    assert tagged.check_tags(["blue"])


def test_lists_of_a_sample() -> None:
    assert (FIRST.get_file_list(), FIRST.get_key_list(), len(FIRST)) == (["a", "b", "m", "c"], ["image", "mask"], 2)


# --- the temp store ---


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    store = TempStore(tmp_path)
    images = [np.full((2, 3), value, np.uint8) for value in (1, 2)]
    paths = store.save("deep/folder", [{"image": image, "other": 1} for image in images], ImageSchema)
    loaded = store.load(paths, False, "image", "absent")
    assert [Path(path).parent for path in paths] == [tmp_path / "deep" / "folder"] * 2
    assert [(item["image"].tolist(), item["absent"]) for item in loaded] == [(image.tolist(), None) for image in images]


def test_nothing_is_saved_if_one_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        TempStore(tmp_path).save("f", [{"image": np.zeros((2, 2), np.uint8)}, {"image": "no image"}], ImageSchema)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../../x", "..\\x", "nul\0"])
def test_paths_stay_inside(tmp_path: Path, path: str) -> None:
    with pytest.raises((PathOutside, ValueError)):
        TempStore(tmp_path / "root").mkdir(path)
    assert not (tmp_path / "x").exists()


def test_a_store_of_its_own_goes_with_its_block() -> None:
    with TempStore() as store:
        store.mkdir("a")
        root = store.root
    assert not root.exists()


# --- what JSON holds ---


def test_numpy_becomes_what_json_has() -> None:
    told = {"loss": np.float32(0.5), "steps": np.int64(3), "curve": np.arange(2), 1: (True, None), "bad": float("nan")}
    assert plain_dict(told, "it") == {"loss": 0.5, "steps": 3, "curve": [0, 1], "1": [True, None], "bad": None}


@pytest.mark.parametrize("value", [{"a": object()}, {"a": b"x"}, {("t",): 1}, [1], None])
def test_what_json_cannot_hold_is_refused_and_named(value: Any) -> None:
    with pytest.raises(NotPlain, match="it"):
        plain_dict(value, "it")


def test_what_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(NotPlain, match="contains itself"):
        plain_dict(value, "it")


def test_a_temp_store_of_one_s_own_lies_where_it_is_told(tmp_path: Path) -> None:
    base = tmp_path / "scratch" / "mine"

    with TempStore(base_dir=base, prefix="epoch-") as store:
        root = store.root

    assert (root.parent, root.name.startswith("epoch-")) == (base, True)
    assert (root.exists(), base.exists()) == (False, True)


@pytest.mark.parametrize("prefix", ["../out-", "a/b", "a\\b", "a\0b"])
def test_a_prefix_leads_nowhere_else(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(PathOutside):
        TempStore(base_dir=tmp_path / "base", prefix=prefix)

    assert list(tmp_path.iterdir()) == []
