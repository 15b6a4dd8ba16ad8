"""Names of Compox beyond the runner: what takes the place of its connections, deployers and models, and its errors."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import voxloom
from tests.unit.author_world import learning, within
from tests.unit.author_world import link as link
from tests.unit.author_world import lonely as lonely
from tests.unit.author_world import names as names
from voxloom import models
from voxloom.client import Client
from voxloom.errors import InvalidInput
from voxloom.runner import ImageSchema, TaskStoppedException
from voxloom.testing import LocalLink

# --- 9. connections, 10. deploying, 11. the server's own --------------------------------------------------

ABSENT = {
    "database_connection.BaseConnection": r"self\.fetch_data, self\.post_data and self\.fetch_asset",
    "database_connection.S3Connection": "runs hold no credentials",
    "database_connection.TempfileConnection": r"voxloom\.testing\.run",
    "database_connection.database_utils": r"self\.fetch_data",
    "algorithm_utils.AlgorithmManager": "voxloom rm NAME MAJOR",
    "pydantic_models": r"voxloom\.models",
    "routers": r"docs/rest\.md",
}


@pytest.mark.parametrize("module", ABSENT)
def test_a_module_that_is_not_here_names_what_to_use(names: None, module: str) -> None:
    with pytest.raises(ImportError, match=ABSENT[module]):
        importlib.import_module(f"compox.{module}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "2.5.1"\n')
    (tmp_path / "Runner.py").write_text("")
    return tmp_path


def deployer(folder: Path) -> Any:
    return importlib.import_module("compox.algorithm_utils.AlgorithmDeployer").AlgorithmDeployer(folder)


def test_a_deployer_tells_what_a_deploy_would_see(names: None, folder: Path) -> None:
    made = deployer(folder)
    told = (made.algorithm_name, made.algorithm_major_version, made.algorithm_minor_version)
    assert told == ("mine", "2", "5")


@pytest.mark.parametrize(
    ("pyproject", "error"),
    [(None, FileNotFoundError), ("[project", ValueError), ("[project]\nname = 'a'", KeyError), ("", KeyError)],
)
def test_a_deployer_refuses_as_compox_does(names: None, folder: Path, pyproject: Any, error: type[Exception]) -> None:
    (folder / "pyproject.toml").unlink()
    if pyproject is not None:
        (folder / "pyproject.toml").write_text(pyproject)
    with pytest.raises(error):
        deployer(folder)


def test_check_gives_what_a_deploy_would_see(folder: Path) -> None:
    (folder / "Runner.py").write_text("from voxloom import Runner as Base\nclass Runner(Base): ...\n")
    warnings: list[str] = []
    with pytest.raises(InvalidInput, match="lacks inference, postprocess, preprocess"):
        voxloom.check(folder, warn=warnings.append)
    (folder / "Runner.py").write_text("from voxloom.runner import Image2ImageRunner as Runner\n")
    seen = voxloom.check(folder, warn=warnings.append)
    assert (seen.name, seen.major, seen.minor, len(warnings) > 0) == ("mine", "2", "5", True)


@pytest.mark.parametrize("name", ["store_algorithm", "deploy_from_zip"])
def test_a_deployer_leaves_deploying_to_others(names: None, folder: Path, name: str) -> None:
    with pytest.raises(AttributeError, match="voxloom deploy"):
        getattr(deployer(folder), name)


@pytest.mark.parametrize("name", ["deploy", "algorithms", "remove"])
def test_the_client_does_what_deployer_and_manager_did(name: str) -> None:
    assert callable(getattr(Client, name))


@pytest.mark.parametrize("version", [1, 4])
def test_generate_uuid_makes_ids_of_either_version(names: None, version: int) -> None:
    utils = importlib.import_module("compox.server_utils")
    made = {utils.generate_uuid(version=version) for _ in range(2)}
    assert (len(made), {one[14] for one in made}) == (2, {str(version)})


def test_generate_uuid_knows_no_other_version(names: None) -> None:
    with pytest.raises(ValueError, match="version 1 and 4"):
        importlib.import_module("compox.server_utils").generate_uuid(3)


class FakeTorch:
    """A torch that sees two cards and no Apple chip."""

    class cuda:  # noqa: N801
        is_available = staticmethod(lambda: True)
        device_count = staticmethod(lambda: 2)

    class backends:  # noqa: N801
        class mps:  # noqa: N801
            is_available = staticmethod(lambda: False)


@pytest.mark.parametrize(("torch", "told"), [(FakeTorch, (True, False)), (None, (False, False))])
def test_what_torch_can_use_is_what_torch_says(
    names: None, monkeypatch: pytest.MonkeyPatch, torch: Any, told: Any
) -> None:
    utils = importlib.import_module("compox.server_utils")
    monkeypatch.setitem(importlib.import_module("sys").modules, "torch", torch)
    assert (utils.check_torch_with_cuda_available(), utils.check_mps_availability()) == told


@pytest.mark.parametrize(("cards", "told"), [(2, (True, 2)), (0, (False, 0)), (None, (None, None))])
def test_cards_are_the_drivers_with_torch_or_without(
    names: None, monkeypatch: pytest.MonkeyPatch, cards: int | None, told: Any
) -> None:
    utils = importlib.import_module("compox.server_utils")
    monkeypatch.setitem(importlib.import_module("sys").modules, "torch", None)
    monkeypatch.setattr("voxloom.compat.cards.count", lambda: cards)
    assert utils.check_system_gpu_availability() == told


@pytest.mark.parametrize(
    "name",
    [
        *("algorithm_cache", "data_cache", "weak_lru", "calculate_s3_etag", "check_and_create_database_collections"),
        *("find_algorithm_by_id", "get_subprocess_fn"),
    ],
)
def test_a_server_util_that_is_not_here_names_what_to_use(names: None, name: str) -> None:
    with pytest.raises(ImportError, match=rf"{name}.* here\. Use \w"):
        exec(f"from compox.server_utils import {name}")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("AlgorithmRecord", {"algorithm_id", "algorithm_minor_versions", "additional_parameters", "exportable"}),
        ("CheckpointRecord", {"checkpoint_id", "training_id", "parent_algorithm_id", "parent_checkpoint_id"}),
        ("DeployRecord", {"deploy_id", "status", "path", "log"}),
        ("DeployResponse", {"algorithm_id", "algorithm_minor_version"}),
        ("ExecutionRequest", {"algorithm_id", "input_dataset_ids", "execution_device_override", "session_token"}),
        ("ExecutionResponse", {"execution_id"}),
        ("ExecutionRecord", {"execution_id", "output_dataset_ids", "resolved_execution_device", "log"}),
        ("FileUploadResponse", {"file_id"}),
        ("UrlResponse", {"url"}),
        ("SampleRequest", {"files", "tags"}),
        ("SampleResponse", {"sample_id"}),
        ("SampleRecord", {"sample_id", "files", "tags", "time_created"}),
        ("TrainingRequest", {"algorithm_id", "training_data", "tags", "checkpoint_id"}),
        ("TrainingResponse", {"training_id"}),
        ("TrainingRecord", {"training_id", "state", "output_checkpoint_ids", "time_completed"}),
        ("BenchmarkRequest", {"algorithm_id", "additional_parameters"}),
        ("BenchmarkResponse", {"benchmark_id"}),
        ("BenchmarkRecord", {"benchmark_id", "data", "status"}),
        ("ResponseMessage", {"detail"}),
        ("RootMessage", {"name", "tags", "version", "cuda_available"}),
    ],
)
def test_what_goes_over_the_wire_has_a_model(name: str, fields: set[str]) -> None:
    assert fields - set(getattr(models, name).model_fields) == set()


# --- 12. exceptions ---------------------------------------------------------------------------------------

BASES = {
    "CompoxClientError": "CompoxError",
    "CompoxServerError": "CompoxError",
    "CompoxValidationError": "CompoxClientError",
    "CompoxNotFoundError": "CompoxError",
    "CompoxConflictError": "CompoxError",
    "CompoxConfigurationError": "CompoxServerError",
    "CompoxDomainError": "CompoxServerError",
    **{
        f"Compox{kind}Error": "CompoxDomainError"
        for kind in (
            *("Task", "Algorithm", "Deployment", "Asset", "File", "Checkpoint", "Import", "Bundle", "Training"),
            *("Execution", "State"),
        )
    },
    "CompoxStorageError": "CompoxServerError",
}
STATUS = {
    "CompoxClientError": 400,
    "CompoxValidationError": 400,
    "CompoxNotFoundError": 404,
    "CompoxConflictError": 409,
}


@pytest.mark.parametrize("name", BASES)
def test_an_error_class_has_its_base_and_status(names: None, name: str) -> None:
    exceptions = importlib.import_module("compox.exceptions")
    raised = getattr(exceptions, name)("said")
    assert isinstance(raised, getattr(exceptions, BASES[name]))
    assert isinstance(raised, exceptions.CompoxError)
    assert raised.http_status == STATUS.get(name, raised.http_status)


@pytest.mark.parametrize("name", ["CompoxError", *BASES])
def test_an_error_takes_and_has_every_field(names: None, name: str) -> None:
    cause = RuntimeError("before")
    kind = getattr(importlib.import_module("compox.exceptions"), name)
    raised = kind("said", code="mine", http_status=418, retryable=True, details={"a": 1}, cause=cause)
    told = (raised.message, raised.code, raised.http_status, raised.retryable, raised.details, raised.cause)
    assert told == ("said", "mine", 418, True, {"a": 1}, cause)


@pytest.mark.parametrize("name", ["Asset", "Checkpoint", "Training", "State"])
def test_what_the_runner_api_raises_is_a_value_error_too(names: None, name: str) -> None:
    assert issubclass(getattr(importlib.import_module("compox.exceptions"), f"Compox{name}Error"), ValueError)


def provoke(self: Any, call: str) -> Any:
    return {
        "Asset": lambda: self.fetch_asset("absent"),
        "State": lambda: self.load_item_from_session("a"),
        "Storage": lambda: self.fetch_data(["absent"], ImageSchema),
        "Checkpoint": lambda: self.save_checkpoint({"absent": b""}),
        "NotFound": lambda: self.get_training_dataset(["absent"]),
        "Training": lambda: self.save_training_files_to_temp_store("../x", [], ImageSchema),
    }[call]()


@pytest.mark.parametrize("kind", ["Asset", "Storage", "Checkpoint", "NotFound", "Training"])
def test_an_error_that_is_caught_is_over(names: None, link: LocalLink, kind: str) -> None:
    error = getattr(importlib.import_module("compox.exceptions"), f"Compox{kind}Error")

    def step(self: Any) -> str:
        try:
            provoke(self, kind)
        except error:
            return "went on"
        return "no error"

    assert learning(link, step) == "went on"


def test_a_state_error_that_is_caught_is_over(names: None, lonely: LocalLink) -> None:
    error = importlib.import_module("compox.exceptions").CompoxStateError

    def step(self: Any) -> str:
        with pytest.raises(error):
            provoke(self, "State")
        return "went on"

    assert within(lonely, step) == "went on"


def test_validation_errors_are_pydantics_own(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        with pytest.raises(ValidationError) as caught:
            self.post_data([{}], ImageSchema)
        return type(caught.value)

    assert within(link, step) is ValidationError
    assert issubclass(ValidationError, ValueError)


def test_a_session_raises_a_plain_key_error(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        with pytest.raises(KeyError) as caught:
            self.load_item_from_session("absent")
        return type(caught.value)

    assert within(link, step) is KeyError


def test_a_stop_is_no_exception_and_a_bad_number_a_value_error() -> None:
    assert (issubclass(TaskStoppedException, Exception), issubclass(InvalidInput, ValueError)) == (False, True)
