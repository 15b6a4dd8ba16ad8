"""What holds for every Runner: its life, its attributes, its steps, and the calls it makes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from voxloom import Runner
from voxloom.errors import VoxloomError
from voxloom.runner import (
    AssetNotFound,
    BaseRunner,
    GenericSchema,
    InvalidOutputs,
    NoRun,
    TaskHandler,
    TaskStoppedException,
)
from voxloom.runner.base import execute, make
from voxloom.runner.context import current_handler
from voxloom.testing import LocalLink

INPUT = {"input_dataset_ids": ["a", "b"]}


class Steps(BaseRunner):
    """The three steps at their plainest; the tests override what they look at."""

    def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
        return input_data["input_dataset_ids"]

    def inference(self, data: Any, args: Any, /) -> Any:
        return data

    def postprocess(self, data: Any, args: Any) -> Any:
        return data


@pytest.fixture
def link(tmp_path: Path) -> LocalLink:
    (tmp_path / "assets" / "files").mkdir(parents=True)
    (tmp_path / "assets" / "files" / "weights.bin").write_bytes(b"\x00\x01")
    return LocalLink(tmp_path, assets=tmp_path / "assets", device="cuda")


@pytest.fixture
def handler(link: LocalLink) -> TaskHandler:
    return TaskHandler(link)


def run(runner: BaseRunner, link: LocalLink, args: dict[str, Any] | None = None) -> list[str]:
    return execute(runner, TaskHandler(link), INPUT, args)


def run_in_step(link: LocalLink, step: Callable[[Any], Any], runner_class: type[BaseRunner] = Steps) -> None:
    """Runs `step(runner)` as the inference of a warm runner."""

    class Probe(runner_class):  # type: ignore[misc,valid-type]  # mypy takes no variable for a base class
        def inference(self, data: Any, args: Any) -> Any:
            step(self)
            return data

    run(make(Probe, TaskHandler(link)), link)


class TestLife:
    class Recording(Steps):
        calls: list[str]

        def __init__(self) -> None:
            type(self).calls.append("init")

        def load_assets(self) -> None:
            self.calls.append("load")

        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            self.calls.append("run")
            return []

    def test_a_cold_run_is_init_load_init_run_and_a_warm_one_init_run(self, link: LocalLink) -> None:
        self.Recording.calls = []
        runner = make(self.Recording, TaskHandler(link))
        run(runner, link)
        run(runner, link)

        assert self.Recording.calls == ["init", "load", "init", "run", "init", "run"]

    def test_the_api_works_in_init_and_load_assets(self, link: LocalLink) -> None:
        class Loading(Steps):
            def __init__(self) -> None:
                self.log_message(f"made for {self.device}")

            def load_assets(self) -> None:
                self.log_message(f"{len(self.fetch_asset('files/weights.bin').getvalue())} bytes")

        make(Loading, TaskHandler(link))

        assert link.lines == [("INFO", "made for cuda"), ("INFO", "2 bytes")]

    @pytest.mark.parametrize("missing", ["preprocess", "inference", "postprocess"])
    def test_a_class_that_lacks_a_step_cannot_be_made(self, handler: TaskHandler, missing: str) -> None:
        steps = {name: (lambda self, data, args: data) for name in ("preprocess", "inference", "postprocess")}
        del steps[missing]

        with pytest.raises(TypeError, match=f"Runner lacks {missing}"):
            make(type("Runner", (BaseRunner,), dict(steps)), handler)

    def test_a_class_that_wants_arguments_cannot_be_made(self, handler: TaskHandler) -> None:
        class Wanting(Steps):
            def __init__(self, model: str) -> None: ...

        with pytest.raises(ValueError, match=r"Wanting.__init__ must work without arguments .*'model'"):
            make(Wanting, handler)

    def test_what_is_no_runner_cannot_be_made(self, handler: TaskHandler) -> None:
        with pytest.raises(ValueError, match=r"derive it from voxloom\.Runner"):
            make(int, handler)

    def test_the_public_name_is_the_base_class(self) -> None:
        assert Runner is BaseRunner


class TestAttributes:
    class Counting(Steps):
        model: Any

        def __init__(self) -> None:
            self.model = None
            self.seen: list[str] = []

        def load_assets(self) -> None:
            self.model = ["weights"]
            self.__dict__["through_dict"] = 1

    @pytest.mark.parametrize("name", ["model", "through_dict"])
    @pytest.mark.parametrize("change", [lambda self, name: setattr(self, name, 0), delattr])
    def test_what_load_assets_sets_cannot_be_changed_in_a_run(
        self, link: LocalLink, name: str, change: Callable[[Any, Any], None]
    ) -> None:
        with pytest.raises(AttributeError, match=f"'{name}' was set in load_assets"):
            run_in_step(link, lambda self: change(self, name), self.Counting)

    def test_nor_in_a_thread_that_the_runner_starts(self, link: LocalLink) -> None:
        caught: list[BaseException] = []

        def step(runner: Any) -> None:
            def assign() -> None:
                try:
                    runner.model = 0
                except AttributeError as error:
                    caught.append(error)

            in_thread(assign)

        run_in_step(link, step, self.Counting)

        assert "'model'" in str(caught[0])

    def test_what_init_assigns_to_a_locked_name_is_passed_over(self, link: LocalLink) -> None:
        run_in_step(link, lambda self: self.log_message(self.model), self.Counting)

        assert link.lines == [("INFO", "['weights']")]

    def test_a_name_that_init_deletes_again_is_no_trouble_when_locked(self, link: LocalLink) -> None:
        class Deleting(self.Counting):  # type: ignore[name-defined,misc]  # mypy knows no class through self
            def __init__(self) -> None:
                super().__init__()
                del self.model

        run_in_step(link, lambda self: self.log_message(self.model), Deleting)

        assert link.lines == [("INFO", "['weights']")]

    def test_everything_else_starts_each_run_afresh(self, link: LocalLink) -> None:
        class Leaving(self.Counting):  # type: ignore[name-defined,misc]  # mypy knows no class through self
            @cached_property
            def cached(self) -> object:
                return object()

            def inference(self, data: Any, args: Any) -> Any:
                self.log_message((self.seen, hasattr(self, "left"), "cached" in self.__dict__))
                self.seen.append("x")
                self.left = self.cached
                return data

        runner = make(Leaving, TaskHandler(link))
        run(runner, link)
        run(runner, link)

        assert link.lines == [("INFO", "([], False, False)")] * 2

    def test_after_a_run_only_assets_are_kept(self, link: LocalLink) -> None:
        runner = make(self.Counting, TaskHandler(link))
        run(runner, link)

        assert runner.__dict__ == {"model": ["weights"], "through_dict": 1}

    def test_what_a_step_sets_is_seen_by_the_next_and_by_threads(self, link: LocalLink) -> None:
        class Passing(Steps):
            def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
                self.scale = 2

            def inference(self, data: Any, args: Any) -> Any:
                in_thread(lambda: setattr(self, "result", self.scale * 2))

            def postprocess(self, data: Any, args: Any) -> Any:
                return [str(self.result)]  # type: ignore[attr-defined]  # set by setattr, as the test is about

        assert run(make(Passing, TaskHandler(link)), link) == ["4"]

    def test_the_context_is_what_this_run_has_set(self, link: LocalLink) -> None:
        seen: dict[str, Any] = {}

        def step(runner: Any) -> None:
            runner.scale = 2
            seen.update(runner.runner_context)

        run_in_step(link, step, self.Counting)

        assert seen == {"seen": [], "scale": 2}

    @pytest.mark.parametrize("name", ["device", "task_handler", "runner_context"])
    def test_what_is_ours_is_read_only(self, link: LocalLink, name: str) -> None:
        with pytest.raises(AttributeError, match=f"'{name}' is read-only"):
            run_in_step(link, lambda self: setattr(self, name, None))

    def test_a_runner_travels_to_child_processes_without_its_run(self, link: LocalLink) -> None:
        twins: list[Steps] = []

        def step(runner: Any) -> None:
            runner.scale = 3
            twins.extend([copy.copy(runner)])

        run_in_step(link, step)

        assert (twins[0].__dict__, twins[0].device) == ({"scale": 3}, "cuda")
        with pytest.raises(NoRun):
            twins[0].set_progress(1)

    def test_a_runner_can_be_pickled(self, link: LocalLink) -> None:
        runner = make(Steps, TaskHandler(link))

        assert pickle.loads(pickle.dumps(runner)).device == "cuda"


class TestSteps:
    class Args(Steps):
        seen: list[Any]

        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            self.seen.append(args)
            return input_data

        def inference(self, model: Any, data: Any, args: Any = {}) -> Any:  # noqa: B006 - as real algorithms have it
            self.seen.append(data)
            return []

        def postprocess(self, data: Any, args: Any) -> Any:
            self.seen.append(args)
            return data

    def test_the_same_args_go_to_all_three(self, link: LocalLink) -> None:
        self.Args.seen = []
        args = {"sigma": 1}
        run(make(self.Args, TaskHandler(link)), link, args)

        assert [seen is args for seen in self.Args.seen] == [True, True, True]

    @pytest.mark.parametrize("args", [None, {}])
    def test_no_args_are_an_empty_dict_of_each_step_s_own(self, link: LocalLink, args: dict[str, Any] | None) -> None:
        self.Args.seen = []
        run(make(self.Args, TaskHandler(link)), link, args)

        assert self.Args.seen == [{}, {}, {}]
        assert len({id(seen) for seen in self.Args.seen}) == 3

    @pytest.mark.parametrize("outputs", [[], ["This is Foo!"], ("a", "b"), ["a", "a"]])
    def test_ids_and_free_texts_are_good_outputs(self, link: LocalLink, outputs: Any) -> None:
        assert run(make(giving(outputs), TaskHandler(link)), link) == list(outputs)

    @pytest.mark.parametrize(
        ("outputs", "what"),
        [
            (None, "returned None"),
            ("id", "a str"),
            ({"a": 1}, "a dict"),
            (["a", 1], "item 1 is an int"),
            ([None], "item 0 is None"),
            (np.array(["a"]), "a numpy array"),
        ],
    )
    def test_other_outputs_are_refused_with_what_to_return(self, link: LocalLink, outputs: Any, what: str) -> None:
        with pytest.raises(InvalidOutputs, match=f"{what}: return a list of ids"):
            run(make(giving(outputs), TaskHandler(link)), link)

    def test_an_overridden_run_that_gives_no_outputs_is_refused(self, link: LocalLink) -> None:
        class Silent(Steps):
            def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
                self.preprocess_base(input_data, args)

        with pytest.raises(InvalidOutputs, match="super"):
            run(make(Silent, TaskHandler(link)), link)

    def test_an_overridden_step_wrapper_is_used(self, link: LocalLink) -> None:
        class Wrapped(Steps):
            def inference_base(self, data: Any, args: dict[str, Any] | None = None) -> Any:
                return [*super().inference_base(data, args), "more"]

        assert run(make(Wrapped, TaskHandler(link)), link) == ["a", "b", "more"]


class TestCalls:
    @pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1), np.array(0.5), True])
    def test_any_real_number_from_0_to_1_is_progress(self, link: LocalLink, value: Any) -> None:
        run_in_step(link, lambda self: self.set_progress(value))

        assert link.progress == [float(value)]

    @pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf"), "0.5", None, 1j])
    def test_other_progress_is_refused(self, link: LocalLink, value: Any) -> None:
        with pytest.raises(ValueError, match="from 0 to 1"):
            run_in_step(link, lambda self: self.set_progress(value))

    @pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR", "DEBUG"])
    def test_the_four_levels_are_logged(self, link: LocalLink, level: str) -> None:
        run_in_step(link, lambda self: self.log_message("text", level))

        assert link.lines == [(level, "text")]

    @pytest.mark.parametrize("level", ["info", "CRITICAL", "", None])
    def test_other_levels_are_refused(self, link: LocalLink, level: Any) -> None:
        with pytest.raises(ValueError, match="INFO, WARNING, ERROR"):
            run_in_step(link, lambda self: self.log_message("text", level))

    @pytest.mark.parametrize("path", ["files/weights.bin", "./files/weights.bin", "files\\weights.bin"])
    def test_an_asset_is_fetched_by_its_path(self, link: LocalLink, path: str) -> None:
        run_in_step(link, lambda self: self.log_message(self.fetch_asset(path).read()))

        assert link.lines == [("INFO", repr(b"\x00\x01"))]

    @pytest.mark.parametrize("path", ["weights.bin", "../assets/files/weights.bin", "/etc/hostname", "", ".", "files"])
    def test_an_asset_that_is_not_there_can_be_missed(self, link: LocalLink, path: str) -> None:
        caught: list[Any] = []

        def step(runner: Any) -> None:
            try:
                runner.fetch_asset(path)
            except KeyError as error:
                caught.append(error)

        run_in_step(link, step)

        assert isinstance(caught[0], AssetNotFound)
        assert isinstance(caught[0], ValueError)
        assert (caught[0].code, str(caught[0]).startswith("There is no asset")) == ("asset_path_not_found", True)

    def test_a_file_that_was_posted_can_be_fetched_by_the_same_run(self, link: LocalLink) -> None:
        def step(runner: Any) -> None:
            (file_id,) = runner.post_data([{"data": np.array([7])}], GenericSchema)
            (fetched,) = runner.fetch_data([file_id], GenericSchema)
            runner.log_message(fetched["data"])

        run_in_step(link, step)

        assert link.lines == [("INFO", "[7]")]

    def test_calls_work_in_threads_of_the_runner(self, link: LocalLink) -> None:
        run_in_step(link, lambda self: in_thread(lambda: self.set_progress(0.5)))

        assert link.progress == [0.5]

    @pytest.mark.parametrize("call", [lambda self: self.set_progress(0), lambda self: self.task_handler])
    def test_outside_a_run_there_is_no_api(self, link: LocalLink, call: Callable[[Any], Any]) -> None:
        runner = make(Steps, TaskHandler(link))

        with pytest.raises(ValueError, match="no run under way"):
            call(runner)

    def test_a_current_handler_serves_runners_that_were_given_none(self, handler: TaskHandler, link: LocalLink) -> None:
        token = current_handler.set(None)
        try:
            handler.set_as_current_handler()
            runner = Steps()
            runner.initialize("cpu")
            runner._load_assets()
            runner.run(INPUT)
        finally:
            current_handler.reset(token)

        assert (handler.output_dataset_ids, runner.device) == (["a", "b"], "cpu")

    def test_what_authors_catch_is_over(self, link: LocalLink) -> None:
        def step(runner: Any) -> None:
            with pytest.raises(ValueError, match="no file"):
                runner.fetch_data(["nowhere"], GenericSchema)

        run_in_step(link, step)

        assert link.lines == []

    def test_errors_of_the_api_are_voxloom_errors_with_a_code(self) -> None:
        assert issubclass(InvalidOutputs, VoxloomError)
        assert NoRun("x").code == "task_handler_not_set"


CALLS: dict[str, Callable[[Any], Any]] = {
    "set_progress": lambda self: self.set_progress(0.5),
    "log_message": lambda self: self.log_message("x"),
    "fetch_data": lambda self: self.fetch_data([], GenericSchema),
    "post_data": lambda self: self.post_data([], GenericSchema),
    "fetch_asset": lambda self: self.fetch_asset("files/weights.bin"),
    "progress": lambda self: setattr(self.task_handler, "progress", 0.5),
}


class TestStop:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_any_call_raises_once_and_then_works_again(self, link: LocalLink, call: Callable[[Any], Any]) -> None:
        def step(runner: Any) -> None:
            link.stop()
            try:
                call(runner)
            finally:
                call(runner)
                runner.log_message("saved")

        with pytest.raises(TaskStoppedException, match="has been stopped"):
            run_in_step(link, step)
        assert ("INFO", "saved") in link.lines

    def test_except_exception_does_not_swallow_it(self, link: LocalLink) -> None:
        def step(runner: Any) -> None:
            link.stop()
            try:
                runner.set_progress(0.5)
            except Exception as error:  # noqa: BLE001 - as careless authors write it
                runner.log_message(error)

        with pytest.raises(TaskStoppedException):
            run_in_step(link, step)

    def test_a_run_that_makes_no_calls_notices_between_its_steps(self, link: LocalLink) -> None:
        class Quiet(Steps):
            def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
                link.stop()

            def inference(self, data: Any, args: Any) -> Any:
                raise AssertionError("inference must not begin")

        with pytest.raises(TaskStoppedException):
            run(make(Quiet, TaskHandler(link)), link)

    def test_the_logger_never_raises(self, link: LocalLink) -> None:
        def step(runner: Any) -> None:
            link.stop()
            runner.task_handler.logger.info("cleaning up")
            with pytest.raises(TaskStoppedException):
                runner.set_progress(0.5)

        run_in_step(link, step)

        assert link.lines == [("INFO", "cleaning up")]

    def test_it_has_a_code(self) -> None:
        assert TaskStoppedException().code == "task_stopped"
        assert TaskStoppedException("Over.").message == "Over."


class TestHandler:
    def test_it_tells_what_run_it_is(self, handler: TaskHandler, link: LocalLink) -> None:
        assert (handler.task_id, handler.session_token, handler.device) == (link.task_id, link.session_token, "cuda")

    def test_progress_can_be_read_back(self, handler: TaskHandler) -> None:
        handler.progress = 0.25

        assert handler.progress == 0.25

    @pytest.mark.parametrize(
        ("call", "line"),
        [
            (lambda out: out.info("plain {brace} 100%"), ("INFO", "plain {brace} 100%")),
            (lambda out: out.info("{} of {n}", 1, n=2), ("INFO", "1 of 2")),
            (lambda out: out.warning("%d of %d", 1, 2), ("WARNING", "1 of 2")),
            (lambda out: out.error("%d", "no number"), ("ERROR", "%d ('no number',)")),
            (lambda out: out.success("done"), ("INFO", "done")),
            (lambda out: out.debug("fine"), ("DEBUG", "fine")),
            (lambda out: out.critical("bad"), ("ERROR", "bad")),
            (lambda out: out.bind(a=1).opt(depth=1).info("bound"), ("INFO", "bound")),
            (lambda out: out.log("warning", "by name"), ("WARNING", "by name")),
        ],
    )
    def test_its_logger_takes_both_ways_of_formatting(
        self, handler: TaskHandler, link: LocalLink, call: Callable[[Any], None], line: tuple[str, str]
    ) -> None:
        call(handler.logger)

        assert link.lines == [line]

    @pytest.mark.parametrize(
        "log", [lambda out: out.exception("failed"), lambda log: log.opt(exception=True).error("failed")]
    )
    def test_its_logger_adds_the_traceback(
        self, handler: TaskHandler, link: LocalLink, log: Callable[[Any], None]
    ) -> None:
        try:
            cast(dict[str, int], {})["secret"]
        except KeyError:
            log(handler.logger)

        level, text = link.lines[0]
        assert level == "ERROR"
        assert text.startswith("failed\nTraceback")
        assert text.endswith("KeyError: 'secret'")

    def test_its_logger_shows_the_authors_frames_alone(
        self, handler: TaskHandler, link: LocalLink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("RUNNER_MODULE_DIR", str(tmp_path))
        code = compile("def work(): raise KeyError('secret')", str(tmp_path / "Runner.py"), "exec")
        space: dict[str, Any] = {}
        exec(code, space)
        try:
            space["work"]()
        except KeyError:
            handler.logger.exception("failed")

        assert [line for line in link.lines[0][1].splitlines() if "File" in line] == [
            '  File "Runner.py", line 1, in work'
        ]


def giving(outputs: Any) -> type[BaseRunner]:
    class Giving(Steps):
        def postprocess(self, data: Any, args: Any) -> Any:
            return outputs

    return Giving


def in_thread(call: Callable[[], Any]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_steps_of_the_base_class_take_args_by_name_or_not_at_all(link: LocalLink) -> None:
    class Calling(Steps):
        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            BaseRunner.preprocess(self, input_data, args=args)  # type: ignore[call-arg]
            BaseRunner.inference(self, data=None)  # type: ignore[call-arg]
            return super().preprocess(input_data, args)

    assert run(make(Calling, TaskHandler(link)), link) == ["a", "b"]


def test_a_base_step_still_refuses_what_it_does_not_know(link: LocalLink) -> None:
    with pytest.raises(TypeError, match="other"):
        Steps().train([], other=1)  # type: ignore[call-arg]
