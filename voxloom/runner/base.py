"""BaseRunner: the class that authors derive theirs from.

A runner lives as long as its process. `make` makes it and loads its assets once; `execute` runs it, again and again:

    cold   __init__, load_assets, then as warm
    warm   __init__, preprocess, inference, postprocess

What `load_assets` sets stays and is locked; everything else that is set on the runner belongs to one run.
"""

from __future__ import annotations

import inspect
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from voxloom.errors import InvalidInput
from voxloom.runner.benchmarkhandler import BenchmarkHandler, found_data
from voxloom.runner.byname import by_name
from voxloom.runner.context import RunContext, current_handler, current_runner_context
from voxloom.runner.exceptions import NoBenchmark, NoRun, NoTraining, NotTrainable
from voxloom.runner.handler import TaskHandler
from voxloom.runner.schemas import DataSchema
from voxloom.runner.training import TrainingDataset
from voxloom.runner.traininghandler import LocalSamples, TrainingHandler, TrainingWithoutCheckpoint

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


class BaseRunner(ABC):
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

    # --- what authors call ---

    def fetch_data(
        self, file_ids: Sequence[str], pydantic_data_schema: type[DataSchema], *keys: str, parallel: bool = False
    ) -> list[dict[str, Any]]:
        """See TaskHandler.fetch_data."""
        return self.task_handler.fetch_data(file_ids, pydantic_data_schema, *keys, parallel=parallel)

    def post_data(
        self, data: Sequence[Any], pydantic_data_schema: type[DataSchema], parallel: bool = False
    ) -> list[str]:
        """See TaskHandler.post_data."""
        return self.task_handler.post_data(data, pydantic_data_schema, parallel)

    def fetch_asset(self, asset_path: str) -> io.BytesIO:
        """See TaskHandler.fetch_asset."""
        return self.task_handler.fetch_asset(asset_path)

    def set_progress(self, progress: Any) -> None:
        """See TaskHandler.set_progress."""
        self.task_handler.set_progress(progress)

    def log_message(self, message: object, logging_level: str = "INFO") -> None:
        """See TaskHandler.log_message."""
        self.task_handler.log_message(message, logging_level)

    def save_item_to_session(self, obj: Any, key: str) -> None:
        """See TaskHandler.save_item_to_session."""
        self.task_handler.save_item_to_session(obj, key)

    def load_item_from_session(self, key: str) -> Any:
        """See TaskHandler.load_item_from_session."""
        return self.task_handler.load_item_from_session(key)

    def remove_item_from_session(self, key: str) -> None:
        """See TaskHandler.remove_item_from_session."""
        self.task_handler.remove_item_from_session(key)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See TaskHandler.set_state."""
        self.task_handler.set_state(state)

    def get_state(self) -> dict[str, Any]:
        """What was set last; empty before that."""
        return self.task_handler.get_state()

    def get_training_dataset(self, training_sample_ids: Sequence[str]) -> TrainingDataset:
        """See TrainingHandler.get_training_dataset."""
        return self._training.get_training_dataset(training_sample_ids)

    def save_checkpoint(self, checkpoint: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> str:
        """See TrainingHandler.save_checkpoint."""
        return self._training.save_checkpoint(checkpoint, properties)

    def delete_checkpoint(self, checkpoint_id: str) -> None:
        """See TrainingHandler.delete_checkpoint."""
        self._training.delete_checkpoint(checkpoint_id)

    def save_training_files_to_temp_store(
        self,
        folder_path: str | Path,
        files: Sequence[Any],
        pydantic_data_schema: type[DataSchema],
        parallel: bool = True,
    ) -> list[str]:
        """See TempStore.save."""
        return self._training.save_training_files_to_temp_store(folder_path, files, pydantic_data_schema, parallel)

    def download_files_to_temp_store(
        self,
        folder_path: str | Path,
        file_ids: Sequence[str],
        pydantic_data_schema: type[DataSchema],
        batch_size: int = 8,
        *keys: str,
    ) -> list[str]:
        """See TrainingHandler.download_files_to_temp_store."""
        return self._training.download_files_to_temp_store(
            folder_path, file_ids, pydantic_data_schema, batch_size, *keys
        )

    def download_dataset_to_temp_store(
        self, dataset: TrainingDataset, pydantic_data_schemas: Mapping[str, type[DataSchema]]
    ) -> LocalSamples:
        """See TrainingHandler.download_dataset_to_temp_store."""
        return self._training.download_dataset_to_temp_store(dataset, pydantic_data_schemas)

    def load_files_from_temp_store(
        self, paths: Sequence[str | Path], parallel: bool = True, *keys: str
    ) -> list[dict[str, Any]]:
        """See TempStore.load."""
        return self._training.load_files_from_temp_store(paths, parallel, *keys)

    def load_dataset_from_temp_store(self, local_samples: LocalSamples) -> list[list[dict[str, list[dict[str, Any]]]]]:
        """See TrainingHandler.load_dataset_from_temp_store."""
        return self._training.load_dataset_from_temp_store(local_samples)

    @property
    def _training(self) -> TrainingHandler:
        handler = self.task_handler
        if not isinstance(handler, TrainingHandler):
            raise NoTraining("This works in a training alone: call it from within train(self, training_data, args).")
        return handler

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
