"""Algorithms written for Compox: every name that they import is there, and is the right thing."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from voxloom import compat, errors, runner, testing
from voxloom.compat.cards import count
from voxloom.runner import base, context, exceptions, importing, tempstore, training, traininghandler

FAMILY = [
    "Image2ImageRunner",
    "Image2SegmentationRunner",
    "Image2MultiRegionSegmentationRunner",
    "Image2AlignmentRunner",
    "Image2EmbeddingRunner",
    "Segmentation2SegmentationRunner",
]
SCHEMAS = ["DataSchema", "GenericSchema", "ImageSchema", "SegmentationSchema", "MultiRegionSegmentationSchema"]
SCHEMAS += ["VolumeSchema", "MeshSchema", "AlignmentSchema", "EmbeddingSchema"]
NAMES: list[tuple[str, str, Any]] = [
    ("algorithm_utils.BaseRunner", "BaseRunner", base.BaseRunner),
    *((f"algorithm_utils.{name}", name, getattr(runner, name)) for name in FAMILY),
    *(("algorithm_utils.io_schemas", name, getattr(runner, name)) for name in SCHEMAS),
    ("algorithm_utils.runner_context", "current_runner_context", context.current_runner_context),
    ("exceptions", "CompoxError", errors.VoxloomError),
    ("exceptions", "CompoxAssetError", exceptions.AssetError),
    ("tasks.TaskHandler", "TaskHandler", runner.TaskHandler),
    ("tasks.TaskHandler", "TaskStoppedException", runner.TaskStoppedException),
    ("tasks.context_handler", "current_handler", context.current_handler),
    ("tasks.context_task_handler", "current_task_handler", context.current_handler),
    ("training.TrainingHandler", "TrainingHandler", traininghandler.TrainingHandler),
    ("training.TrainingDataset", "TrainingDataset", training.TrainingDataset),
    ("training.TrainingSample", "TrainingSample", training.TrainingSample),
    ("training.SampleManifest", "SampleManifest", training.SampleManifest),
    ("training.TempStore", "TempStore", tempstore.TempStore),
]
# A Runner.py as it is written for Compox, with the call that debugs it at its end.
WRITTEN = """
from compox.algorithm_debug import debug
from compox.algorithm_utils.Image2ImageRunner import Image2ImageRunner
from compox.algorithm_utils.io_schemas import ImageSchema
from compox.tasks.TaskHandler import TaskStoppedException


class Runner(Image2ImageRunner):
    def load_assets(self):
        self.offset = int(self.fetch_asset("files/offset.txt").getvalue())

    def inference(self, data, args={}):
        self.log_message("adding")
        return data + self.offset + args.get("more", 0)


if __name__ == "__main__":
    outputs = debug(algo_dir=".", data="scan.npy", params={"more": 1}, device="cpu")
    print("first", outputs[0]["image"][0, 0])
"""


@pytest.fixture
def names() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(compat.PATH))
    yield
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "compox"]:
        del sys.modules[name]


@pytest.fixture
def algorithm(tmp_path: Path) -> Path:
    folder = tmp_path / "algorithm"
    (folder / "files").mkdir(parents=True)
    (folder / "Runner.py").write_text(WRITTEN)
    (folder / "files" / "offset.txt").write_text("5")
    (folder / "pyproject.toml").write_text('[project]\nname = "written"\nversion = "1.0.0"\n')
    np.save(folder / "scan.npy", np.zeros((3, 4, 4), np.uint8))
    return folder


@pytest.mark.parametrize(("module", "name", "thing"), NAMES)
def test_every_name_is_ours_under_another(names: None, module: str, name: str, thing: Any) -> None:
    assert getattr(importlib.import_module(f"compox.{module}"), name) is thing


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("algorithm_debug", "debug"),
        ("algorithm_utils.LocalDebugSession", "LocalDebugSession"),
        ("tasks.DebuggingTaskHandler", "DebuggingTaskHandler"),
        ("training.DebuggingTrainingHandler", "DebuggingTrainingHandler"),
        ("session.TaskSession", "TaskSession"),
        ("session.DataCache", "DataCache"),
    ],
)
def test_what_debugging_needs_is_there(names: None, module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(f"compox.{module}"), name))


def test_what_the_runner_api_raises_is_caught_by_the_names_of_old(names: None) -> None:
    theirs = importlib.import_module("compox.exceptions")
    pairs = [
        (runner.AssetNotFound("x"), theirs.CompoxAssetError),
        (traininghandler.CheckpointInvalid("x"), theirs.CompoxCheckpointError),
        (training.SampleNotFound("x"), theirs.CompoxNotFoundError),
        (training.KeysDiffer("x"), theirs.CompoxTrainingError),
        (runner.NoRun("x"), theirs.CompoxStateError),
    ]
    assert all(isinstance(error, kind) and isinstance(error, (ValueError, errors.NotFound)) for error, kind in pairs)
    raised = theirs.CompoxExecutionError("said", details={"a": 1})
    assert (raised.message, raised.details, raised.retryable) == ("said", {"a": 1}, False)


def test_server_utils_tell_devices_and_make_ids(names: None) -> None:
    utils = importlib.import_module("compox.server_utils")
    assert [utils.generate_uuid(version)[14] for version in (1, 4)] == ["1", "4"]
    available, count = utils.check_system_gpu_availability()
    assert (available is None) == (count is None)
    with pytest.raises(ImportError, match=r"functools\.lru_cache"):
        exec("from compox.server_utils import weak_lru")
    assert {utils.check_torch_with_cuda_available(), utils.check_mps_availability()} <= {True, False}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = utils.nothing_like_it


@pytest.mark.parametrize(
    "name", ["deploy_from_zip", "find_py_files", "calculate_etag", "check_if_zip_is_importable", "parse_pyproject_toml"]
)
def test_the_deployers_class_says_what_to_use_for_what_it_lacks(names: None, name: str) -> None:
    deployer = importlib.import_module("compox.algorithm_utils.AlgorithmDeployer").AlgorithmDeployer
    with pytest.raises(AttributeError, match=rf"no '{name}' here\. Use "):
        getattr(deployer, name)


def test_the_deployers_class_makes_ids(names: None) -> None:
    deployer = importlib.import_module("compox.algorithm_utils.AlgorithmDeployer").AlgorithmDeployer
    assert [deployer.generate_uuid(version)[14] for version in (1, 4)] == ["1", "4"]


def test_an_exception_of_an_authors_own_has_the_defaults_that_its_class_says(names: None) -> None:
    theirs = importlib.import_module("compox.exceptions")

    class TooDark(theirs.CompoxConfiguredError):  # type: ignore[misc, name-defined]
        DEFAULT_CODE = "too_dark"
        DEFAULT_HTTP_STATUS = 418
        DEFAULT_RETRYABLE = True

    body = {"detail": "said", "code": "too_dark", "retryable": True, "details": {"mean": 3}}
    raised = TooDark("said", details={"mean": 3})
    assert (raised.http_status, raised.to_response_body()) == (418, body)
    assert theirs.CompoxTaskError.DEFAULT_CODE == theirs.CompoxTaskError("x").code == "task_error"


@pytest.mark.parametrize("name", ["Asset", "Checkpoint", "Training", "State", "Storage", "Server"])
def test_errors_of_runs_are_the_servers_as_http_has_it(names: None, name: str) -> None:
    raised = getattr(importlib.import_module("compox.exceptions"), f"Compox{name}Error")("said")
    assert (raised.http_status, raised.code) == (500, f"{name.lower()}_error")


def test_a_failure_is_told_with_its_details_and_its_cause(names: None) -> None:
    theirs = importlib.import_module("compox.exceptions")
    error = theirs.CompoxTaskError("said", details={"where": Path("x"), "mean": np.float32(0.5)}, cause=OSError("full"))
    told = theirs.error_failure_payload(error)
    assert told["details"] == {"where": repr(Path("x")), "mean": 0.5}
    assert told["cause"] == {"type": "OSError", "message": "full"}
    assert theirs.error_failure_payload(KeyError("a"))["code"] == "KeyError"
    assert theirs.error_metadata("full")["_emergency_storage_error_code"] == "storage_error"


class Driver:
    """What libnvidia-ml answers."""

    def __init__(self, cards: int, code: int = 0) -> None:
        self._cards, self._code = cards, code

    def nvmlInit_v2(self) -> int:  # noqa: N802  # its name
        return self._code

    def nvmlShutdown(self) -> int:  # noqa: N802  # its name
        return 0

    def nvmlDeviceGetCount_v2(self, found: Any) -> int:  # noqa: N802  # its name
        found._obj.value = self._cards
        return 0


@pytest.mark.parametrize(
    ("cards", "shown", "seen"),
    [(2, None, 2), (2, "1", 1), (2, "0,1", 2), (1, "", 0), (1, "GPU-a,GPU-b", 1)],
)
def test_the_driver_tells_the_cards_of_which_some_may_be_hidden(cards: int, shown: str | None, seen: int) -> None:
    environment = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    assert count(lambda name: Driver(cards), environment) == seen


def test_without_a_driver_nobody_can_tell() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: no such file")

    assert (count(load, {}), count(lambda name: Driver(1, code=9) if "ml" in name else load(name), {})) == (None, None)


def test_the_import_for_debugging_is_light() -> None:
    heavy = ("typer", "PIL", "aiohttp", "numpy")
    code = f"import sys; import compox.algorithm_debug; print([m for m in {heavy} if m in sys.modules])"
    done = run_python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


def run_python(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{compat.PATH}:{Path(compat.__file__).parents[2]}"}
    command = [sys.executable, *arguments]
    told: dict[str, Any] = {"env": environment, "cwd": folder, "timeout": 180}
    return subprocess.run(command, capture_output=True, text=True, check=False, **told)


def test_a_runner_that_was_written_for_compox_runs_unchanged(algorithm: Path) -> None:
    outputs = testing.run(algorithm, np.zeros((2, 4, 4), np.uint8), {"more": 2})
    assert [int(output["image"].max()) for output in outputs] == [7, 7]


def test_its_own_call_that_debugs_it_works(algorithm: Path) -> None:
    done = run_python("-m", "voxloom.compat", "Runner.py", folder=algorithm)
    assert done.stdout.splitlines()[-1] == "first 6", done.stderr
    assert "INFO adding" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["nothing.py"]])
def test_without_a_file_the_compat_command_says_what_to_do(arguments: list[str]) -> None:
    done = run_python("-m", "voxloom.compat", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_install_puts_the_names_into_reach_of_children(tmp_path: Path) -> None:
    code = """
    import subprocess, sys
    from voxloom.compat import install
    install()
    import compox
    print(subprocess.run([sys.executable, "-c", "import compox.session.DataCache as d; print(d.__name__)"]).returncode)
    """
    done = run_python("-c", textwrap.dedent(code))
    assert done.stdout.splitlines() == ["compox.session.DataCache", "0"], done.stderr


def test_the_algorithms_folder_comes_first(tmp_path: Path) -> None:
    before = list(sys.path), os.environ.get("PYTHONPATH", ""), os.environ.get(importing.FOLDER_VARIABLE)
    try:
        importing.install(tmp_path)
        assert sys.path[:2] == [str(tmp_path), str(compat.PATH)]
    finally:
        importing.uninstall()
    assert (sys.path, os.environ["PYTHONPATH"], os.environ.get(importing.FOLDER_VARIABLE)) == before


# --- debugging ---


def session() -> Any:
    return importlib.import_module("voxloom.compat.debugging").LocalDebugSession()


def test_a_stack_becomes_one_file_per_slice(algorithm: Path) -> None:
    stack = np.arange(60, dtype=np.uint8).reshape(2, 5, 6)
    np.save(algorithm / "stack.npy", stack)
    tifffile.imwrite(algorithm / "stack.tif", stack)
    with h5py.File(algorithm / "stack.h5", "w") as file:
        file["name"], file["volume"] = "text", stack
    with session() as local:
        for name in ("stack.npy", "stack.tif", "stack.h5"):
            loaded = local.load_data(algorithm / name)
            outputs = local.run(algorithm, loaded, {"more": 1})
            np.testing.assert_array_equal(np.stack([one["image"] for one in outputs]), stack + 6)


def test_a_folder_of_pictures_is_loaded_by_name(tmp_path: Path) -> None:
    for number in (2, 1):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((2, 2), number, np.uint8))
    with session() as local:
        paths = local.link.fetch_paths(local.load_data(tmp_path))
        assert [int(h5py.File(path)["image"][0, 0]) for path in paths] == [1, 2]


def test_files_can_be_planted_and_read_as_objects(names: None, algorithm: Path, tmp_path: Path) -> None:
    handler = importlib.import_module("compox.tasks.DebuggingTaskHandler").DebuggingTaskHandler("task")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["image"] = np.ones((2, 2), np.uint8)
    handler.database_connection.put_objects("data-store", ["mine"], [(tmp_path / "in.h5").read_bytes()])
    made = handler.fetch_algorithm(algorithm)
    try:
        made.initialize()
        made.run({"input_dataset_ids": ["mine"]}, {})
        (output,) = handler.database_connection.get_objects("data-store", handler.output_dataset_ids)
    finally:
        handler.close()
    (tmp_path / "out.h5").write_bytes(output)
    assert (handler.task_id, int(h5py.File(tmp_path / "out.h5")["image"][0, 0])) == ("task", 6)
    with pytest.raises(AttributeError, match="TaskStoppedException"):
        _ = handler.stop_request


def test_assets_are_the_algorithms_and_not_what_lies_where_one_works(
    names: None, algorithm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a folder that one works in, with files of other weights and one that the algorithm has not
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "offset.txt").write_text("wrong")
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    handler = importlib.import_module("compox.tasks.DebuggingTaskHandler").DebuggingTaskHandler("task")
    # When an algorithm of another folder fetches its assets
    handler.fetch_algorithm(algorithm)
    try:
        assert handler.fetch_asset("files/offset.txt").getvalue() == b"5"
        # Then what is not its own is not there, unless it is named in full
        with pytest.raises(FileNotFoundError):
            handler.fetch_asset("mine.txt")
        assert handler.fetch_asset(str(tmp_path / "mine.txt")).getvalue() == b"mine"
    finally:
        handler.close()


def test_what_is_no_algorithm_is_an_import_error(tmp_path: Path) -> None:
    handler = importlib.import_module("voxloom.compat.debugging").DebuggingTaskHandler("task")
    with pytest.raises(ImportError, match=r"Runner\.py"):
        handler.fetch_algorithm(tmp_path)
    handler.close()
