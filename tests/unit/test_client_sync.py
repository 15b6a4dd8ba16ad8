"""The synchronous client against a server on a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.unit.client_fake import (
    FakeServer,
    a_volume,
    an_algorithm,
    log_event,
    problem,
    progress_event,
    running,
    status_event,
)
from voxloom.client import Client, LogUpdate, ProgressUpdate, StatusUpdate, Update
from voxloom.errors import Conflict, InvalidInput, NotFound, RunFailed, Unavailable, VoxloomError
from voxloom.models import RunError, Status


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as one:
        yield one


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.url) as one:
        yield one


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", ">u2", "bool", "complex64"])
def test_an_array_comes_back_as_it_was(client: Client, dtype: str) -> None:
    array = np.arange(3 * 200 * 200).reshape(3, 200, 200).astype(dtype)
    back = client.download(client.upload(array, dataset="volume"))
    assert isinstance(back, dict)
    np.testing.assert_array_equal(back["volume"], array)
    assert back["volume"].dtype == array.dtype


def test_an_array_that_is_not_contiguous_comes_back_as_it_was(client: Client) -> None:
    array = a_volume(4, 300).transpose(2, 0, 1)[::2]
    back = client.download(client.upload(array))
    assert isinstance(back, dict)
    np.testing.assert_array_equal(back["image"], array)


def test_what_is_uploaded_is_contiguous_and_unfiltered(client: Client, server: FakeServer, tmp_path: Path) -> None:
    file_id = client.upload({"image": a_volume(1, 512)[0], "small": np.arange(3)})
    path = tmp_path / "sent.h5"
    path.write_bytes(server.files[file_id])
    with h5py.File(path) as file:
        assert [(one.chunks, one.compression) for one in file.values()] == [(None, None)] * 2


def test_a_dict_of_arrays_and_texts_comes_back_as_it_was(client: Client) -> None:
    back = client.download(client.upload({"image": a_volume(1, 300)[0], "names": ["a", "ü"], "note": "x", "none": []}))
    assert isinstance(back, dict)
    assert (back["names"], back["note"], back["none"]) == (["a", "ü"], "x", [])


def test_an_hdf5_file_is_sent_as_it_is(client: Client, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/down", data=a_volume(), compression="gzip")
    assert server.files[client.upload(path)] == path.read_bytes()


def test_a_download_to_a_path_holds_the_same_bytes(client: Client, server: FakeServer, tmp_path: Path) -> None:
    file_id = server.add_file(image=a_volume(20, 256))
    saved = client.download(file_id, tmp_path / "new" / "out.h5")
    assert isinstance(saved, Path)
    assert saved.read_bytes() == server.files[file_id]


def test_a_failed_download_leaves_nothing_behind(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        client.download("nope", tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []


def test_many_files_go_up_in_order_and_several_at_a_time(client: Client, server: FakeServer) -> None:
    server.slow_secs = 0.02
    ids = client.upload_many(list(a_volume(40)))
    assert [int(server.datasets(one)["image"][0, 0]) for one in ids] == [index * 64 for index in range(40)]
    assert 1 < server.most_at_once <= 8


def test_many_files_come_down_in_order(client: Client, server: FakeServer, tmp_path: Path) -> None:
    ids = [server.add_file(image=image) for image in a_volume(12)]
    paths = client.download_many(ids, tmp_path)
    assert [path.read_bytes() for path in paths] == [server.files[one] for one in ids]


def test_a_deleted_file_is_gone(client: Client, server: FakeServer) -> None:
    client.delete(server.add_file(image=a_volume()))
    assert server.files == {}


def test_what_is_no_input_is_refused_before_anything_is_sent(client: Client, server: FakeServer) -> None:
    with pytest.raises(InvalidInput, match="type int cannot be sent"):
        client.upload(3)
    assert server.requests == []


# --- algorithms -------------------------------------------------------------------------------------------


def an_algorithm_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "smooth"\nversion = "1.0"\n')
    (folder / "Runner.py").write_text("class Runner: ...\n")
    return folder


def test_a_folder_is_deployed_as_a_zip(client: Client, server: FakeServer, tmp_path: Path) -> None:
    record = client.deploy(an_algorithm_folder(tmp_path / "algorithm"), major=2, removable=True)
    assert record.algorithm_name == "smooth"
    query, names = server.deployed[0]
    assert (query, sorted(names)) == (
        {"algorithm_major_version": "2", "removable": "true"},
        ["Runner.py", "pyproject.toml"],
    )


def test_a_refused_deploy_says_why_and_names_the_deploy(client: Client, tmp_path: Path) -> None:
    folder = an_algorithm_folder(tmp_path / "algorithm")
    (folder / "Runner.py").rename(folder / "Other.py")
    with pytest.raises(InvalidInput, match=r"no Runner\.py") as refused:
        client.deploy(folder)
    assert (refused.value.code, refused.value.details) == ("algorithm_runner_not_found", {"deploy_id": "d"})


@pytest.mark.parametrize("name", ["nothing", "folder", "scan.tif"])
def test_deploying_what_is_no_algorithm_says_what_to_name(
    client: Client, server: FakeServer, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "scan.tif").write_text("II")
    with pytest.raises(InvalidInput, match="There is no algorithm at"):
        client.deploy(tmp_path / name)
    assert server.requests == []


def test_no_algorithms_are_an_empty_list(client: Client) -> None:
    assert client.algorithms() == []


def test_an_algorithm_is_found_by_its_highest_major(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm(major="9"), an_algorithm(major="10"), an_algorithm("other", "11")]
    assert client.find("Smooth") == server.algorithms[1]
    assert client.find("smooth:9") == server.algorithms[0]
    assert client.find(server.algorithms[2].algorithm_id) == server.algorithms[2]


def test_an_unknown_algorithm_is_answered_with_those_there_are(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    with pytest.raises(NotFound, match="no algorithm 'smoth'; deployed are: smooth"):
        client.find("smoth")


def test_an_algorithm_or_one_minor_version_is_removed(client: Client, server: FakeServer) -> None:
    assert client.remove("smooth", 1) == "Algorithm removed"
    client.remove("smooth", "1", minor=3)
    assert server.removed == [("smooth", "1", None), ("smooth", "1", "3")]


# --- runs -------------------------------------------------------------------------------------------------


def test_a_volume_goes_slice_by_slice_and_comes_back_as_one(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    result = client.submit("smooth", a_volume(12), {"sigma": np.float32(2)}).result()
    np.testing.assert_array_equal(result, a_volume(12) + 1)
    assert len(server.bodies[0]["input_dataset_ids"]) == 12
    assert server.bodies[0]["additional_parameters"] == {"sigma": 2.0}


def test_slices_for_a_segmentation_algorithm_are_masks(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm(kind="Segmentation2Segmentation")]
    client.submit("smooth", a_volume())
    assert [set(server.datasets(one)) for one in server.bodies[0]["input_dataset_ids"]] == [{"mask"}] * 5


def test_a_generic_algorithm_gets_the_volume_as_one_file(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm(kind="Generic")]
    result = client.submit("smooth", a_volume(), dataset="volume").result()
    assert [one.shape for one in result] == [(5, 8, 8)]
    assert set(server.datasets(server.bodies[0]["input_dataset_ids"][0])) == {"volume"}


@pytest.mark.parametrize("kind", ["Generic", "Image2Image"])
@pytest.mark.parametrize("wrapped", [lambda array: array, lambda array: {"image": array}], ids=["array", "dict"])
def test_a_masked_array_is_refused_as_its_mask_would_get_lost(
    client: Client, server: FakeServer, kind: str, wrapped: Callable[[Any], Any]
) -> None:
    server.algorithms = [an_algorithm(kind=kind)]
    with pytest.raises(InvalidInput, match="files have no masks"):
        client.submit("smooth", wrapped(np.ma.masked_less(a_volume(), 1)))


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_dataset_that_the_input_cannot_have_is_not_ignored(
    client: Client, server: FakeServer, tmp_path: Path, suffix: str
) -> None:
    from voxloom.imagefiles import write_image

    server.algorithms = [an_algorithm()]
    path = tmp_path / f"in{suffix}"
    write_image(path, a_volume())
    for given in (path, a_volume()):
        with pytest.raises(InvalidInput, match="'raw' was asked for, but"):
            client.submit("smooth", given, dataset="raw")


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".tif"])
def test_a_file_of_a_volume_goes_slice_by_slice(
    client: Client, server: FakeServer, tmp_path: Path, suffix: str
) -> None:
    from voxloom.imagefiles import write_image

    server.algorithms = [an_algorithm()]
    path = tmp_path / f"in{suffix}"
    write_image(path, a_volume(), dataset="scan")
    np.testing.assert_array_equal(client.submit("smooth", path).result(), a_volume() + 1)


def test_file_ids_are_sent_as_they_are_and_give_a_list(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    ids = [server.add_file(image=one) for one in a_volume(2)]
    result = client.submit(server.algorithms[0].algorithm_id, ids).result()
    assert [one.shape for one in result] == [(8, 8), (8, 8)]
    assert ("GET", "/api/v0/algorithm/all") not in server.requests


def test_outputs_with_several_datasets_come_as_dicts(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    server.outputs = lambda self, ids: [self.add_file(features=np.ones(3), size=np.array([8, 8])) for _ in ids]
    result = client.submit("smooth", a_volume(2)).result()
    assert [sorted(one) for one in result] == [["features", "size"]] * 2


def test_outputs_of_different_shapes_come_as_a_list(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    server.outputs = lambda self, ids: [self.add_file(image=np.ones((2, 2 + index))) for index in range(len(ids))]
    result = client.submit("smooth", a_volume(3)).result()
    assert [one.shape for one in result] == [(2, 2), (2, 3), (2, 4)]


def test_a_minor_version_device_and_session_are_passed_on(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    client.submit("smooth:1.0", [], device="gpu", session="t")
    sent = server.bodies[0]
    assert (sent["algorithm_minor_version"], sent["execution_device_override"], sent["session_token"]) == (
        "0",
        "gpu",
        "t",
    )


def test_a_missing_input_says_which(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    with pytest.raises(NotFound) as refused:
        client.submit("smooth", "no-such-file")
    assert refused.value.details == {"missing_dataset_ids": ["no-such-file"]}


def test_parameters_that_are_no_json_are_refused(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    with pytest.raises(InvalidInput, match="cannot be sent as JSON"):
        client.submit("smooth", [], {"sigma": float("nan")})


def test_a_failed_run_raises_its_error_with_the_last_log_lines(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    server.outcome, server.error = Status.FAILED, RunError(type="ValueError", message="too dark", code="runner_error")
    server.run_log = "".join(f"2026-11-21 02:57:03 INFO line {number}\n" for number in range(30))
    with pytest.raises(RunFailed, match="FAILED: ValueError: too dark") as failed:
        client.submit("smooth", []).result()
    assert failed.value.details["last_log_lines"][-1].endswith("line 29")
    assert len(failed.value.details["last_log_lines"]) == 20


def test_waiting_too_long_raises_and_the_run_goes_on(client: Client, server: FakeServer) -> None:
    run = client.execution(server.add_run())
    with pytest.raises(TimeoutError, match="it goes on"):
        run.wait(0.1)
    assert run.status() is Status.RUNNING


def test_a_wait_ends_soon_after_the_run(client: Client, server: FakeServer) -> None:
    run_id = server.add_run()
    timer = threading.Timer(0.2, server.end_run, (run_id, Status.COMPLETED))
    timer.start()
    before = time.monotonic()
    assert client.execution(run_id).wait(100).status is Status.COMPLETED
    assert time.monotonic() - before < 50
    timer.join()


def test_a_stop_is_answered_and_refused_once_the_run_has_ended(client: Client, server: FakeServer) -> None:
    run = client.execution(server.add_run())
    assert run.stop() == "Stop request posted successfully"
    with pytest.raises(Conflict, match="cannot be stopped"):
        run.stop()


def test_executions_are_paged_through(client: Client, server: FakeServer) -> None:
    ids = [server.add_run() for _ in range(250)]
    assert [one.execution_id for one in client.executions()] == ids
    assert [one.execution_id for one in client.executions(limit=120)] == ids[:120]


# --- watching ---------------------------------------------------------------------------------------------


def told(updates: Iterator[Update]) -> list[Any]:
    """Updates in short: statuses, progress and log texts."""
    short: list[Any] = []
    for update in updates:
        match update:
            case StatusUpdate():
                short.append(str(update.status))
            case ProgressUpdate():
                short.append(update.progress)
            case LogUpdate():
                short.append(update.text)
    return short


def test_a_watcher_sees_status_progress_and_log_until_the_end(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="a\nb\n")
    run = server.runs[run_id]
    run.events = [status_event(run.record, "1"), log_event(run_id, 0, "a\nb\n"), progress_event(run_id, 0.5)]
    server.end_run(run_id, Status.COMPLETED)
    assert told(client.execution(run_id).watch()) == ["RUNNING", "a\nb\n", 0.5, "COMPLETED"]


def test_a_broken_stream_is_taken_up_where_it_broke(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="one\ntwo\nthree\n")
    begun = status_event(server.runs[run_id].record, "7")
    server.streams = [
        [begun, log_event(run_id, 0, "one\n"), progress_event(run_id, 0.4), b"id: 8\nevent: progress\nda"],
        [begun, log_event(run_id, 0, "one\n"), progress_event(run_id, 0.3), progress_event(run_id, 0.6)],
    ]
    server.end_run(run_id, Status.COMPLETED)
    assert told(client.execution(run_id).watch()) == ["RUNNING", "one\n", 0.4, 0.6, "two\nthree\n", "COMPLETED"]
    assert server.resumed == [None, "7", "7"]


def test_the_end_of_a_log_that_was_not_told_is_fetched(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="one\ntwo\nthree\n")
    server.runs[run_id].events = [log_event(run_id, 0, "one\n")]
    server.end_run(run_id, Status.COMPLETED)
    assert told(client.execution(run_id).watch()) == ["one\n", "two\nthree\n", "COMPLETED"]


def test_a_log_update_says_where_it_stands_when_lines_were_lost(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="one\ntwo\nthree\n")
    server.runs[run_id].events = [log_event(run_id, 8, "three\n")]
    server.end_run(run_id, Status.COMPLETED)
    updates = [one for one in client.execution(run_id).watch() if isinstance(one, LogUpdate)]
    assert updates == [LogUpdate(1, "three\n", 8)]


def test_a_server_away_while_the_end_is_told_is_waited_for(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="one\n")
    server.end_run(run_id, Status.COMPLETED)
    updates = client.execution(run_id).watch()
    server.refuse_logs = [problem(503, "unavailable", "Try again.", retryable=True) for _ in range(3)]
    assert told(updates) == ["one\n", "COMPLETED"]


def test_a_log_may_hold_any_line_separator(client: Client, server: FakeServer) -> None:
    text = "a\u2028b\u0085c\x0bd\r\n"
    run_id = server.add_run(log=text)
    server.runs[run_id].events = [log_event(run_id, 0, text)]
    server.end_run(run_id, Status.COMPLETED)
    assert told(client.execution(run_id).watch()) == [text, "COMPLETED"]


def test_an_attempt_anew_tells_its_own_log(client: Client, server: FakeServer) -> None:
    run_id = server.add_run(log="two\n")
    server.runs[run_id].events = [log_event(run_id, 0, "one\n", 1), log_event(run_id, 0, "two\n", 2)]
    server.end_run(run_id, Status.COMPLETED, attempt=2)
    assert told(client.execution(run_id).watch()) == ["one\n", "two\n", "COMPLETED"]


def test_watching_an_unknown_run_raises_at_once(client: Client) -> None:
    with pytest.raises(NotFound):
        list(client.execution("nope").watch())


def test_an_event_that_makes_no_sense_is_an_error_of_ours(client: Client, server: FakeServer) -> None:
    run_id = server.add_run()
    server.runs[run_id].events = [b"event: progress\ndata: {}\n\n"]
    with pytest.raises(VoxloomError, match="does not understand"):
        list(client.execution(run_id).watch())


# --- the connection ---------------------------------------------------------------------------------------


def test_where_no_server_is_the_error_says_what_to_do() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unavailable) as error:
        client.algorithms()
    assert error.value.message == (
        "No Voxloom server answers at http://127.0.0.1:9. Start one with `voxloom up`, or set VOXLOOM_URL."
    )


def test_a_get_is_repeated_when_the_server_says_so(client: Client, server: FakeServer) -> None:
    server.refusals = [problem(503, "store_unavailable", "Try again.", retryable=True)] * 1
    assert client.algorithms() == []
    assert len(server.requests) == 2


def test_a_get_is_not_repeated_for_ever(client: Client, server: FakeServer) -> None:
    server.refusals = [problem(503, "store_unavailable", "Try again.", retryable=True) for _ in range(3)]
    with pytest.raises(Unavailable, match=r"Try again\."):
        client.algorithms()
    assert len(server.requests) == 3


def test_a_submit_is_repeated_under_one_key_and_the_next_has_its_own(client: Client, server: FakeServer) -> None:
    server.algorithms = [an_algorithm()]
    server.refusals = [problem(503, "bus_unavailable", "Try again.", retryable=True)]
    for _ in range(2):
        client.submit(server.algorithms[0], [])
    first, again, other = [headers["Idempotency-Key"] for headers in server.headers]
    assert first == again != other


def test_an_upload_is_never_repeated(client: Client, server: FakeServer) -> None:
    server.refusals = [problem(503, "bus_unavailable", "Try again.", retryable=True)]
    with pytest.raises(Unavailable):
        client.upload(a_volume())
    assert len(server.requests) == 1


def test_a_token_travels_as_bearer_and_never_in_an_error(server: FakeServer) -> None:
    with Client(server.url, token="secret") as client:
        client.algorithms()
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_a_token_in_the_address_is_not_shown() -> None:
    with Client("http://voxloom:secret@127.0.0.1:9") as client, pytest.raises(Unavailable) as error:
        client.algorithms()
    assert "secret" not in str(error.value)


def test_a_server_that_is_not_ready_says_what_is_missing(client: Client, server: FakeServer) -> None:
    server.not_ready = True
    with pytest.raises(Unavailable, match="The store does not answer"):
        client.ready()
