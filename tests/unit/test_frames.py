from __future__ import annotations

import subprocess
import sys

import pytest

from voxloom.models import RunError
from voxloom.runner import frames

RUN = frames.Run(
    run="r",
    attempt=1,
    module_dir="/m",
    device="cpu",
    input_dataset_ids=["a"],
    args={"x": [1, 2.5, None, "ü"]},
    session_token="t",
    scratch="/s",
)
ERROR = RunError(type="ValueError", message="no", code="algorithm_error")
TO_RUNNER: list[frames.ToRunner] = [
    RUN,
    frames.Stop(run="r"),
    frames.Answer(number=3, value={"paths": ["/p"]}),
    frames.Answer(number=4, error=ERROR),
    frames.Leave(),
]
TO_WORKER: list[frames.ToWorker] = [
    frames.Ready(pid=7),
    frames.Progress(run="r", progress=0.5),
    frames.Logged(run="r", text="2026-01-01 00:00:00 INFO hello\n"),
    frames.Ask(run="r", number=1, what="stage", params={"count": 2}),
    frames.Ended(run="r", outcome="failed", error=ERROR, peak_memory_bytes=1, log_dropped=2, reusable=False),
]


def body_of(packed: bytes) -> bytes:
    prefix, body = packed[: frames.LENGTH.size], packed[frames.LENGTH.size :]
    assert frames.length_of(prefix) == len(body)
    return body


@pytest.mark.parametrize("frame", TO_RUNNER, ids=lambda frame: frame.kind)
def test_what_a_worker_says_arrives_as_it_was(frame: frames.ToRunner) -> None:
    assert frames.parse_for_runner(body_of(frames.pack(frame))) == frame


@pytest.mark.parametrize("frame", TO_WORKER, ids=lambda frame: frame.kind)
def test_what_a_runner_says_arrives_as_it_was(frame: frames.ToWorker) -> None:
    assert frames.parse_for_worker(body_of(frames.pack(frame))) == frame


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"kind": "nonsense"}', b'{"kind": "run"}', b"\xff"])
def test_rubbish_is_a_broken_frame(body: bytes) -> None:
    with pytest.raises(frames.BrokenFrame):
        frames.parse_for_runner(body)


def test_a_frame_for_the_other_side_is_a_broken_frame() -> None:
    with pytest.raises(frames.BrokenFrame):
        frames.parse_for_worker(body_of(frames.pack(RUN)))


def test_an_announced_length_over_the_limit_is_a_broken_frame() -> None:
    with pytest.raises(frames.BrokenFrame, match="over the limit"):
        frames.length_of(frames.LENGTH.pack(frames.MAX_FRAME + 1))


def test_a_frame_over_the_limit_is_not_packed() -> None:
    with pytest.raises(frames.BrokenFrame, match="over the limit"):
        frames.pack(frames.Logged(run="r", text="x" * (frames.MAX_FRAME + 1)))


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert frames.parse_for_runner(b'{"kind": "stop", "run": "r", "new": 1}') == frames.Stop(run="r")


def test_a_worker_that_speaks_in_frames_loads_no_numpy() -> None:
    code = (
        "import sys, voxloom.runner.frames, voxloom.runner.output; print(sorted({'numpy', 'h5py'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_runner_process_makes_no_models_of_rest() -> None:
    code = "import sys, voxloom.runner.serving, voxloom.runner.base; print('voxloom.models' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
