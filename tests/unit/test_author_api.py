"""Every name that an algorithm's author may call, one test each: it is there, under these names, and does its work.

Names and parameter names are also those of Compox, whose algorithms run unchanged.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.unit.author_world import Steps, add_sample, learning, within
from tests.unit.author_world import link as link
from tests.unit.author_world import lonely as lonely
from tests.unit.author_world import names as names
from voxloom import errors, runner, testing
from voxloom.runner import AssetNotFound, BaseRunner, ImageSchema, InvalidOutputs, NoRun, family
from voxloom.runner.base import execute, make, train
from voxloom.runner.context import current_runner_context
from voxloom.runner.exceptions import CheckpointError, FileUnknown, NoSession, NoTraining, NotTrainable, StateError
from voxloom.runner.handler import TaskHandler
from voxloom.runner.training import KeysDiffer, SampleNotFound, TrainingDataset
from voxloom.runner.traininghandler import CheckpointInvalid, SchemaMissing, TrainingHandler
from voxloom.testing import LocalLink

ONE = {"input_dataset_ids": ["one"]}
IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)


# --- 0. import names --------------------------------------------------------------------------------------

FAMILY = [
    *("Image2ImageRunner", "Image2SegmentationRunner", "Image2MultiRegionSegmentationRunner"),
    *("Image2AlignmentRunner", "Image2EmbeddingRunner", "Segmentation2SegmentationRunner"),
]
NAMES = {
    **{f"algorithm_utils.{name}": [name] for name in ("BaseRunner", *FAMILY)},
    "algorithm_utils.io_schemas": ["DataSchema", "ImageSchema", "VolumeSchema", "MeshSchema"],
    "algorithm_utils.runner_context": ["current_runner_context"],
    "algorithm_utils.LocalDebugSession": ["LocalDebugSession"],
    "algorithm_debug": ["debug"],
    "exceptions": ["CompoxError", "CompoxAssetError"],
    "tasks.TaskHandler": ["TaskHandler", "TaskStoppedException"],
    "tasks.DebuggingTaskHandler": ["DebuggingTaskHandler"],
    "tasks.context_handler": ["current_handler"],
    "tasks.context_task_handler": ["current_task_handler"],
    **{f"training.{name}": [name] for name in ("TrainingHandler", "TrainingDataset", "TrainingSample")},
    **{f"training.{name}": [name] for name in ("SampleManifest", "TempStore", "DebuggingTrainingHandler")},
    **{f"session.{name}": [name] for name in ("TaskSession", "DataCache")},
    "server_utils": [
        *("generate_uuid", "check_system_gpu_availability", "check_torch_with_cuda_available"),
        "check_mps_availability",
    ],
}
IN_CHILD = """
import importlib, multiprocessing, sys

def missing(names):
    import os
    return [f"{module}.{name}" for module, several in names.items() for name in several
            if not hasattr(importlib.import_module(f"compox.{module}"), name)], os.getpid()

if __name__ == "__main__":
    import os
    from voxloom.compat import install
    install()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        absent, pid = pool.apply(missing, (%r,))
    print(absent, pid != os.getpid())
"""


@pytest.mark.parametrize("module", NAMES)
def test_an_import_name_resolves(names: None, module: str) -> None:
    found = importlib.import_module(f"compox.{module}")
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


def test_import_names_resolve_in_spawned_children(tmp_path: Path) -> None:
    (tmp_path / "pools.py").write_text(IN_CHILD % NAMES)
    done = subprocess.run([sys.executable, "pools.py"], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.stdout.split() == ["[]", "True"], done.stderr


# --- 1. what authors implement ----------------------------------------------------------------------------


def test_init_runs_before_load_assets_and_again_in_every_run(link: LocalLink) -> None:
    calls: list[str] = []

    class Mine(Steps):
        def __init__(self) -> None:
            calls.append("init")
            self.model = "mine"
            self.fresh: list[int] = []

        def load_assets(self) -> None:
            calls.append("load" if self.fresh == [] else "stale")
            self.model = "loaded"

        def inference(self, data: Any, args: Any, /) -> Any:
            calls.append(f"run {self.model} {self.fresh}")
            self.fresh.append(1)
            return data

    made = make(Mine, TaskHandler(link))
    for _ in range(2):
        execute(made, TaskHandler(link), ONE)
    assert calls == ["init", "load", "init", "run loaded []", "init", "run loaded []"]


def test_init_with_required_arguments_is_a_clear_error(link: LocalLink) -> None:
    class Mine(Steps):
        def __init__(self, size: int) -> None:
            self.size = size

    with pytest.raises(errors.InvalidInput, match="without arguments"):
        make(Mine, TaskHandler(link))


def test_load_assets_may_call_the_api_and_locks_what_it_sets(link: LocalLink) -> None:
    class Mine(Steps):
        def load_assets(self) -> None:
            self.weights = self.fetch_asset("files/weights.bin").getvalue()
            self.log_message("loaded")

        def inference(self, data: Any, args: Any, /) -> Any:
            self.weights = b""

    with pytest.raises(AttributeError, match="weights"):
        execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE)
    assert link.lines == [("INFO", "loaded")]


def test_steps_are_called_positionally_whatever_their_parameters_are_called(link: LocalLink) -> None:
    class Mine(BaseRunner):
        def preprocess(self, source, parameters):  # type: ignore[no-untyped-def]
            return source

        def inference(self, model, preprocessed_data, args={}):  # type: ignore[no-untyped-def]  # noqa: B006
            return model, preprocessed_data, args

        def postprocess(self, result, _, more="default"):  # type: ignore[no-untyped-def]
            return [repr(result), more]

    given = execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE, {"a": 1})
    assert given == ["({'input_dataset_ids': ['one']}, {'a': 1}, {})", "default"]


@pytest.mark.parametrize("outputs", [["This is Foo!"], ["one"], [], ("a", "b")])
def test_postprocess_gives_any_list_of_texts(link: LocalLink, outputs: Any) -> None:
    class Mine(Steps):
        def postprocess(self, data: Any, args: Any) -> Any:
            return outputs

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE) == list(outputs)


@pytest.mark.parametrize("outputs", [None, "text", {"a": 1}, [1]])
def test_postprocess_gives_nothing_else(link: LocalLink, outputs: Any) -> None:
    class Mine(Steps):
        def postprocess(self, data: Any, args: Any) -> Any:
            return outputs

    with pytest.raises(InvalidOutputs, match="postprocess returned"):
        execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE)


def test_train_gets_the_ids_of_samples(link: LocalLink) -> None:
    given: list[Any] = []

    class Mine(Steps):
        def train(self, training_data: list[str], args: Any) -> None:
            given.append((training_data, args))
            self.save_checkpoint({"files/weights.bin": b"x"})

    train(make(Mine, TrainingHandler(link)), TrainingHandler(link), ["s1"], {"epochs": 2})
    assert given == [(["s1"], {"epochs": 2})]


def test_without_train_it_is_not_implemented(link: LocalLink) -> None:
    with pytest.raises(NotImplementedError, match="cannot be trained"):
        train(make(Steps, TrainingHandler(link)), TrainingHandler(link), ["s1"])
    assert issubclass(NotTrainable, NotImplementedError)


@pytest.mark.parametrize(("found", "kept"), [({"s": np.float32(0.5)}, {"s": 0.5}), (None, {}), ({}, {})])
def test_benchmark_gives_json(link: LocalLink, found: Any, kept: Any) -> None:
    class Mine(Steps):
        def benchmark(self, args: Any) -> Any:
            return found

    assert testing.benchmark(Mine) == kept


@pytest.mark.parametrize("name", FAMILY)
def test_algorithm_type_is_the_types_name(name: str) -> None:
    assert (getattr(family, name).algorithm_type, BaseRunner.algorithm_type) == (name.removesuffix("Runner"), "Generic")


@pytest.mark.parametrize(("args", "same"), [({"a": 1}, True), ({}, False), (None, False)])
def test_args_are_one_dict_for_all_steps_unless_empty(link: LocalLink, args: Any, same: bool) -> None:
    class Mine(Steps):
        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            args["added"] = True

        def postprocess(self, data: Any, args: Any) -> Any:
            return [str("added" in args)]

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE, args) == [str(same)]


def test_a_class_that_lacks_a_step_cannot_be_loaded(link: LocalLink) -> None:
    class Mine(BaseRunner):
        def preprocess(self, input_data: Any, args: Any) -> Any: ...

    with pytest.raises(TypeError, match="inference, postprocess"):
        make(Mine, TaskHandler(link))


# --- 2. what authors call ---------------------------------------------------------------------------------


def test_fetch_data_gives_every_field_of_the_schema(link: LocalLink) -> None:
    one = link.add({"image": IMAGE, "other": 1})
    (found,) = within(link, lambda self: self.fetch_data(file_ids=[one], pydantic_data_schema=ImageSchema))
    assert (found.keys(), found["mask"], found["image"].flags.writeable) == ({"image", "mask", "points"}, None, True)


def test_fetch_data_reads_the_named_keys_only(link: LocalLink) -> None:
    one = link.add({"image": IMAGE, "mask": IMAGE})
    (found,) = within(link, lambda self: self.fetch_data([one], ImageSchema, "image", parallel=True))
    assert (found["mask"], found["image"].tolist()) == (None, IMAGE.tolist())


@pytest.mark.parametrize("error", [KeyError, ValueError, errors.VoxloomError])
def test_fetch_data_of_an_unknown_file_can_be_caught(link: LocalLink, error: type[Exception]) -> None:
    def step(self: Any) -> Any:
        with pytest.raises(error, match="no file"):
            self.fetch_data(["unknown"], ImageSchema)
        return self.fetch_data([], ImageSchema)

    assert (within(link, step), issubclass(FileUnknown, error)) == ([], True)


def test_fetch_data_checks_against_the_schema(link: LocalLink) -> None:
    one = link.add({"mask": IMAGE})
    with pytest.raises(ValidationError, match="image"):
        within(link, lambda self: self.fetch_data([one], ImageSchema))


def test_fetch_data_of_the_family_knows_its_schema(link: LocalLink) -> None:
    one = link.add({"image": IMAGE})
    base = runner.Image2ImageRunner
    (found,) = within(link, lambda self: self.fetch_data([one], "image", parallel=True), base)
    assert found["image"].tolist() == IMAGE.tolist()


def test_post_data_gives_new_ids_in_order(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        items = [{"image": IMAGE, "extra": 1, "mask": None}, {"image": IMAGE + 1}]
        ids = self.post_data(data=items, pydantic_data_schema=ImageSchema, parallel=True)
        return [one["image"][0, 0] for one in self.fetch_data(ids, ImageSchema)], self.post_data([], ImageSchema, False)

    assert within(link, step) == ([0, 1], [])


def test_post_data_stores_nothing_if_one_is_wrong(link: LocalLink) -> None:
    with pytest.raises(ValidationError):
        within(link, lambda self: self.post_data([{"image": IMAGE}, {"image": "no"}], ImageSchema))
    assert link.files == {}


def test_post_data_of_the_family_knows_its_schema(link: LocalLink) -> None:
    (one,) = within(link, lambda self: self.post_data([{"image": IMAGE}], True), runner.Image2ImageRunner)
    assert one in link.files


@pytest.mark.parametrize("path", ["files/weights.bin", "files\\weights.bin", "./files/weights.bin"])
def test_fetch_asset_gives_a_new_stream(link: LocalLink, path: str) -> None:
    streams = within(link, lambda self: [self.fetch_asset(asset_path=path) for _ in range(2)])
    assert [type(one) for one in streams] == [io.BytesIO, io.BytesIO]
    assert (streams[0] is streams[1], streams[0].read(), streams[1].tell()) == (False, b"\x00\x01", 0)


def test_fetch_asset_has_the_pyproject_too(link: LocalLink) -> None:
    assert within(link, lambda self: self.fetch_asset("pyproject.toml").getvalue()) == b"[project]\n"


@pytest.mark.parametrize("error", [KeyError, ValueError, AssetNotFound])
def test_fetch_asset_raises_what_can_be_caught(link: LocalLink, error: type[Exception]) -> None:
    def step(self: Any) -> str:
        with pytest.raises(error) as caught:
            self.fetch_asset("files/absent")
        return str(getattr(caught.value, "code", None))

    assert within(link, step) == "asset_path_not_found"


@pytest.mark.parametrize("progress", [0.5, 1, np.float32(0.5), True])
def test_set_progress_takes_any_number_in_range(link: LocalLink, progress: Any) -> None:
    within(link, lambda self: self.set_progress(progress=progress))
    assert link.progress == [float(progress)]


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan"), "0.5", None])
def test_set_progress_refuses_the_rest(link: LocalLink, progress: Any) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        within(link, lambda self: self.set_progress(progress))


@pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR", "DEBUG"])
def test_log_message_writes_a_line(link: LocalLink, level: Any) -> None:
    within(link, lambda self: self.log_message(message="said", logging_level=level))
    assert link.lines == [(level, "said")]


@pytest.mark.parametrize("level", ["info", "CRITICAL", "", 20])
def test_log_message_knows_four_levels(link: LocalLink, level: Any) -> None:
    with pytest.raises(ValueError, match="no logging level"):
        within(link, lambda self: self.log_message("said", level))


def test_save_item_to_session_keeps_the_object_itself(link: LocalLink) -> None:
    item: list[int] = []
    within(link, lambda self: self.save_item_to_session(obj=item, key="a"))
    within(link, lambda self: self.load_item_from_session(key="a").append(1))
    assert (within(link, lambda self: self.load_item_from_session("a")), item) == ([1], [1])


def test_load_item_from_session_raises_a_key_error_that_can_be_caught(link: LocalLink) -> None:
    def step(self: Any) -> str:
        try:
            self.load_item_from_session("absent")
        except KeyError as error:
            return str(error)
        return ""

    assert "absent" in within(link, step)


def test_remove_item_from_session_is_silent_but_for_an_empty_session(link: LocalLink) -> None:
    with pytest.raises(KeyError):
        within(link, lambda self: self.remove_item_from_session(key="a"))
    within(link, lambda self: self.save_item_to_session(1, "a"))
    within(link, lambda self: self.remove_item_from_session("absent"))
    within(link, lambda self: self.remove_item_from_session("a"))
    with pytest.raises(KeyError):
        within(link, lambda self: self.load_item_from_session("a"))


@pytest.mark.parametrize("call", ["load_item_from_session", "remove_item_from_session"])
def test_without_a_session_it_is_said(lonely: LocalLink, call: str) -> None:
    with pytest.raises(NoSession) as caught:
        within(lonely, lambda self: getattr(self, call)("a"))
    assert {ValueError, StateError} <= set(type(caught.value).__mro__)
    assert caught.value.code == "task_session_not_initialized"


def test_set_state_replaces_it_and_get_state_gives_it(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        before = self.get_state()
        self.set_state(state={"loss": np.float32(0.5)})
        self.set_state({"epoch": 1})
        return before, self.get_state()

    assert within(link, step) == ({}, {"epoch": 1})
    assert link.states == [{"loss": 0.5}, {"epoch": 1}]


@pytest.mark.parametrize("content", [b"x", bytearray(b"x"), memoryview(b"x"), io.BytesIO(b"x")])
def test_save_checkpoint_keeps_bytes_and_properties(link: LocalLink, content: Any) -> None:
    def step(self: Any) -> Any:
        made = self.save_checkpoint(checkpoint={"files/weights.bin": content}, properties={"loss": np.float64(1)})
        return made, self.task_handler.output_checkpoint_ids

    checkpoint_id, so_far = learning(link, step)
    saved = link.checkpoints[checkpoint_id]
    assert (saved.assets, saved.properties, so_far) == ({"files/weights.bin": b"x"}, {"loss": 1.0}, [checkpoint_id])


def test_save_checkpoint_refuses_what_is_no_asset(link: LocalLink) -> None:
    with pytest.raises(CheckpointInvalid) as caught:
        learning(link, lambda self: self.save_checkpoint({"files/unknown": b""}))
    assert {ValueError, CheckpointError} <= set(type(caught.value).__mro__)
    assert caught.value.code == "checkpoint_asset_path_invalid"


def test_save_checkpoint_is_for_trainings(link: LocalLink) -> None:
    with pytest.raises(NoTraining) as caught:
        within(link, lambda self: self.save_checkpoint({"files/weights.bin": b""}))
    assert caught.value.code == "training_handler_required"


def test_delete_checkpoint_takes_one_back(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        first, second = (self.save_checkpoint({"files/weights.bin": b""}) for _ in range(2))
        self.delete_checkpoint(first)
        self.task_handler.delete_checkpoint(checkpoint_id=second)
        return self.task_handler.output_checkpoint_ids

    assert (learning(link, step), len(link.checkpoints)) == ([], 1)


def test_get_training_dataset_gives_the_samples(link: LocalLink) -> None:
    samples = [add_sample(link, 1, 2), add_sample(link, 3)]
    found = learning(link, lambda self: self.get_training_dataset(training_sample_ids=samples))
    assert isinstance(found, TrainingDataset)
    assert [one.sample_id for one in found.samples] == samples


def test_get_training_dataset_refuses_none_unknown_and_mixed(link: LocalLink) -> None:
    mixed = [add_sample(link, 1), link.add_sample([{"mask": []}])]
    for ids, error in (([], SampleNotFound), (["unknown"], SampleNotFound), (mixed, KeysDiffer)):
        with pytest.raises(error):
            learning(link, lambda self, ids=ids: self.get_training_dataset(ids))  # type: ignore[misc]
        assert issubclass(error, ValueError)


@pytest.mark.parametrize("folder", ["deep/folder", Path("deep/folder")])
def test_save_training_files_to_temp_store_gives_paths(link: LocalLink, folder: Any) -> None:
    def step(self: Any) -> Any:
        paths = self.save_training_files_to_temp_store(
            folder_path=folder, files=[{"image": IMAGE}], pydantic_data_schema=ImageSchema, parallel=True
        )
        return paths, self.load_files_from_temp_store(paths=paths, parallel=False)

    (path,), (item,) = learning(link, step)
    assert (type(path), Path(path).is_absolute(), Path(path).parts[-3:-1]) == (str, True, ("deep", "folder"))
    assert item["image"].tolist() == IMAGE.tolist()


def test_save_training_files_to_temp_store_stays_below_its_root(link: LocalLink) -> None:
    with pytest.raises(ValueError, match="leads out"):
        learning(link, lambda self: self.save_training_files_to_temp_store("../x", [{"image": IMAGE}], ImageSchema))


def test_download_files_to_temp_store_takes_keys(link: LocalLink) -> None:
    ids = [link.add({"image": IMAGE + n, "mask": IMAGE}) for n in range(3)]

    def step(self: Any) -> Any:
        paths = self.download_files_to_temp_store("f", ids, ImageSchema, 2, "image")
        again = self.download_files_to_temp_store(
            folder_path=Path("f"), file_ids=ids, pydantic_data_schema=ImageSchema, batch_size=8
        )
        return self.load_files_from_temp_store(paths), self.load_files_from_temp_store(again)

    some, whole = learning(link, step)
    assert [(one.keys(), one["image"][0, 0]) for one in some] == [({"image"}, n) for n in range(3)]
    assert {tuple(one) for one in whole} == {("image", "mask")}


def test_load_files_from_temp_store_takes_keys(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        paths = self.save_training_files_to_temp_store("f", [{"image": IMAGE, "mask": IMAGE}], ImageSchema)
        return self.load_files_from_temp_store(paths, True, "mask", "absent")

    (found,) = learning(link, step)
    assert (found.keys(), found["absent"]) == ({"mask", "absent"}, None)


def test_download_dataset_to_temp_store_keeps_the_nesting(link: LocalLink) -> None:
    sample_id = link.add_sample([{"image": [link.add({"image": IMAGE})], "mask": []}])

    def step(self: Any) -> Any:
        dataset = self.get_training_dataset([sample_id])
        schemas = {"image": ImageSchema, "mask": ImageSchema}
        local = self.download_dataset_to_temp_store(dataset=dataset, pydantic_data_schemas=schemas)
        return local, self.load_dataset_from_temp_store(local_samples=local), self.task_handler.temp_store.root

    local, loaded, root = learning(link, step)
    assert Path(local[0][0]["image"][0]).parent == root / sample_id / "file_000000" / "image"
    assert (local[0][0]["mask"], loaded[0][0]["image"][0]["image"].tolist()) == ([], IMAGE.tolist())


def test_download_dataset_to_temp_store_needs_a_schema_for_every_key(link: LocalLink) -> None:
    add_sample(link, 1)
    with pytest.raises(SchemaMissing) as caught:
        learning(link, lambda self: self.download_dataset_to_temp_store(self.get_training_dataset(ids_of(link)), {}))
    assert caught.value.code == "training_data_schema_missing"


def ids_of(link: LocalLink) -> list[str]:
    return list(link.known_samples)


@pytest.mark.parametrize("name", ["device", "runner_context", "task_handler"])
def test_device_and_its_like_are_read_only(link: LocalLink, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        within(link, lambda self: setattr(self, name, "cpu"))


def test_device_is_where_the_run_is(link: LocalLink) -> None:
    assert within(link, lambda self: self.device) == "cuda"


def test_runner_context_has_the_runs_own_attributes(link: LocalLink) -> None:
    class Mine(Steps):
        def __init__(self) -> None:
            self.initial = 1

        def load_assets(self) -> None:
            self.model = 2

    def step(self: Any) -> Any:
        self.set_here = 3
        return self.runner_context

    assert within(link, step, Mine) == {"initial": 1, "set_here": 3}


def test_runner_context_is_live_and_what_is_set_in_it_is_set_on_the_runner(link: LocalLink) -> None:
    class Mine(Steps):
        def load_assets(self) -> None:
            self.model = 2

    def step(self: Any) -> Any:
        context = self.runner_context
        context["a"] = 1
        self.b = 2
        found: Any = current_runner_context.get({})
        found["c"] = 3
        del context["b"]
        with pytest.raises(AttributeError, match="model"):
            context["model"] = 3
        return self.a, self.c, hasattr(self, "b"), isinstance(context, dict), json.dumps(context), context | {"d": 4}

    whole = {"a": 1, "c": 3}
    assert within(link, step, Mine) == (1, 3, False, True, json.dumps(whole), {**whole, "d": 4})


def test_a_runner_context_that_was_kept_stays_as_the_run_has_left_it(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        self.a = 1
        return self.runner_context

    kept = within(link, step)
    kept["b"] = 2
    assert (pickle.loads(pickle.dumps(kept)), len(kept)) == ({"a": 1, "b": 2}, 2)


def test_task_handler_is_the_runs_and_there_is_none_outside(link: LocalLink) -> None:
    made = make(Steps, TaskHandler(link))
    with pytest.raises(NoRun) as caught:
        _ = made.task_handler
    assert {ValueError, StateError} <= set(type(caught.value).__mro__)
    assert within(link, lambda self: self.task_handler.task_id) == link.task_id


def test_initialize_starts_afresh_on_a_device(link: LocalLink) -> None:
    made: Any = make(Steps, TaskHandler(link))
    made.left_over = 1
    made.initialize(device="cpu")
    assert (made.device, hasattr(made, "left_over")) == ("cpu", False)


def test_locked_attributes_are_told(link: LocalLink) -> None:
    class Mine(Steps):
        def load_assets(self) -> None:
            self.model = 1

    made: Any = make(Mine, TaskHandler(link))
    assert made._locked_attributes == {"model"}
    made._load_assets()
    assert made._locked_attributes == {"model"}


def test_run_and_its_steps_can_be_overridden(link: LocalLink) -> None:
    class Mine(Steps):
        def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
            super().run(input_data={"input_dataset_ids": ["other"]}, args=args)

        def preprocess_base(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> Any:
            return [*super().preprocess_base(input_data=input_data, args=args), "pre"]

        def inference_base(self, data: Any, args: dict[str, Any] | None = None) -> Any:
            return [*super().inference_base(data=data, args=args), "inf"]

        def postprocess_base(self, data: Any, args: dict[str, Any] | None = None) -> Any:
            return [*super().postprocess_base(data=data, args=args), "post"]

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE) == ["other", "pre", "inf", "post"]


def test_run_training_and_run_benchmark_can_be_overridden(link: LocalLink) -> None:
    class Mine(Steps):
        def run_training(self, training_data: Any, args: dict[str, Any] | None = None) -> None:
            super().run_training(training_data=["other"], args=args)

        def train(self, training_data: list[str], args: Any) -> None:
            self.save_checkpoint({"files/weights.bin": training_data[0].encode()})

        def run_benchmark(self, args: dict[str, Any] | None = None) -> dict[str, Any]:
            return {"overridden": True}

    train(make(Mine, TrainingHandler(link)), TrainingHandler(link), ["s1"])
    assert [one.assets["files/weights.bin"] for one in link.checkpoints.values()] == [b"other"]
    assert testing.benchmark(Mine) == {"overridden": True}


def test_a_locked_attribute_cannot_be_deleted(link: LocalLink) -> None:
    class Mine(Steps):
        def load_assets(self) -> None:
            self.model = 1

    with pytest.raises(AttributeError, match="model"):
        within(link, lambda self: delattr(self, "model"), Mine)
