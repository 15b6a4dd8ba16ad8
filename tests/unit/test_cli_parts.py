"""The command line's decisions, without a server."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import typer

from shared.settings import load_settings
from voxloom.cli import admin, datafolder, doctor, runs, servers
from voxloom.cli.doctor import Finding, line_of
from voxloom.cli.downloads import Part, check_destination, parts_of
from voxloom.cli.follow import PlainView
from voxloom.cli.interrupts import Interrupts
from voxloom.cli.program import sentence_of
from voxloom.cli.session import full_id
from voxloom.cli.text import columns, printable
from voxloom.cli.values import parse_parameters
from voxloom.client import ProgressUpdate, Run
from voxloom.errors import InvalidInput, Misconfigured, NotFound, Unavailable
from voxloom.models import Parameter, ParameterConfig, ParameterType, ProjectRecord, Waiting, WaitingReason

# --- parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "5", "5"),
        ("string", "a=b", "a=b"),
        ("string_enum", "true", "true"),
        ("int", "5", 5),
        ("int", "5.0", 5),
        ("int_range", "-3", -3),
        ("float", "5", 5.0),
        ("float_enum", "1e-3", 0.001),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("int_list", "1,2, 3", [1, 2, 3]),
        ("int_list", "[1, 2]", [1, 2]),
        ("string_list", "a,b", ["a", "b"]),
        ("float_list", "", []),
        ("bool_list", "on,off", [True, False]),
    ],
)
def test_a_parameter_is_read_by_its_declared_type(kind: ParameterType, text: str, value: Any) -> None:
    declared = [Parameter(name="p", config=ParameterConfig(type=kind))]
    parsed = parse_parameters([f"p={text}"], declared)["p"]
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("true", True), ('{"a": [1]}', {"a": [1]}), ("fast", "fast"), ("", "")]
)
def test_an_undeclared_parameter_is_json_or_a_text(text: str, value: Any) -> None:
    assert parse_parameters([f"p={text}"], []) == {"p": value}


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("int", "2.5", "p takes a whole number, and '2.5' is none"),
        ("float", "much", "p takes a number, and 'much' is none"),
        ("bool", "maybe", "p takes true or false"),
        ("int_list", "1,x", "p takes a list, each item a whole number"),
        ("int_list", "[1,", "p takes a list"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: ParameterType, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_parameters([f"p={text}"], [Parameter(name="p", config=ParameterConfig(type=kind))])


@pytest.mark.parametrize("typed", ["sigma", "=3"])
def test_a_parameter_without_name_or_value_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput, match="write it as -p name=value"):
        parse_parameters([typed], [])


# --- text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü\n\tline\n", "plain ü\n\tline\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("dos\r\nline\r\n", "dos\nline\n"),
        ("bell\x07 back\x08 csi\x9b", "bell back csi"),
    ],
)
def test_nothing_in_a_text_steers_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_columns_stand_under_one_another() -> None:
    assert columns([("A", "B"), ("longer", "x")]) == ["A       B", "longer  x"]


def test_plain_progress_is_told_in_steps() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for percent in range(0, 101, 4):
        view.take(ProgressUpdate(1, percent / 100))
    assert stream.getvalue().split() == ["12%", "20%", "32%", "40%", "52%", "60%", "72%", "80%", "92%"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFound("No such thing."), "No such thing."),
        (TimeoutError("It takes long."), "It takes long."),
        (
            PermissionError(13, "Permission denied", "out.h5"),
            "out.h5: Permission denied. Check its permissions, or choose another place.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.h5"),
            "out.h5: No space left on device. Free some space, or choose another place.",
        ),
        (
            OSError(errno.ENOSPC, "Unable to write (time = Sat Nov 21\n, filename = 'x')"),
            "No space left on device. Free some space, or choose another place.",
        ),
        (
            OSError(errno.EIO, "Input/output error", "out.h5"),
            "out.h5: Input/output error. Set VOXLOOM_DEBUG=1 to see where it happened.",
        ),
    ],
)
def test_an_error_is_one_sentence(error: Any, said: str) -> None:
    assert sentence_of(error) == said


class Away:
    """A run on a server that has gone away."""

    id = "a-run"

    def __init__(self, watching: BaseException) -> None:
        self._watching = watching

    def watch(self) -> Iterator[Any]:
        raise self._watching

    def stop(self) -> str:
        raise Unavailable("No server answers. Start one.")


@pytest.mark.parametrize(
    ("watching", "raised", "said"),
    [
        (Unavailable("No server answers."), Unavailable, "Run a-run is kept by the server"),
        (KeyboardInterrupt(), typer.Exit, "Run a-run could not be stopped: No server answers. Start one. Then"),
    ],
)
def test_of_a_server_that_has_gone_away_it_is_said_what_becomes_of_the_run(
    watching: BaseException, raised: type[Exception], said: str
) -> None:
    stream = io.StringIO()
    with pytest.raises(raised):
        runs._follow(cast(Run, Away(watching)), PlainView(stream), Interrupts())
    assert stream.getvalue().startswith(said)


# --- outputs ----------------------------------------------------------------------------------------------

A, B = Path("x/a.tif"), Path("y/b.npy")


@pytest.mark.parametrize(
    ("outputs", "counts", "inputs", "parts"),
    [
        (["1", "2", "3"], [3], [A], [Part("a", ["1", "2", "3"], True)]),
        (["1"], [None], [A], [Part("a", ["1"], False)]),
        (["1", "2", "3"], [2, None], [A, B], [Part("a", ["1", "2"], True), Part("b", ["3"], False)]),
        (["1", "2"], [None, None], [A, A], [Part("a_0", ["1"], False), Part("a_1", ["2"], False)]),
        (["1", "2"], [3], [A], [Part("output_0", ["1"], False), Part("output_1", ["2"], False)]),
        ([], [None], [A], []),
    ],
)
def test_outputs_belong_to_inputs_where_their_number_tells(
    outputs: list[str], counts: list[int | None], inputs: list[Path], parts: list[Part]
) -> None:
    assert parts_of(outputs, counts, inputs) == parts


@pytest.mark.parametrize("name", ["out.png", "taken"])
def test_a_destination_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InvalidInput):
        check_destination(tmp_path / name)


@pytest.mark.parametrize(("name", "said"), [("taken/out.h5", "taken is a file"), ("/proc/1/new/out.h5", "/proc")])
def test_a_destination_where_nothing_can_be_made_is_refused_before_anything_is_run(
    tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, _: place.is_relative_to(tmp_path))  # tests may run as root
    (tmp_path / "taken").touch()
    with pytest.raises(InvalidInput, match=said):
        check_destination(tmp_path / name)


@pytest.mark.parametrize("name", ["out.h5", "new/folder", "there.is"])
def test_a_destination_is_an_image_file_or_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.is").mkdir()
    check_destination(tmp_path / name)


# --- ids --------------------------------------------------------------------------------------------------


def test_an_abbreviated_id_is_the_only_one_that_begins_so() -> None:
    assert full_id("AB", ["abc", "def"]) == "abc"


def test_an_id_may_be_copied_from_a_table_that_was_too_narrow_for_it() -> None:
    assert full_id("ab…", ["abc", "def"]) == "abc"


@pytest.mark.parametrize(("prefix", "said"), [("x", "No recent run"), ("a", "2 recent runs")])
def test_an_unclear_id_is_refused(prefix: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        full_id(prefix, ["abc", "ade"])


# --- the doctor -------------------------------------------------------------------------------------------


def test_a_problem_is_told_with_what_to_do() -> None:
    assert line_of(Finding("disk", "full", "Make room.")) == "problem  disk: full. Make room."
    assert line_of(Finding("disk", "roomy")) == "ok       disk: roomy"


def test_an_old_python_is_a_problem() -> None:
    assert doctor.check_python((3, 10, 9)).next_step is not None
    assert doctor.check_python((3, 11, 0)).next_step is None


def test_a_library_that_cannot_be_imported_is_named() -> None:
    assert "no_such_library" in doctor.check_libraries(("json", "no_such_library")).seen


@pytest.mark.parametrize(("text", "well"), [("slots = 4", [True]), ("slots =", [False]), (None, [])])
def test_the_settings_beside_one_are_looked_at(tmp_path: Path, text: str | None, well: list[bool]) -> None:
    if text is not None:
        (tmp_path / "voxloom.toml").write_text(text)
    assert [one.next_step is None for one in doctor.check_settings(tmp_path / "voxloom.toml")] == well


def test_a_folder_that_is_not_there_yet_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    finding = doctor.check_folder(tmp_path / "new" / "data")
    assert finding.next_step is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_a_problem() -> None:
    assert doctor.check_folder(Path("/proc/voxloom")).next_step is not None


def test_the_data_folder_is_the_one_the_server_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOXLOOM_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert doctor.data_folder() == Path("/x/voxloom")
    (tmp_path / "voxloom.toml").write_text('data = "/from/file"')
    assert doctor.data_folder() == Path("/from/file")
    monkeypatch.setenv("VOXLOOM_DATA", "/from/env")
    assert doctor.data_folder() == Path("/from/env") == load_settings().data
    monkeypatch.setenv("VOXLOOM_DATA", "beside")
    assert doctor.data_folder() == tmp_path / "beside" == load_settings().data
    assert doctor.data_folder(Path("/from/flag")) == Path("/from/flag")


def test_a_folder_that_a_server_uses_is_told_from_one_that_lies_there(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    with (tmp_path / "bus" / "lock").open("w") as lock:
        assert datafolder.is_used(tmp_path) is False
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert datafolder.is_used(tmp_path) is True
    assert datafolder.is_used(tmp_path, locks=tmp_path / "not there") is None


def test_a_port_that_another_program_has_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert doctor.check_port(f"http://127.0.0.1:{port}").next_step is not None
    assert doctor.check_port(f"http://127.0.0.1:{port}").next_step is None


def test_a_remote_server_must_answer() -> None:
    assert doctor.check_port("http://lab.example:5481").next_step is not None


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ([sys.executable, "-c", "pass"], "starts in"),
        ([sys.executable, "-c", "import no_such_module"], "fails: ModuleNotFoundError"),
        (["/no/such/program"], "cannot be started"),
    ],
)
def test_a_runner_process_is_tried(command: list[str], seen: str) -> None:
    assert doctor.check_runner(command).seen.startswith(seen)


# --- the server's commands --------------------------------------------------------------------------------


def test_a_server_that_is_not_installed_is_said_so() -> None:
    with pytest.raises(Misconfigured, match="`voxloom fly` needs the server"):
        servers.load("fly")


@pytest.mark.parametrize("reason", get_args(WaitingReason))
def test_every_reason_to_wait_has_words(reason: WaitingReason) -> None:
    assert runs.waits_for(Waiting(reason=reason, ahead=2)) not in ("", reason)


def test_who_waits_for_others_is_told_how_many() -> None:
    told = [runs.waits_for(Waiting(reason="project_limit", ahead=ahead)) for ahead in (1, 2)]
    assert [one.partition("; ")[2] for one in told] == ["1 run comes first", "2 runs come first"]


@pytest.mark.parametrize(("removing", "state"), [(True, "removing"), (False, "")])
def test_a_project_that_is_going_says_so(removing: bool, state: str) -> None:
    known = ProjectRecord(project_id="lab1", name="", removing=removing, created_at="2026-01-01", created_by="root")
    assert admin._project_row(known)[3] == state
