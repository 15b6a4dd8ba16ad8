"""What goes wrong is said clearly, the system keeps serving, and nothing half-written stays visible."""

from __future__ import annotations

import io
import zlib

import h5py
import pytest

from tests.acceptance.support import Api, algorithm, eventually, generic, zipped
from tests.each import each

WRONG_SHAPE = """
def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    import numpy as np
    return [{"image": np.zeros((4, 4, 4, 4), np.uint8)}]

def postprocess(self, data, args):
    from voxloom.runner.io_schemas import ImageSchema
    return self.post_data(data, ImageSchema)
"""

SHORT = """
def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    return []

def postprocess(self, data, args):
    import h5py, zlib
    link = self.task_handler._link
    ((file_id, path),) = link.stage(1)
    with h5py.File(path, "w") as file:
        short = file.create_dataset("image", (1024, 1024), "u1", chunks=(1024, 1024), compression="gzip")
        short.id.write_direct_chunk((0, 0), zlib.compress(b"0123456789"))
    link.post([file_id])
    return [file_id]
"""
READS = """
def preprocess(self, input_data, args):
    from voxloom.runner.io_schemas import ImageSchema
    return self.fetch_data(input_data["input_dataset_ids"], ImageSchema)

def inference(self, data, args):
    return data

def postprocess(self, data, args):
    return []
"""


def test_an_upload_that_is_no_hdf5_is_refused_and_leaves_nothing(api: Api) -> None:
    answer = api.http.post("/api/v0/files", content=b"this is text, whatever its name said" * 100)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_hdf5_file")
    assert "HDF5" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v0/files/{id}", "file_not_found"),
        ("DELETE", "/api/v0/files/{id}", "file_not_found"),
        ("GET", "/api/v0/executions/{id}", "execution_record_not_found"),
        ("GET", "/api/v1/executions/{id}", "execution_record_not_found"),
        ("GET", "/api/v1/executions/{id}/log", "execution_record_not_found"),
        ("GET", "/api/v1/executions/{id}/events", "execution_record_not_found"),
        ("POST", "/api/v0/executions/{id}/stop", "execution_record_not_found"),
        ("GET", "/api/v0/deploy/{id}", "deploy_record_not_found"),
        ("GET", "/api/v0/algorithm/{id}/1", "algorithm_not_found"),
        ("DELETE", "/api/v1/algorithms/{id}/1", "algorithm_not_found"),
        ("GET", "/api/v0/nothing/{id}", "http_404"),
    ],
)
@each("identifier", ["00000000-0000-1000-8000-000000000000", "..%2F..%2Fetc", "%00", "ř" * 50, "x" * 4000])
def test_unknown_ids_are_404_with_a_reason(api: Api, method: str, path: str, code: str, identifier: str) -> None:
    answer = api.http.request(method, path.format(id=identifier))
    assert (answer.status_code, answer.json()["code"]) == (404, code), answer.text
    assert answer.json()["detail"]


def test_a_wrong_method_is_405_as_json(api: Api) -> None:
    answer = api.http.put("/api/v0/files")
    assert (answer.status_code, answer.json()["code"]) == (405, "http_405")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input_dataset_ids": []}, "algorithm_id"),
        ({"algorithm_id": "a"}, "input_dataset_ids"),
        ({"algorithm_id": "a", "input_dataset_ids": "not a list"}, "input_dataset_ids"),
        ({"algorithm_id": 5, "input_dataset_ids": []}, "algorithm_id"),
    ],
)
def test_a_wrong_request_is_422_that_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    answer = api.http.post("/api/v0/execute-algorithm", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_validation_error")
    assert field in str(answer.json()["details"]["errors"])


def test_malformed_json_is_422_not_500(api: Api) -> None:
    answer = api.http.post("/api/v0/execute-algorithm", content=b'{"algorithm_id": ')
    assert answer.status_code == 422
    assert "JSON" in answer.json()["detail"]


def test_unknown_inputs_are_named(api: Api, noop: str) -> None:
    body = {"algorithm_id": noop, "input_dataset_ids": ["missing-1", "missing-2"]}
    answer = api.http.post("/api/v0/execute-algorithm", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "input_datasets_not_found")
    assert answer.json()["details"]["missing_dataset_ids"] == ["missing-1", "missing-2"]


def test_an_unknown_algorithm_or_minor_version_is_404(api: Api, noop: str) -> None:
    unknown = api.http.post("/api/v0/execute-algorithm", json={"algorithm_id": "nope", "input_dataset_ids": []})
    assert unknown.json()["code"] == "algorithm_not_found"
    body = {"algorithm_id": noop, "input_dataset_ids": [], "algorithm_minor_version": "99"}
    assert api.http.post("/api/v0/execute-algorithm", json=body).json()["code"] == "minor_version_not_found"


@pytest.mark.parametrize(("value", "ok"), [(2.5, True), (3, True), ("three", False), (True, False), (99, False)])
def test_a_declared_parameter_is_checked(api: Api, value: object, ok: bool) -> None:
    toml = """
additional_parameters = [
  { name = "sigma", description = "s", config = { type = "float", default = 1.0, min = 0, max = 10 } },
]"""
    deployed = api.deploy(generic("checked", "pass", toml=toml))
    body = {
        "algorithm_id": deployed["algorithm_id"],
        "input_dataset_ids": [],
        "additional_parameters": {"sigma": value},
    }
    answer = api.http.post("/api/v0/execute-algorithm", json=body)
    assert answer.status_code == (200 if ok else 422), answer.text
    assert ok or "sigma" in str(answer.json()["details"])


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        ("bad_import", {"Runner.py": "import no_such_module_anywhere"}, "no_such_module_anywhere"),
        ("bad_syntax", {"Runner.py": "def broken(:"}, "SyntaxError"),
        ("no_runner_class", {"Runner.py": "class Other: pass"}, "Runner"),
        ("exits", {"Runner.py": "import os; os._exit(3)"}, "3"),
    ],
)
def test_an_algorithm_that_cannot_be_loaded_is_refused_with_the_reason(
    api: Api, name: str, files: dict[str, str], says: str
) -> None:
    answer = api.try_deploy({**generic(name, "pass"), **files})
    assert 400 <= answer.status_code < 500, answer.text
    record = api.http.get(f"/api/v0/deploy/{answer.json()['details']['deploy_id']}").json()
    assert record["status"] == "FAILED"
    assert says in answer.json()["detail"] + record["log"]


def test_a_zip_without_runner_is_refused(api: Api) -> None:
    files = generic("lonely", "pass")
    del files["Runner.py"]
    answer = api.try_deploy(files)
    assert (answer.status_code, answer.json()["code"]) == (400, "algorithm_runner_not_found")


def test_what_is_no_zip_is_refused(api: Api) -> None:
    answer = api.http.post("/api/v1/algorithms", content=b"PK but not really")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_deployment_zip")


def test_a_zip_that_climbs_out_of_its_folder_is_refused(api: Api) -> None:
    answer = api.http.post("/api/v1/algorithms", content=zipped({**generic("climber", "pass"), "../../evil.txt": "x"}))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_deployment_zip")


def test_a_folder_outside_the_allowed_roots_cannot_be_deployed(api: Api) -> None:
    for path in ("/etc", "/no/such/folder"):
        answer = api.http.post("/api/v0/deploy/local", params={"path": path})
        assert (answer.status_code, answer.json()["code"]) == (403, "deploy_path_not_allowed")


def test_an_algorithm_that_raises_fails_with_its_traceback_in_the_log(api: Api) -> None:
    deployed = api.deploy(generic("raises", "secret_local = 'hunter2'\nraise ValueError('the sky is red')"))
    record = api.run(deployed["algorithm_id"])
    assert (record["status"], record["error"]["type"]) == ("FAILED", "ValueError")
    assert "the sky is red" in record["log"]
    assert "Runner.py" in record["log"]


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("os_exit", "os._exit(7)", "7"),
        ("sys_exit", "sys.exit(4)", "4"),
        ("segfault", "import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("killed", "import signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    ],
)
def test_an_algorithm_that_exits_fails_and_says_how(api: Api, noop: str, name: str, body: str, says: str) -> None:
    record = api.run(api.deployed(generic(name, body)))
    assert record["status"] == "FAILED"
    assert says in record["error"]["message"]
    assert api.run(noop)["status"] == "COMPLETED"


def test_an_algorithm_that_prints_megabytes_completes_and_the_record_stays_readable(api: Api) -> None:
    body = "for n in range(40_000): print(f'{n:06d}', 'x' * 100)"
    record = api.run(api.deployed(generic("loud", body)))
    assert record["status"] == "COMPLETED"
    assert len(record["log"]) < 3 << 20
    whole = api.http.get(f"/api/v1/executions/{record['execution_id']}/log").text
    assert "000000 x" in whole
    assert "039999 x" in whole


def test_a_wrong_shape_fails_and_stores_nothing(api: Api) -> None:
    record = api.run(api.deployed(algorithm("wrong_shape", WRONG_SHAPE)))
    assert (record["status"], record["output_dataset_ids"]) == ("FAILED", [])
    assert "image" in record["log"]


def test_files_of_a_failed_run_are_never_seen(api: Api) -> None:
    # Given an algorithm that posts a file, says its id, and then fails
    body = """
import numpy as np
from voxloom.runner.io_schemas import ImageSchema
(file_id,) = self.post_data([{"image": np.zeros((4, 4), np.uint8)}], ImageSchema)
self.log_message(f"posted <{file_id}>")
raise RuntimeError("too late")
"""
    record = api.run(api.deployed(generic("half", body)))
    # When somebody asks for it, then there is no such file
    file_id = record["log"].split("posted <")[1].split(">")[0]
    assert api.http.get(f"/api/v0/files/{file_id}").status_code == 404


def test_chunks_that_unpack_to_too_little_give_nothing_of_the_memory(api: Api) -> None:
    # Given a file with such a chunk: an upload is refused
    with io.BytesIO() as room:
        with h5py.File(room, "w") as file:
            short = file.create_dataset("image", (1024, 1024), "u1", chunks=(1024, 1024), compression="gzip")
            short.id.write_direct_chunk((0, 0), zlib.compress(b"0123456789"))
        refused = api.http.post("/api/v0/files", content=room.getvalue())
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_hdf5_file")
    assert "too few for the 1048576 that are declared" in refused.json()["detail"]
    # What a run writes is not looked at, so nobody can read it: no slice, no statistics, no other run
    (output,) = api.run(api.deployed(algorithm("short", SHORT)))["output_dataset_ids"]
    for what in ("info", "slice"):
        answer = api.http.get(f"/api/v1/files/{output}/{what}")
        assert (answer.status_code, "the 1048576 that are declared" in answer.text) == (422, True)
    record = api.run(api.deployed(algorithm("reads", READS)), [output])
    assert (record["status"], "the 1048576 that are declared" in record["error"]["message"]) == ("FAILED", True)


@pytest.mark.parametrize("value", ["None", "'text'", "{'a': 1}", "[1, 2]"])
def test_a_wrong_return_value_fails_and_says_what_to_return(api: Api, value: str) -> None:
    body = f"""
def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    return []

def postprocess(self, data, args):
    return {value}
"""
    name = f"returns_{abs(hash(value))}"
    record = api.run(api.deployed(algorithm(name, body)))
    assert record["status"] == "FAILED"
    assert "postprocess" in record["error"]["message"]


def test_free_text_ids_are_legal_outputs(api: Api) -> None:
    body = """
def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    return []

def postprocess(self, data, args):
    return ["This is Foo!"]
"""
    assert api.run(api.deployed(algorithm("foo", body)))["output_dataset_ids"] == ["This is Foo!"]


def test_an_override_that_the_algorithm_does_not_support_runs_on_its_default_with_a_warning(
    api: Api, noop: str
) -> None:
    record = api.run(noop, execution_device_override="gpu")
    assert (record["status"], record["resolved_execution_device"]) == ("COMPLETED", "cpu")
    assert "WARNING" in record["log"]


@pytest.mark.parametrize("override", [None, "cpu"])
def test_an_algorithm_for_devices_that_nobody_has_runs_on_the_processor_with_a_warning(
    api: Api, override: str | None
) -> None:
    elsewhere = generic("elsewhere", "pass", toml='supported_devices = ["mps"]')
    record = api.run(api.deployed(elsewhere), execution_device_override=override)
    assert (record["status"], record["resolved_execution_device"]) == ("COMPLETED", "cpu")
    assert "WARNING" in record["log"]


def test_what_an_authors_exception_says_for_programs_is_in_the_record(api: Api) -> None:
    raised = "raise CompoxTaskError('dark', details={'mean': 0.5, 'file': None})"
    body = f"from compox.exceptions import CompoxTaskError\n{raised}"
    error = api.run(api.deployed(generic("dark", body)))["error"]
    assert (error["code"], error["details"]) == ("task_error", {"mean": 0.5, "file": None})


def test_stopping_what_has_ended_says_so(api: Api, noop: str) -> None:
    run = api.run(noop)["execution_id"]
    answer = api.stop(run)
    assert (answer.status_code, answer.json()["code"]) == (400, "execution_not_stoppable")


def test_a_made_up_cursor_is_422(api: Api) -> None:
    assert api.http.get("/api/v1/executions", params={"cursor": "made-up"}).status_code == 422


def test_after_all_this_the_system_is_ready(api: Api) -> None:
    eventually(lambda: api.http.get("/readyz").status_code == 200, what="readiness")
