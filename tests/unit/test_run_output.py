"""How prints, lines and tracebacks become a run's log, and how long logs are kept short."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from services.worker.pipes import LineCutter
from services.worker.process_start import exit_error, scrubbed
from services.worker.run_log import MAX_PIECE, RunLog, head_and_tail
from voxloom.runner.exceptions import text_of
from voxloom.runner.output import MAX_LINE, Outbox, RunStream, author_traceback, format_lines

EPOCH = "1970-01-01 00:00:00"


class Sent:
    """An outbox with what it has sent."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.text = ""
        self.progresses: list[float] = []
        self.outbox = Outbox(self._on_log, lambda _, progress: self.progresses.append(progress))
        self.outbox.begin("r", limit)

    def _on_log(self, _: str, text: str) -> None:
        self.text += text

    @property
    def words(self) -> list[str]:
        """The lines without their times."""
        self.outbox.flush()
        return [line.split(" ", 2)[2] for line in self.text.splitlines()]


# --- lines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a", [f"{EPOCH} INFO a"]),
        ("a\n", [f"{EPOCH} INFO a"]),
        ("a\r\nb", [f"{EPOCH} INFO a", f"{EPOCH} INFO b"]),
        ("", [f"{EPOCH} INFO "]),
        ("a\n\nb", [f"{EPOCH} INFO a", f"{EPOCH} INFO ", f"{EPOCH} INFO b"]),
        ("\ud800", [f"{EPOCH} INFO \\ud800"]),
    ],
)
def test_every_line_has_its_prefix(text: str, lines: list[str]) -> None:
    assert format_lines(0.0, "INFO", text) == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("writes", "words"),
    [
        (["a\n"], ["INFO a"]),
        (["a", "b", "\n"], ["INFO ab"]),
        (["a\nb\nc"], ["INFO a", "INFO b"]),
        (["\r1%", "\r2%", "\n"], ["INFO 2%"]),
        (["1%\r", "2%\r", "\n"], ["INFO 2%"]),
        (["a\r\n"], ["INFO a"]),
        (["no end"], []),
    ],
)
def test_writes_become_lines(writes: list[str], words: list[str]) -> None:
    sent = Sent()
    stream = RunStream(sent.outbox, "INFO", 1)
    for text in writes:
        stream.write(text)
    assert sent.words == words


def test_a_line_without_an_end_comes_at_the_end_of_the_run() -> None:
    sent = Sent()
    stream = RunStream(sent.outbox, "INFO", 1)
    stream.write("no end")
    stream.end_lines()
    assert sent.words == ["INFO no end"]


def test_two_threads_that_print_do_not_mix_their_words() -> None:
    sent = Sent()
    stream = RunStream(sent.outbox, "INFO", 1)
    stream.write("mine ")
    other = threading.Thread(target=lambda: stream.write("theirs\n"))
    other.start()
    other.join()
    stream.write("too\n")
    assert sent.words == ["INFO theirs", "INFO mine too"]


def test_writing_bytes_as_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="must be str"):
        RunStream(Sent().outbox, "INFO", 1).write(b"x")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([b"a\n"], " INFO a\n"),
        ([b"a", b"b\nc"], " INFO ab\n"),
        ([b"\r1%\r2%\n"], " INFO 2%\n"),
        ([b"\xff\n"], " INFO \\xff\n"),
    ],
)
def test_bytes_from_a_pipe_become_lines(pieces: list[bytes], text: str) -> None:
    cutter = LineCutter("INFO")
    lines = "".join(cutter.feed(piece) for piece in pieces)
    assert lines[len(EPOCH) :] == text


def test_a_line_in_the_logs_own_form_passes_a_pipe_unchanged() -> None:
    line = f"{EPOCH} ERROR from a child\n"
    assert LineCutter("INFO").feed(line.encode()) == line


def test_an_endless_line_from_a_pipe_is_given_in_parts() -> None:
    cutter = LineCutter("INFO")
    assert len(cutter.feed(b"x" * (MAX_LINE + 1))) > MAX_LINE
    assert cutter.end() == ""


# --- limits -----------------------------------------------------------------------------------------------


def test_what_just_fits_is_logged() -> None:
    line = len(f"{EPOCH} INFO fits\n")
    sent = Sent(limit=line)
    sent.outbox.log("INFO", "fits")
    assert (sent.outbox.dropped, sent.words) == (0, ["INFO fits"])


def test_what_is_over_the_limit_is_counted_and_nothing_follows_it() -> None:
    sent = Sent(limit=100)
    for text in ("x" * 50, "y" * 50, "z"):
        sent.outbox.log("INFO", text)
    assert [len(word) for word in sent.words] == [len("INFO ") + 50]
    assert sent.outbox.dropped == len(f"{EPOCH} INFO \n") * 2 + 51


def test_what_is_said_between_runs_belongs_to_none() -> None:
    sent = Sent()
    sent.outbox.end()
    sent.outbox.log("INFO", "late")
    sent.outbox.begin("next", 100)
    assert sent.words == []


def test_only_the_newest_progress_is_sent() -> None:
    sent = Sent()
    for progress in (0.1, 0.2, 0.3):
        sent.outbox.set_progress(progress)
    sent.outbox.flush()
    sent.outbox.flush()
    assert sent.progresses == [0.3]


@pytest.mark.parametrize(("length", "limit"), [(10, 100), (100, 100)])
def test_a_short_log_is_whole(length: int, limit: int) -> None:
    assert head_and_tail("x" * length, limit) == "x" * length


def test_a_long_log_keeps_whole_lines_of_both_ends() -> None:
    text = "".join(f"line {number:05}\n" for number in range(1000))
    short = head_and_tail(text, 100).splitlines()
    assert (short[0], short[-1], len(short)) == ("line 00000", "line 00999", 9)
    assert "characters of the log are left out" in short[4]


class Watched:
    """A log with the pieces that it gave to those who watch."""

    def __init__(self, folder: Path, limit: int = 1 << 30) -> None:
        self.pieces: list[tuple[int, str]] = []
        self.path = folder / "log"
        self.log = RunLog(self.path, limit=limit, on_piece=lambda offset, text: self.pieces.append((offset, text)))


async def test_a_short_log_never_touches_the_disk(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.log.append("a\n")
    watched.log.append("b\n")
    await watched.log.finish()
    assert (await watched.log.head_and_tail(100), watched.path.exists()) == ("a\nb\n", False)


async def test_those_who_watch_get_every_character_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.log.append("aa\n")
    watched.log.append("b\n")
    await watched.log.finish()
    assert watched.pieces == [(0, "aa\nb\n")]


async def test_those_who_watch_a_flood_skip_to_the_newest(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.log.append("x" * (3 * MAX_PIECE))
    await watched.log.finish()
    assert [(offset, len(text)) for offset, text in watched.pieces] == [(2 * MAX_PIECE, MAX_PIECE)]


async def test_a_long_log_is_kept_whole_in_a_file(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    text = "".join(f"line {number} ü\n" for number in range(100_000))
    for start in range(0, len(text), 50_000):
        watched.log.append(text[start : start + 50_000])
    await watched.log.finish()
    assert (await watched.log.save()).read_text() == text
    short = await watched.log.head_and_tail(1000)
    assert (short.startswith("line 0 ü\n"), short.endswith("line 99999 ü\n"), len(short) < 1100) == (True, True, True)


async def test_a_log_over_its_limit_says_how_much_was_dropped(tmp_path: Path) -> None:
    watched = Watched(tmp_path, limit=10)
    watched.log.append("12345678\n")
    watched.log.append("too much\n")
    watched.log.add_dropped(91)
    await watched.log.finish()
    text = await watched.log.head_and_tail(1000)
    assert text.startswith("12345678\n")
    assert "100 bytes of log were dropped: a run may log 10 bytes." in text


# --- tracebacks, ends, environment ------------------------------------------------------------------------


def test_a_traceback_shows_the_authors_frames_of_every_linked_exception(tmp_path: Path) -> None:
    source = tmp_path / "Runner.py"
    source.write_text(
        "def work():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise KeyError('k') from e\n"
    )
    space: dict[str, object] = {}
    exec(compile(source.read_text(), str(source), "exec"), space)
    with pytest.raises(KeyError) as caught:
        space["work"]()  # type: ignore[operator]  # a function, by the source above
    lines = [line for line in author_traceback(caught.value, str(tmp_path)).splitlines() if "File" in line]
    assert lines == ['  File "Runner.py", line 3, in work', '  File "Runner.py", line 5, in work']


class Item(BaseModel):
    size: int
    mask: str

    @field_validator("size")
    @classmethod
    def _check(cls, size: int) -> int:
        raise ValueError(f"size is {size}: it must be more")


def _misfit(**values: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate(values)
    return caught.value


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("plain"), "plain"),
        (_misfit(size=1, mask="m"), "size is 1: it must be more"),
        (_misfit(size=1), "size is 1: it must be more; mask is missing"),
        (_misfit(size="x", mask="m"), "size: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(error: Exception, text: str) -> None:
    assert text_of(error) == text


def test_the_notes_of_a_misfit_say_where_it_was() -> None:
    error = _misfit(size=1, mask="m")
    error.add_note("in item 0")
    assert author_traceback(error, None) == "ValidationError: size is 1: it must be more (in item 0)"


@pytest.mark.parametrize(
    ("returncode", "code", "words"),
    [
        (0, "runner_exited", "exit code 0"),
        (3, "runner_exited", "exit code 3"),
        (-9, "runner_killed", "out of memory"),
        (-11, "runner_killed", "SIGSEGV"),
        (-64, "runner_killed", "something outside"),
    ],
)
def test_an_end_without_a_word_is_explained(returncode: int, code: str, words: str) -> None:
    error = exit_error(returncode)
    assert (error.code, words in error.message) == (code, True)


def test_the_environment_of_a_runner_is_what_is_on_the_list() -> None:
    environment = {"PATH": "p", "LC_ALL": "C", "CUDA_HOME": "c", "VOXLOOM_DATA": "d", "AWS_ACCESS_KEY_ID": "k"}
    assert scrubbed(environment) == {"PATH": "p", "LC_ALL": "C", "CUDA_HOME": "c"}
