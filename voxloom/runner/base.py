"""BaseRunner: the class that authors derive theirs from.

A runner lives as long as its process. `make` makes it and loads its assets once; `execute` runs it, again and again:

    cold   __init__, load_assets, then as warm
    warm   __init__, preprocess, inference, postprocess

What `load_assets` sets stays and is locked; everything else that is set on the runner belongs to one run.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from voxloom.errors import InvalidInput
from voxloom.runner.benchmarkhandler import BenchmarkHandler, found_data
from voxloom.runner.byname import by_name
from voxloom.runner.calls import HandlerCalls
from voxloom.runner.context import RunContext, current_handler, current_runner_context
from voxloom.runner.exceptions import NoBenchmark, NoRun, NotTrainable
from voxloom.runner.handler import TaskHandler
from voxloom.runner.traininghandler import TrainingHandler, TrainingWithoutCheckpoint

_READ_ONLY = frozenset({"device", "runner_context", "task_handler"})


class _Inside:
    """What a runner keeps beside its author's attributes, which have `__dict__` to themselves."""

    __slots__ = ("assigned", "context", "device", "handler", "initializing", "locked")

    def __init__(self) -> None:
        self.device = "cpu"
        self.handler: TaskHandler | None = None
        self.context: RunContext | None = None
        self.locked: frozenset[str] = frozenset()
        self.initializing = False
        self.assigned: set[str] | None = None
        """Names assigned since `load_assets` began; None outside it."""


class BaseRunner(HandlerCalls):
    """Derive from it, implement the three steps, and load models in `load_assets`.

    Made without arguments. `__init__` runs before `load_assets` and again at the start of every run; it need not
    call `super().__init__()`, and what it assigns to a locked name is passed over.
    """

    __slots__ = ("__dict__", "__weakref__", "_voxloom")
    _voxloom: _Inside

    algorithm_type = "Generic"

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}: every Runner defines its steps.")
        runner = super().__new__(cls)
        object.__setattr__(runner, "_voxloom", _Inside())
        return runner

    # --- what authors implement ---

    def load_assets(self) -> None:
        """Called once per process. Read files of the algorithm with `fetch_asset` and keep what they hold, a model
        say, as attributes: those are locked afterwards."""

    @abstractmethod
    @by_name
    def preprocess(self, input_data: dict[str, Any], args: Any, /) -> Any:
        """`input_data` is `{"input_dataset_ids": [...]}`; what is returned goes to `inference`.

        `args` are the run's parameters: one dict for all three steps, never None."""

    @abstractmethod
    @by_name
    def inference(self, data: Any, args: Any, /) -> Any:
        """What is returned goes to `postprocess`."""

    @abstractmethod
    @by_name
    def postprocess(self, data: Any, args: Any, /) -> list[str]:
        """Returns the ids of the run's outputs, as `post_data` gives them; input ids and free texts are fine too."""

    @by_name
    def train(self, training_data: list[str], args: Any, /) -> None:
        """Where the algorithm can be trained: learn from the samples of these ids (`get_training_dataset`), and save
        what was learnt with `save_checkpoint`, once at least."""
        raise NotTrainable(f"{type(self).__name__} cannot be trained: it defines no train(self, training_data, args).")

    @by_name
    def benchmark(self, args: Any, /) -> dict[str, Any] | None:
        """Where the algorithm can measure itself: returns figures, as JSON has them."""
        raise NoBenchmark(f"{type(self).__name__} has no benchmark: it defines no benchmark(self, args).")

    # --- what authors read ---

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `mps`: what to put models and tensors on."""
        return self._voxloom.device

    @property
    def runner_context(self) -> RunContext:
        """This run's own attributes, live: those that `load_assets` has not set."""
        inside = self._voxloom
        if inside.context is None:
            inside.context = RunContext(self)
        inside.context.note(self._of_run())
        return inside.context

    @property
    def _locked_attributes(self) -> set[str]:
        """The names of what `load_assets` has set."""
        return set(self._voxloom.locked)

    @property
    def task_handler(self) -> TaskHandler:
        """The run that is under way. Raises NoRun outside one."""
        handler = self._voxloom.handler or current_handler.get()
        if handler is None:
            raise NoRun(
                "There is no run under way in this process: call the runner API from within load_assets or a step, "
                "and not from child processes."
            )
        return handler

    # --- what hosts call ---

    def initialize(self, device: str | None = None) -> None:
        """A fresh start: attributes of the last run are gone, `__init__` has run again, assets are as they were."""
        inside = self._voxloom
        inside.device = device or inside.device
        self._forget_run()
        inside.initializing = True
        try:
            type(self).__init__(self)
        finally:
            inside.initializing = False

    def _load_assets(self) -> None:
        """Calls `load_assets` and locks what it has set, by assignment or through `__dict__`."""
        inside = self._voxloom
        inside.locked = frozenset()
        before = dict(self.__dict__)
        inside.assigned = set()
        try:
            self.load_assets()
            absent = object()
            inside.locked = frozenset(
                name
                for name, value in self.__dict__.items()
                if name in inside.assigned or before.get(name, absent) is not value
            )
            if inside.context is not None:
                inside.context.drop(inside.locked)
        finally:
            inside.assigned = None

    def run(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> None:
        """The three steps; their outcome goes to `task_handler.mark_as_completed`."""
        outputs = self.postprocess_base(self.inference_base(self.preprocess_base(input_data, args), args), args)
        self.task_handler.mark_as_completed(outputs)

    def preprocess_base(self, input_data: dict[str, Any], args: dict[str, Any] | None = None) -> Any:
        self.task_handler.check_stopped()
        return self.preprocess(input_data, args or {})

    def inference_base(self, data: Any, args: dict[str, Any] | None = None) -> Any:
        self.task_handler.check_stopped()
        return self.inference(data, args or {})

    def postprocess_base(self, data: Any, args: dict[str, Any] | None = None) -> Any:
        self.task_handler.check_stopped()
        return self.postprocess(data, args or {})

    def run_training(self, training_data: Sequence[str], args: dict[str, Any] | None = None) -> None:
        self.task_handler.check_stopped()
        self.train(list(training_data), args or {})
        if isinstance(self.task_handler, TrainingHandler):
            self.task_handler.mark_as_completed()

    def run_benchmark(self, args: dict[str, Any] | None = None) -> Any:
        """`benchmark`; what it has found goes to `task_handler.mark_as_completed`, and is returned, too."""
        self.task_handler.check_stopped()
        found = found_data(self.benchmark(args or {}))
        if isinstance(self.task_handler, BenchmarkHandler):
            self.task_handler.mark_as_completed(found)
        return found

    # --- attributes ---

    def __setattr__(self, name: str, value: Any) -> None:
        if self._passes_over(name, "assigned"):
            return
        super().__setattr__(name, value)
        if self._voxloom.assigned is not None:
            self._voxloom.assigned.add(name)
        elif self._voxloom.context is not None:
            self._voxloom.context.note({name: value})

    def __delattr__(self, name: str) -> None:
        if self._passes_over(name, "deleted"):
            return
        super().__delattr__(name)
        if self._voxloom.context is not None:
            self._voxloom.context.drop([name])

    def __getstate__(self) -> tuple[dict[str, Any], str, frozenset[str]]:
        """For pools of child processes: attributes travel, the run does not."""
        return dict(self.__dict__), self._voxloom.device, self._voxloom.locked

    def __setstate__(self, state: tuple[dict[str, Any], str, frozenset[str]]) -> None:
        attributes, self._voxloom.device, self._voxloom.locked = state
        self.__dict__.update(attributes)

    def _passes_over(self, name: str, verb: str) -> bool:
        """True where a change is silently left out; raises AttributeError where it is refused."""
        if name in _READ_ONLY:
            raise AttributeError(f"{name!r} is read-only: keep your own value under another name.")
        if name not in self._voxloom.locked:
            return False
        if self._voxloom.initializing:
            return True
        raise AttributeError(
            f"{name!r} was set in load_assets and cannot be {verb} in a run: use another name for the run's own value."
        )

    def _forget_run(self) -> None:
        for name in self._of_run():
            del self.__dict__[name]
        if self._voxloom.context is not None:
            self._voxloom.context.drop(self._voxloom.context)

    def _of_run(self) -> dict[str, Any]:
        locked = self._voxloom.locked
        return {name: value for name, value in self.__dict__.items() if name not in locked}


Runner = BaseRunner


def make(runner_class: Any, handler: TaskHandler) -> BaseRunner:
    """A warm runner: made, its assets loaded. The API works in `__init__` and `load_assets`, through `handler`.

    Raises InvalidInput for a class that cannot be one, and whatever the author's code raises."""
    _check_class(runner_class)
    runner: BaseRunner = runner_class.__new__(runner_class)
    with _serving(runner, handler):
        runner.initialize(handler.device)
        runner._load_assets()
    return runner


def execute(
    runner: BaseRunner, handler: TaskHandler, input_data: dict[str, Any], args: dict[str, Any] | None = None
) -> list[str]:
    """One run; returns the ids of its outputs. Afterwards nothing of the run stays in memory but the assets.

    Raises TaskStoppedException, InvalidOutputs, and whatever the author's code raises."""
    handler.expect_outputs_for(input_data.get("input_dataset_ids"))
    with _serving(runner, handler):
        runner.initialize(handler.device)
        runner.run(input_data, args)
    return handler.given_outputs()


def train(
    runner: BaseRunner, handler: TaskHandler, training_data: Sequence[str], args: dict[str, Any] | None = None
) -> list[str]:
    """One training; the ids of the checkpoints that it has left.

    Raises TaskStoppedException, TrainingWithoutCheckpoint, and whatever the author's code raises."""
    assert isinstance(handler, TrainingHandler)
    with _serving(runner, handler):
        runner.initialize(handler.device)
        runner.run_training(training_data, args)
    handler.raise_failure()
    if not handler.output_checkpoint_ids:
        raise TrainingWithoutCheckpoint(
            "The training has saved no checkpoint, so nothing of it is left: call self.save_checkpoint({path: bytes}) "
            "in train."
        )
    return handler.output_checkpoint_ids


def benchmark(runner: BaseRunner, handler: TaskHandler, args: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the algorithm finds of itself. Raises TaskStoppedException, NotPlain, and whatever the author's code
    raises."""
    assert isinstance(handler, BenchmarkHandler)
    with _serving(runner, handler):
        runner.initialize(handler.device)
        found = runner.run_benchmark(args)
    return handler.given_data() or found_data(found)


@contextmanager
def _serving(runner: BaseRunner, handler: TaskHandler) -> Iterator[None]:
    token, context = current_handler.set(handler), current_runner_context.set(runner.runner_context)
    runner._voxloom.handler = handler
    try:
        yield
    finally:
        runner._voxloom.handler = None
        runner.runner_context.detach()
        runner._voxloom.context = None
        runner._forget_run()
        current_handler.reset(token)
        current_runner_context.reset(context)


def _check_class(runner_class: Any) -> None:
    if not (isinstance(runner_class, type) and issubclass(runner_class, BaseRunner)):
        raise InvalidInput(f"{runner_class!r} is no Runner: derive it from voxloom.Runner.")
    try:
        inspect.signature(runner_class.__init__).bind(None)
    except TypeError as error:
        raise InvalidInput(
            f"{runner_class.__name__}.__init__ must work without arguments ({error}): give its parameters defaults."
        ) from None
