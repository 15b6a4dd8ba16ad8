"""What algorithms' authors may call on handlers, training objects, sessions, and while they debug."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.unit.author_world import Steps, add_sample, learning, within
from tests.unit.author_world import link as link
from tests.unit.author_world import names as names
from voxloom.compat.debugging import DebuggingTaskHandler, DebuggingTrainingHandler, LocalDebugSession, debug
from voxloom.errors import InvalidInput
from voxloom.runner import ImageSchema, SegmentationSchema, TaskStoppedException, family
from voxloom.runner.base import execute, make, train
from voxloom.runner.context import current_handler
from voxloom.runner.handler import TaskHandler
from voxloom.runner.sessions import DataCache, TaskSession
from voxloom.runner.tempstore import TempStore
from voxloom.runner.training import KeysDiffer, SampleManifest, TrainingDataset, TrainingSample
from voxloom.runner.traininghandler import TrainingHandler
from voxloom.testing import LocalLink, benchmark

IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)
ONE = {"input_dataset_ids": ["one"]}

# --- 5. handlers ------------------------------------------------------------------------------------------


def test_a_family_runner_uses_another_schema_through_its_handler(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        handler = self.task_handler
        ids = handler.post_data(result=[{"mask": IMAGE}], pydantic_data_schema=SegmentationSchema, parallel=True)
        return handler.fetch_data(ids, SegmentationSchema, "mask", parallel=True)

    (found,) = within(link, step, family.Image2ImageRunner)
    assert found["mask"].tolist() == IMAGE.tolist()


def test_a_handler_fetches_assets_and_shares_items(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        self.task_handler.save_item_to_session(obj=[1], key="a")
        loaded = self.task_handler.load_item_from_session(key="a")
        self.task_handler.remove_item_from_session(key="a")
        return loaded, self.task_handler.fetch_asset(asset_path="files/weights.bin").getvalue()

    assert within(link, step) == ([1], b"\x00\x01")


def test_task_id_and_session_token_are_the_runs(link: LocalLink) -> None:
    told = within(link, lambda self: (self.task_handler.task_id, self.task_handler.session_token))
    assert told == (link.task_id, link.session_token)


@pytest.mark.parametrize(
    ("call", "level"),
    [("debug", "DEBUG"), ("info", "INFO"), ("success", "INFO"), ("warning", "WARNING"), ("error", "ERROR")],
)
def test_the_logger_takes_what_loguru_takes(link: LocalLink, call: str, level: str) -> None:
    within(link, lambda self: getattr(self.task_handler.logger.bind(a=1).opt(depth=1), call)("said {}", 1))
    assert link.lines == [(level, "said 1")]


def test_the_logger_tells_exceptions(link: LocalLink) -> None:
    def step(self: Any) -> None:
        try:
            raise KeyError("absent")
        except KeyError:
            self.task_handler.logger.exception("failed")

    within(link, step)
    ((level, text),) = link.lines
    assert (level, text.splitlines()[0], text.splitlines()[-1]) == ("ERROR", "failed", "KeyError: 'absent'")


def test_progress_is_read_and_set(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        before = self.task_handler.progress
        self.task_handler.progress = 0.5
        return before, self.task_handler.progress

    assert (within(link, step), link.progress) == ((0.0, 0.5), [0.5])
    with pytest.raises(ValueError, match="from 0 to 1"):
        within(link, lambda self: setattr(self.task_handler, "progress", 2))


def test_state_is_what_was_set(link: LocalLink) -> None:
    assert learning(link, lambda self: (self.set_state({"a": 1}), self.task_handler.state))[1] == {"a": 1}


def test_output_checkpoint_ids_grow(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        return [self.save_checkpoint({"files/weights.bin": b""}), *self.task_handler.output_checkpoint_ids]

    first, second = learning(link, step)
    assert first == second


def test_the_temp_store_comes_with_the_handler(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        store = self.task_handler.temp_store
        store.mkdir(Path("deep/er"))
        paths = store.save("deep", [{"image": IMAGE}], ImageSchema, True)
        return store.root, paths, store.load(paths, True, "image")

    root, (path,), (item,) = learning(link, step)
    assert (Path(path).parent, (root / "deep" / "er").is_dir()) == (root / "deep", True)
    assert item["image"].tolist() == IMAGE.tolist()


def test_a_training_handler_has_the_methods_of_a_training(link: LocalLink) -> None:
    sample = add_sample(link, 1)

    def step(self: Any) -> Any:
        handler = self.task_handler
        local = handler.download_dataset_to_temp_store(handler.get_training_dataset([sample]), {"image": ImageSchema})
        return handler.load_dataset_from_temp_store(local)[0][0]["image"][0]["image"].max()

    assert learning(link, step) == 1


def test_update_log_never_fails(link: LocalLink) -> None:
    link.stop()
    assert TaskHandler(link).update_log() is None  # type: ignore[func-returns-value]


def test_status_outputs_and_the_time_of_the_end_are_read(link: LocalLink) -> None:
    handler = TaskHandler(link)
    before = (handler.status, handler.output_dataset_ids, handler.time_completed)
    handler.mark_as_completed(output_dataset_ids=["a"])
    assert before == ("RUNNING", [], "")
    assert (handler.status, handler.output_dataset_ids, handler.time_completed[:2]) == ("COMPLETED", ["a"], "20")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "FAILED"),
        ("output_dataset_ids", ["a"]),
        ("time_completed", "2026-11-21 02:57:03"),
        ("session_token", "another"),
        ("state", {"loss": 0.5}),
    ],
)
def test_they_can_be_set_and_are_read_as_they_were_set(link: LocalLink, name: str, value: Any) -> None:
    handler = TrainingHandler(link)
    setattr(handler, name, value)
    assert getattr(handler, name) == value


def test_a_status_that_there_is_not_is_refused(link: LocalLink) -> None:
    with pytest.raises(ValueError, match="RUNNING"):
        TaskHandler(link).status = "DONE"


def test_outputs_that_were_set_are_what_an_overridden_run_gives(link: LocalLink) -> None:
    class Mine(Steps):
        def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
            self.task_handler.output_dataset_ids = ["mine"]
            self.task_handler.status = "COMPLETED"

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE) == ["mine"]


@pytest.mark.parametrize(
    ("mark", "status", "progress"),
    [("mark_as_completed", "COMPLETED", 1.0), ("mark_as_failed", "FAILED", 1.0), ("mark_as_stopped", "STOPPED", 0.25)],
)
def test_a_handler_follows_its_marks(link: LocalLink, mark: str, status: str, progress: float) -> None:
    handler = TrainingHandler(link)
    handler.progress = 0.25
    with suppress(TaskStoppedException):
        getattr(handler, mark)()
    assert (handler.status, handler.progress, handler.time_completed[:2]) == (status, progress, "20")


def test_a_stop_is_no_failure(link: LocalLink) -> None:
    handler = TaskHandler(link)
    handler.mark_as_failed(TaskStoppedException())
    assert handler.status == "RUNNING"


def test_trainings_and_benchmarks_whose_run_is_overridden_mark_their_end(link: LocalLink) -> None:
    class Mine(Steps):
        def run_training(self, training_data: Any, args: dict[str, Any] | None = None) -> None:
            self.save_checkpoint({"files/weights.bin": b"learnt"})
            self.task_handler.mark_as_completed()  # type: ignore[call-arg]

        def run_benchmark(self, args: dict[str, Any] | None = None) -> None:
            self.task_handler.mark_as_completed({"seconds": np.float32(0.5)})

    assert len(train(make(Mine, TrainingHandler(link)), TrainingHandler(link), ["s"])) == 1
    assert benchmark(Mine) == {"seconds": 0.5}


def test_mark_as_completed_makes_an_overridden_run_work(link: LocalLink) -> None:
    class Mine(Steps):
        def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
            self.task_handler.mark_as_completed(["mine"])

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE) == ["mine"]


@pytest.mark.parametrize(("reason", "words"), [(RuntimeError("too dark"), "too dark"), (None, "marked")])
def test_mark_as_failed_fails_the_run(link: LocalLink, reason: Any, words: str) -> None:
    class Mine(Steps):
        def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
            self.task_handler.mark_as_failed(e=reason)
            assert self.task_handler.status == "FAILED"
            super().run(input_data, args)

    with pytest.raises(type(reason) if reason else Exception, match=words):
        execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE)


def test_mark_as_failed_fails_a_training(link: LocalLink) -> None:
    with pytest.raises(RuntimeError, match="diverged"):
        learning(link, lambda self: self.task_handler.mark_as_failed(RuntimeError("diverged")))


def test_mark_as_stopped_stops_the_run(link: LocalLink) -> None:
    with pytest.raises(TaskStoppedException):
        within(link, lambda self: self.task_handler.mark_as_stopped())


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("fetch_algorithm", r"POST /api/v0/execute-algorithm"),
        ("database_connection", r"self\.fetch_data, self\.post_data and self\.fetch_asset"),
        ("stop_request", "TaskStoppedException"),
        ("emergency_record_store", "records are kept by the server"),
    ],
)
@pytest.mark.parametrize("kind", [TaskHandler, TrainingHandler])
def test_what_a_handler_has_not_names_what_to_use(link: LocalLink, kind: Any, name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match=instead):
        getattr(kind(link), name)


@pytest.mark.parametrize("kind", [TaskHandler, TrainingHandler])
def test_handlers_are_not_made_as_compox_makes_them(kind: Any) -> None:
    for given, named in ((("id", object()), {}), (("id",), {"database_update": False})):
        with pytest.raises(TypeError, match=r"self\.fetch_data.*DebuggingTaskHandler"):
            kind(*given, **named)


@pytest.mark.parametrize("name", ["set_as_current_handler", "set_as_current_task_handler"])
def test_a_handler_can_be_made_the_current_one(link: LocalLink, name: str) -> None:
    handler = TaskHandler(link)
    token = current_handler.set(None)
    getattr(handler, name)()
    found = current_handler.get()
    current_handler.reset(token)
    assert found is handler


def test_a_stop_is_raised_once_and_passes_except_exception(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        link.stop()
        try:
            self.set_progress(0.5)
        except Exception:  # noqa: BLE001  # as authors do
            return "swallowed"
        except TaskStoppedException as stopped:
            self.set_progress(0.75)
            return stopped.message

    assert (within(link, step), link.progress) == ("Task has been stopped.", [0.75])
    assert TaskStoppedException.code == "task_stopped"


# --- 6. training objects ----------------------------------------------------------------------------------


def sample(name: str, *entries: dict[str, list[str]], tags: tuple[str, ...] = ()) -> TrainingSample:
    return TrainingSample(SampleManifest(name, entries, tags, "now"))


FIRST = sample("s1", {"image": ["a", "b"], "mask": ["m"]}, {"image": ["c"], "mask": []}, tags=(" Big ", "big"))
SECOND = sample("s2", {"image": ["d"], "mask": ["n"]})
DATASET = TrainingDataset([FIRST, SECOND])
OF_DATASET: dict[str, Any] = {
    "samples": (lambda ds: ds.samples, [FIRST, SECOND]),
    "len": (len, 2),
    "iteration": (list, [FIRST, SECOND]),
    "ds[i]": (lambda ds: ds[1], SECOND),
    "ds[i:j]": (lambda ds: ds[0:1], [FIRST]),
    'ds[i, "key"]': (lambda ds: ds[0, "image"], ["a", "b", "c"]),
    'ds[:, "key"]': (lambda ds: ds[:, "image"], [["a", "b", "c"], ["d"]]),
    'ds[i:j, "key"]': (lambda ds: ds[1:2, "mask"], [["n"]]),
    "ds[i, :]": (lambda ds: ds[1, :], ["d", "n"]),
    "ds[:, :]": (lambda ds: ds[:, :], [["a", "b", "m", "c"], ["d", "n"]]),
    "get_all_samples": (lambda ds: ds.get_all_samples(), [FIRST, SECOND]),
    "get_sample_by_id": (lambda ds: ds.get_sample_by_id(sample_id="s2"), SECOND),
    "get_sample_by_id of none": (lambda ds: ds.get_sample_by_id("s3"), None),
    "get_sample_keys": (lambda ds: ds.get_sample_keys(), ["image", "mask"]),
    "get_all_file_lists": (lambda ds: ds.get_all_file_lists(), [["a", "b", "m", "c"], ["d", "n"]]),
    "ds + other": (lambda ds: (ds + TrainingDataset([sample("s3", {"image": [], "mask": []})]))[2].sample_id, "s3"),
}
OF_SAMPLE: dict[str, Any] = {
    "sample_id": (lambda s: s.sample_id, "s1"),
    "sample_manifest": (lambda s: s.sample_manifest.sample_id, "s1"),
    "len": (len, 2),
    "s[i]": (lambda s: s[1], {"image": ["c"], "mask": []}),
    "s[i:j]": (lambda s: s[0:1], [{"image": ["a", "b"], "mask": ["m"]}]),
    's[i, "key"]': (lambda s: s[0, "image"], ["a", "b"]),
    's[:, "key"]': (lambda s: s[:, "image"], ["a", "b", "c"]),
    "s[:, :]": (lambda s: s[:, :], ["a", "b", "m", "c"]),
    "get_file_list": (lambda s: s.get_file_list(), ["a", "b", "m", "c"]),
    "get_key_list": (lambda s: s.get_key_list(), ["image", "mask"]),
    "check_tags": (lambda s: s.check_tags(query_positive_tags=["BIG"], query_negative_tags=["red"]), True),
    "check_tags of others": (lambda s: s.check_tags(query_negative_tags=["big"]), False),
}


@pytest.mark.parametrize("what", OF_DATASET)
def test_a_training_dataset(what: str) -> None:
    ask, expected = OF_DATASET[what]
    assert ask(DATASET) == expected


@pytest.mark.parametrize("what", OF_SAMPLE)
def test_a_training_sample(what: str) -> None:
    ask, expected = OF_SAMPLE[what]
    assert ask(FIRST) == expected


def test_a_dataset_takes_more_samples_of_the_same_keys() -> None:
    dataset = TrainingDataset(samples=[FIRST])
    dataset.add_sample(sample=SECOND)
    assert len(dataset) == 2
    with pytest.raises(ValueError, match="same keys"):
        dataset.add_sample(sample("s", {"points": []}))
    assert issubclass(KeysDiffer, ValueError)


def test_other_indices_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        DATASET["image"]


def test_tags_are_added_here_alone() -> None:
    one = sample("s", {"image": []})
    one.add_tags(new_tags=[" Red "])
    assert (one.sample_manifest.tags, one.check_tags(["red"])) == (["red"], True)


def test_a_sample_manifest_has_what_is_stored() -> None:
    manifest = SampleManifest("s", [{"image": ["a"]}], [" Big ", "big", "Red"], "now")
    told = (manifest.sample_id, manifest.files, manifest.tags, manifest.time_created)
    assert told == ("s", [{"image": ["a"]}], ["big", "red"], "now")


@pytest.mark.parametrize("name", ["load_sample_manifest", "save_sample_manifest", "delete_sample_manifest"])
def test_what_a_sample_has_not_names_what_to_use(name: str) -> None:
    with pytest.raises(AttributeError, match=r"/api/v1/samples|get_training_dataset"):
        getattr(FIRST, name)


@pytest.mark.parametrize("name", ["AlgorithmCheckpoint", "CheckpointManifest"])
def test_checkpoints_are_for_rest(names: None, name: str) -> None:
    with pytest.raises(ImportError, match="GET /api/v1/checkpoints"):
        importlib.import_module(f"compox.training.{name}")


def test_a_temp_store_of_ones_own() -> None:
    with TempStore() as store:
        store.mkdir(path="a")
        (path,) = store.save("a", [{"image": IMAGE}], ImageSchema)
        (item,) = store.load([path])
        assert item["image"].tolist() == IMAGE.tolist()
    assert not store.root.exists()
    other = TempStore()
    other.cleanup()
    assert not other.root.exists()


# --- 7. sessions ------------------------------------------------------------------------------------------


@pytest.fixture
def no_sessions() -> Iterator[None]:
    TaskSession.data_caches.clear()
    yield
    TaskSession.data_caches.clear()


def test_a_task_session(no_sessions: None) -> None:
    with TaskSession(session_token="t", max_cache_size=2, max_cache_memory_mb=1, expire_hours=1) as session:
        for key in ("a", "b", "c"):
            session.add_item(obj=key.upper(), key=key)
        assert ("a" in session, session["c"], len(session), session.session_token) == (False, "C", 2, "t")
        session.remove_item(key="b")
        session.remove_item("absent")
        assert list(TaskSession.data_caches) == ["t"]
        session.clear_cache()
        with pytest.raises(KeyError):
            session.remove_item("c")


def test_a_task_session_mints_a_token_and_the_sixth_pushes_one_out(no_sessions: None) -> None:
    tokens = [TaskSession(max_number_of_data_caches=5).session_token for _ in range(6)]
    assert (len(tokens[0]), list(TaskSession.data_caches)) == (36, tokens[1:])


def test_a_task_session_outlives_its_with_block(no_sessions: None) -> None:
    with TaskSession("t") as session:
        session.add_item(1, "a")
    assert TaskSession("t")["a"] == 1


def test_a_task_session_that_is_older_than_its_hours_is_gone(
    no_sessions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a session that was begun now
    TaskSession("t").add_item(1, "a")
    # When an hour and a second have passed
    later = time.monotonic() + 3601
    monkeypatch.setattr("voxloom.runner.sessions.time.monotonic", lambda: later)
    # Then it is there for those that ask for two hours, and not for those that ask for one
    assert "a" in TaskSession("t", expire_hours=2)
    assert "a" not in TaskSession("t", expire_hours=1)


def test_a_task_session_that_is_not_there_says_so(no_sessions: None) -> None:
    with pytest.raises(NotImplementedError):
        TaskSession(not_implemented=True).add_item(1, "a")


def test_a_data_cache() -> None:
    cache = DataCache(max_size=2, max_memory_mb=1)
    for key in ("a", "b", "c"):
        cache.add_item(obj=key.upper(), key=key)
    cache.remove_item(key="absent")
    assert ("b" in cache, cache["c"], len(cache), cache.removed_keys_len) == (True, "C", 2, {"a"})
    cache.add_item(np.zeros(1 << 20, np.uint8), "large")
    cache.add_item(np.zeros(1 << 20, np.uint8), "larger")
    assert (list(cache.names()), "large" in cache.removed_keys_memory | cache.removed_keys_len) == (["larger"], True)
    cache.clear()
    assert len(cache) == 0


# --- 8. debugging -----------------------------------------------------------------------------------------

SOURCE = """
import pathlib
from compox.algorithm_utils.Image2ImageRunner import Image2ImageRunner

class Runner(Image2ImageRunner):
    def load_assets(self):
        self.offset = int(self.fetch_asset("files/offset.txt").getvalue())
    def inference(self, data, args={}):
        self.log_message(self.device)
        return data + self.offset + args.get("more", 0)
    def train(self, training_data, args={}):
        self.save_checkpoint({"files/offset.txt": b"7"})
"""


@pytest.fixture
def algorithm(tmp_path: Path) -> Path:
    folder = tmp_path / "algorithm"
    (folder / "files").mkdir(parents=True)
    (folder / "Runner.py").write_text(SOURCE)
    (folder / "files" / "offset.txt").write_text("5")
    np.save(folder / "scan.npy", np.zeros((3, 4, 4), np.uint8))
    return folder


@pytest.mark.parametrize(("device", "told"), [("cpu", "cpu"), ("gpu", "cuda"), ("cuda", "cuda")])
def test_debug_runs_and_prints(algorithm: Path, capsys: Any, device: str, told: str) -> None:
    outputs = debug(algo_dir=str(algorithm), data=str(algorithm / "scan.npy"), params={"more": 1}, device=device)
    assert [int(one["image"].max()) for one in outputs] == [6, 6, 6]
    assert f"INFO {told}\n" in capsys.readouterr().out


def test_a_debug_session_loads_one_file_per_slice_and_runs(algorithm: Path) -> None:
    session = LocalDebugSession(task_id="t", device="cpu", tmp_bucket="mine")
    ids = session.load_data(str(algorithm / "scan.npy"))
    outputs = session.run(algorithm, {"input_dataset_ids": ids}, args={"more": 2})
    assert (len(ids), [int(one["image"].max()) for one in outputs]) == (3, [7, 7, 7])
    assert len(session.database_connection.list_objects("mine")) == 6


@pytest.mark.parametrize("name", ["load_from_npy", "load_from_h5", "load_from_tiff"])
def test_a_debug_session_loads_by_kind(algorithm: Path, name: str) -> None:
    stack = np.zeros((2, 4, 4), np.uint8)
    np.save(algorithm / "a.npy", stack)
    importlib.import_module("tifffile").imwrite(algorithm / "a.tiff", stack, photometric="minisblack")
    with h5py.File(algorithm / "a.h5", "w") as file:
        file["any"] = stack
    place = algorithm / f"a.{name.rpartition('_')[2]}"
    with LocalDebugSession() as session:
        assert len(getattr(session, name)(filepath=str(place))) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_that_is_cut_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / f"a{suffix}"
    importlib.import_module("PIL.Image").fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(
        place
    )
    place.write_bytes(place.read_bytes()[:-2000])
    with LocalDebugSession() as session, pytest.raises(InvalidInput, match=rf"a{suffix} cannot be read \(.*truncated"):
        session.load_data(place)


def hdf5_of(**datasets: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.update(datasets)
    return buffer.getvalue()


def test_a_debugging_handler_runs_on_planted_objects(algorithm: Path) -> None:
    handler = DebuggingTaskHandler(task_id="t")
    store = handler.database_connection
    store.put_objects(collection_name="data-store", object_names=["mine"], object=[hdf5_of(image=IMAGE)])
    made = handler.fetch_algorithm(path_to_algorithm=str(algorithm), device="cpu")
    made.run({"input_dataset_ids": ["mine"]}, {"more": 1})
    (output,) = store.get_objects("data-store", handler.output_dataset_ids)
    handler.close()
    assert h5py.File(io.BytesIO(output))["image"][()].tolist() == (IMAGE + 6).tolist()


def test_a_debugging_handler_reads_assets_from_disk(algorithm: Path) -> None:
    handler = DebuggingTaskHandler("t")
    assert handler.fetch_asset(path_to_asset=str(algorithm / "files" / "offset.txt")).getvalue() == b"5"
    with pytest.raises(FileNotFoundError):
        handler.fetch_asset("absent")


def test_a_debugging_handler_says_what_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"Runner\.py"):
        DebuggingTaskHandler("t").fetch_algorithm(str(tmp_path))


def test_a_debugging_training_handler_trains_and_uses_what_it_saved(algorithm: Path) -> None:
    planted = DebuggingTaskHandler("t").database_connection
    with TempStore() as store:
        handler = DebuggingTrainingHandler(database_connection=planted, training_id="tr", temp_store=store)
        made = handler.fetch_algorithm(str(algorithm))
        made.run_training(["s"], {})
        (checkpoint,) = handler.output_checkpoint_ids
        again = handler.fetch_algorithm(str(algorithm), checkpoint_id=checkpoint)
        handler.close()
        assert (made.offset, again.offset, handler.temp_store, handler.task_id) == (5, 7, store, "tr")


def test_a_training_needs_no_more_than_its_handler(algorithm: Path) -> None:
    handler = DebuggingTrainingHandler(training_id="tr")
    ids = train(handler.fetch_algorithm(str(algorithm)), handler, ["s"])
    handler.close()
    assert ids == handler.output_checkpoint_ids
