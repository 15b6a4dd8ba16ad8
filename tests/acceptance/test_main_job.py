"""The main job over REST: deploy, upload, run, watch, get the result."""

from __future__ import annotations

import importlib
import io
import json
import time
import uuid
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.acceptance.support import PLUS_ONE, TICKER, Api, algorithm, eventually, generic, hdf5
from voxloom.bundle import zip_entry


@pytest.fixture(scope="module")
def plus_one() -> dict[str, str]:
    return algorithm("plus_one", PLUS_ONE)


def test_a_volume_goes_in_and_the_result_comes_out(
    api: Api, plus_one: dict[str, str], volume: NDArray[np.float32]
) -> None:
    # Given a deployed algorithm and an uploaded volume
    deployed = api.deploy(plus_one)
    file_id = api.upload(volume=volume)
    # When it is run
    record = api.run(deployed["algorithm_id"], [file_id])
    # Then the output is the volume plus one, with its dtype
    assert record["status"] == "COMPLETED", record["log"]
    result = api.download(record["output_dataset_ids"][0])["volume"]
    np.testing.assert_array_equal(result, volume + 1)


def test_an_output_is_an_input_at_once(api: Api, plus_one: dict[str, str], volume: NDArray[np.float32]) -> None:
    deployed = api.deploy(plus_one)
    first = api.run(deployed["algorithm_id"], [api.upload(volume=volume)])
    second = api.run(deployed["algorithm_id"], first["output_dataset_ids"])
    result = api.download(second["output_dataset_ids"][0])["volume"]
    np.testing.assert_array_equal(result, volume + 2)


def test_a_record_can_be_read_as_soon_as_its_post_has_answered(api: Api, noop: str) -> None:
    for _ in range(20):
        run = api.execute(noop)
        assert api.record(run)["execution_id"] == run


def test_a_completed_record_says_how_it_went(api: Api, noop: str) -> None:
    record = api.run(noop)
    assert record["status"] == "COMPLETED"
    assert (record["progress"], record["attempt"], record["resolved_execution_device"]) == (1.0, 1, "cpu")
    assert record["session_token"]
    assert record["time_completed"] >= record["time_started"]


def test_parameters_are_filled_for_the_author_and_kept_as_sent_in_the_record(api: Api) -> None:
    toml = """
additional_parameters = [
  { name = "sigma", description = "s", config = { type = "float", default = 1.5 } },
  { name = "mode", description = "m", config = { type = "string_enum", options = ["a", "b"], default = "b" } },
]"""
    deployed = api.deploy(generic("filled", 'self.log_message(f"{sorted(args.items())}")', toml=toml))
    record = api.run(deployed["algorithm_id"], additional_parameters={"sigma": 2, "extra": [1]})
    assert "[('extra', [1]), ('mode', 'b'), ('sigma', 2" in record["log"]
    assert record["additional_parameters"] == {"sigma": 2, "extra": [1]}


def test_everything_an_author_prints_is_in_the_log(api: Api) -> None:
    says = """
import logging
print("by print")
logging.getLogger("mine").warning("by logging")
self.log_message("by message", "ERROR")
self.log_message("not shown", "DEBUG")
os.write(1, b"by the C library\\n")
"""
    record = api.run(api.deployed(generic("chatty", says)))
    for text in ("by print", "by logging", "ERROR by message", "by the C library"):
        assert text in record["log"]
    assert "not shown" not in record["log"]


def test_two_algorithms_that_share_module_names_each_get_their_own(api: Api) -> None:
    body = "from utils import WHO\nimport pkg.sub as s\nself.log_message(f'{WHO} {s.WHO}')"
    logs = []
    for who in ("first", "second"):
        files = {"utils.py": f"WHO = '{who}'", "pkg/__init__.py": "", "pkg/sub.py": f"WHO = 'sub of {who}'"}
        logs.append(api.run(api.deployed(generic(f"named_{who}", body, **files)))["log"])
    assert "first sub of first" in logs[0]
    assert "second sub of second" in logs[1]


def test_assets_are_read_by_their_path(api: Api) -> None:
    body = "self.log_message(self.fetch_asset('files/weights.txt').getvalue().decode())"
    deployed = api.deploy(generic("with_asset", body, **{"files/weights.txt": "heavy"}))
    assert "heavy" in api.run(deployed["algorithm_id"])["log"]


def test_the_folder_of_an_algorithm_is_as_it_was_deployed(api: Api) -> None:
    # Given an algorithm that reads, imports and executes what lies beside its Runner.py
    body = """
from pathlib import Path
import subprocess
import vendored
home = Path(__file__).parent
said = subprocess.run([home / "bin/tool"], capture_output=True, text=True, check=True).stdout
links = [path for path in home.rglob("*") if path.is_symlink()]
self.log_message(f"{(home / 'files/weights.txt').read_text()} {vendored.inside.__name__} {said} {links}")
"""
    native = compiled_module()
    files: dict[str, str | bytes] = {
        **generic("whole", body),
        "vendored/__init__.py": f"from . import {native.name.partition('.')[0]} as inside\n",
        f"vendored/{native.name}": native.read_bytes(),
        "bin/tool": "#!/bin/sh\necho from a tool",
        "files/weights.txt": "heavy",
    }
    # When it runs
    answer = api.http.post("/api/v1/algorithms", content=zipped_with_modes(files, executable={"bin/tool"}))
    record = api.run(answer.json()["algorithm_id"])
    # Then all is there, in plain files
    assert f"heavy vendored.{native.name.partition('.')[0]} from a tool" in record["log"], record["log"]
    assert "[]" in record["log"]


def compiled_module() -> Path:
    """One of Python's own that can be loaded under another name."""
    modules = map(importlib.import_module, ("_csv", "_bisect", "_heapq", "_json"))
    return Path(next(file for module in modules if (file := getattr(module, "__file__", None))))


def zipped_with_modes(files: Mapping[str, str | bytes], executable: Collection[str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in files.items():
            archive.writestr(zip_entry(path, len(content), executable=path in executable), content)
    return target.getvalue()


def test_a_process_is_kept_warm_with_its_assets_loaded(api: Api) -> None:
    body = """
def load_assets(self):
    self.loaded = os.getpid(), time.monotonic()

def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    self.log_message(f"loaded {self.loaded}")

def postprocess(self, data, args):
    return []
"""
    deployed = api.deploy(algorithm("warm", body))
    logs = {api.run(deployed["algorithm_id"])["log"].split("loaded ")[1] for _ in range(6)}
    assert len(logs) <= 2  # one process per slot at most, not one per run


def test_locked_attributes_refuse_and_others_start_afresh(api: Api) -> None:
    body = """
def __init__(self):
    self.count = 0

def load_assets(self):
    self.model = "m"

def preprocess(self, input_data, args):
    self.count += 1
    try:
        self.model = "other"
    except AttributeError as error:
        self.log_message(f"refused: {error}")
    self.log_message(f"count {self.count}")

def inference(self, data, args):
    return data

def postprocess(self, data, args):
    return []
"""
    deployed = api.deploy(algorithm("locked", body))
    logs = [api.run(deployed["algorithm_id"])["log"] for _ in range(3)]
    assert all("refused" in log and "model" in log and "count 1" in log for log in logs)


def sse(api: Api, run: str, **headers: str) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    with api.http.stream("GET", f"/api/v1/executions/{run}/events", headers=headers, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                yield kind, json.loads(line.removeprefix("data:"))


def test_events_show_progress_and_log_while_it_runs_and_end_with_the_run(api: Api) -> None:
    body = "self.log_message('hello from inside')\n" + TICKER
    run = api.execute(api.deployed(generic("watched", body)), additional_parameters={"steps": 20})
    seen = list(sse(api, run))
    progress = [data["progress"] for kind, data in seen if kind == "progress"]
    assert [data["status"] for kind, data in seen if kind == "status"][-1] == "COMPLETED"
    assert progress == sorted(progress)
    assert len(progress) >= 3
    assert any("hello from inside" in data["text"] for kind, data in seen if kind == "log")


def test_progress_shows_in_the_record_while_it_runs(api: Api) -> None:
    run = api.execute(api.deployed(generic("ticker", TICKER)))
    eventually(lambda: 0 < api.record(run)["progress"] < 1, what="progress")
    assert api.stop(run).status_code == 200


def test_the_log_can_be_read_while_it_runs_and_after(api: Api) -> None:
    body = "print('early')\n" + TICKER
    run = api.execute(api.deployed(generic("logged", body)), additional_parameters={"steps": 30})
    eventually(lambda: "early" in api.http.get(f"/api/v1/executions/{run}/log").text, what="the line")
    api.wait(run)
    assert "early" in api.http.get(f"/api/v1/executions/{run}/log").text


def test_lists_page_through_all_runs_newest_first(api: Api, noop: str) -> None:
    # Given some runs
    runs = [api.execute(noop) for _ in range(7)]
    for run in runs:
        api.wait(run)
    # When the list is read in pages of three
    seen: list[str] = []
    url = "/api/v1/executions?limit=3"
    while len(seen) < len(runs):
        page = api.http.get(url)
        seen += [item["execution_id"] for item in page.json()]
        url = page.links["next"]["url"] if "next" in page.links else ""
    # Then they are there, newest first
    assert seen[: len(runs)] == runs[::-1]


def test_a_long_poll_answers_as_soon_as_the_run_has_ended(api: Api) -> None:
    run = api.execute(api.deployed(generic("napper", "time.sleep(0.3)")))
    begun = time.monotonic()
    record = api.http.get(f"/api/v1/executions/{run}", params={"wait": 60}).json()
    assert record["status"] == "COMPLETED"
    assert time.monotonic() - begun < 45


def test_a_second_equal_deploy_adds_no_version_and_a_changed_one_does(api: Api) -> None:
    one = api.deploy(generic("versions", "pass"))
    two = api.deploy(generic("versions", "pass"))
    three = api.deploy(generic("versions", "print('changed')"))
    assert one["algorithm_id"] == two["algorithm_id"] == three["algorithm_id"]
    versions = [deploy["algorithm_minor_version"] for deploy in (one, two, three)]
    assert versions == ["0", "0", "1"]


def test_a_given_minor_version_is_the_one_that_runs(api: Api) -> None:
    algorithm_id = api.deployed(generic("pinned", "print('old code')"))
    api.deploy(generic("pinned", "print('new code')"))
    assert "old code" in api.run(algorithm_id, algorithm_minor_version="0")["log"]
    assert "new code" in api.run(algorithm_id)["log"]


def test_removing_an_algorithm_takes_it_out_of_the_list(api: Api) -> None:
    api.deploy(generic("removed", "pass"))
    assert api.http.delete("/api/v1/algorithms/removed/1").status_code == 200
    assert api.http.get("/api/v0/algorithm/removed/1").json()["code"] == "algorithm_not_found"


def test_many_runs_at_once_all_complete(api: Api, noop: str) -> None:
    runs = [api.execute(noop) for _ in range(40)]
    assert {api.wait(run)["status"] for run in runs} == {"COMPLETED"}


def test_runs_with_one_session_token_share_items_also_between_algorithms(api: Api) -> None:
    # Given two algorithms that count in one session
    body = """
try:
    counts = self.load_item_from_session("counts")
except KeyError:
    self.save_item_to_session(counts := [], "counts")
counts.append(args["who"])
return [str(one) for one in counts]
"""
    first, second = (api.deployed(generic(f"counting_{who}", body)) for who in ("a", "b"))
    record = api.run(first, additional_parameters={"who": "a"})
    # When both run with the token that the first run was given, and another run without it
    token = record["session_token"]
    shared = [
        api.run(one, session_token=token, additional_parameters={"who": who})
        for one, who in ((second, "b"), (first, "a"))
    ]
    alone = api.run(first, additional_parameters={"who": "a"})
    # Then they see what the others have left
    assert [one["output_dataset_ids"] for one in (*shared, alone)] == [["a", "b"], ["a", "b", "a"], ["a"]]


def test_a_file_that_was_put_through_a_url_is_an_input_at_once(api: Api, volume: NDArray[np.float32]) -> None:
    algorithm_id = api.deployed(algorithm("plus_one", PLUS_ONE))
    name = f"scan-{uuid.uuid4()}"
    url = api.http.get(f"/api/v1/files/{name}/upload-url").json()["url"]
    assert httpx.put(url, content=hdf5(volume=volume)).status_code == 200
    (output,) = api.run(algorithm_id, [name])["output_dataset_ids"]
    downloaded = httpx.get(api.http.get(f"/api/v1/files/{output}/download-url").json()["url"])
    with h5py.File(io.BytesIO(downloaded.content)) as file:
        np.testing.assert_array_equal(file["volume"][()], volume + 1)
