"""What a runner asks of whoever runs it.

`Link` is the port: a few primitive calls, answered by the host process (which asks its worker over frames) and by
`voxloom.testing` (local files). `TaskHandler` is what authors see as `self.task_handler`; it stands on a Link.

Every call into the runner API looks for a stop first, so `TaskStoppedException` can come out of any of them, once.
Only `logger` never raises: it may be used where cleaning up is under way.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, get_args

import numpy as np

from voxloom.errors import InvalidInput
from voxloom.imagemeta import Meta
from voxloom.runner import hdf5
from voxloom.runner.context import current_handler
from voxloom.runner.ending import Ending
from voxloom.runner.exceptions import (
    AssetNotFound,
    NoSession,
    kind_of,
)
from voxloom.runner.fileitems import encode_item, read_item
from voxloom.runner.frameworks import gone
from voxloom.runner.inheritance import Inheritance
from voxloom.runner.logger import Level, RunLogger
from voxloom.runner.plain import plain_dict
from voxloom.runner.schemas import DataSchema
from voxloom.runner.sessions import RunSession
from voxloom.runner.stacks import Stack

__all__ = ["LEVELS", "Level", "Link", "TaskHandler", "checked_progress", "normal_asset_path"]

LARGEST_STATE = 1 << 20
LEVELS: tuple[Level, ...] = get_args(Level)


class Link(Protocol):
    """The side of a run that moves files and news. Every method may be called from any thread of the runner.

    `set_progress`, `send_log` and `log` are news: they return at once and never raise, since a failure to report is no
    reason to fail a run. The others wait for their answer and raise what went wrong.
    """

    @property
    def task_id(self) -> str:
        """The id of the run."""

    @property
    def session_token(self) -> str:
        """The run's own, or the one it was given."""

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `mps`."""

    def check_stopped(self) -> None:
        """Raises TaskStoppedException once after a stop; later calls return, so that a run can clean up."""

    def fetch_paths(self, file_ids: Sequence[str]) -> list[Path]:
        """Local HDF5 files to read, in the order of `file_ids`. Raises FileUnknown."""

    def stage(self, count: int) -> list[tuple[str, Path]]:
        """New file ids, each with the path to write it to. Nothing is kept before `post`."""

    def post(self, file_ids: Sequence[str]) -> None:
        """Those staged files are written: keep them. From here on `fetch_paths` knows them."""

    def asset_path(self, path: str) -> Path:
        """The local file of an asset; `path` is relative with forward slashes. Raises AssetNotFound."""

    def samples(self, sample_ids: Sequence[str]) -> list[dict[str, Any]]:
        """sample_id, files, tags and time_created of each. Raises SampleNotFound."""

    def save_checkpoint(self, assets: Mapping[str, bytes], properties: Mapping[str, Any]) -> str:
        """The id under which these assets are kept. Raises CheckpointInvalid for a path that is no asset's."""

    def drop_checkpoint(self, checkpoint_id: str) -> None:
        """Takes back a checkpoint that this run has saved."""

    @property
    def scratch(self) -> Path:
        """A folder of this run's own, which goes with it."""

    @property
    def session(self) -> RunSession | None:
        """What runs with the same token share; None where there is no session."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """What the run says of itself, as JSON has it; news like progress."""

    def set_progress(self, progress: float) -> None:
        """`progress` is in [0, 1]."""

    def send_log(self) -> None:
        """Sends the lines that have gathered, unless some were sent a moment ago: then these follow by themselves."""

    def log(self, text: str, level: Level) -> None:
        """`text` without a newline at its end, but maybe of several lines. DEBUG does not reach the record."""


class TaskHandler(Ending):
    """One run, as its author sees it. It comes with the run; what Compox takes to make one is refused."""

    def __init__(self, link: Link, *others: Any, **more: Any) -> None:
        if others or more or isinstance(link, str):
            raise TypeError(
                f"A {type(self).__name__} comes with its run, as self.task_handler: use self.fetch_data, "
                "self.post_data and self.fetch_asset, or to debug, DebuggingTaskHandler."
            )
        super().__init__()
        self._link = link
        self._session_token = link.session_token
        self._state: dict[str, Any] = {}
        self._inheritance = Inheritance()
        self._told_of_sizes = False
        self.logger = RunLogger(link.log)

    # --- what the run is ---

    @property
    def task_id(self) -> str:
        return self._link.task_id

    @property
    def session_token(self) -> str:
        return self._session_token

    @session_token.setter
    def session_token(self, session_token: str) -> None:
        """Changes what is read here alone: the run's session stays the one that it has begun with."""
        self._session_token = session_token

    @property
    def device(self) -> str:
        return self._link.device

    # --- data ---

    def fetch_data(
        self, file_ids: Sequence[str], pydantic_data_schema: type[DataSchema], *keys: str, parallel: bool = False
    ) -> list[dict[str, Any]]:
        """Every field of the schema for each file, in order; an absent optional one is None.

        `keys` limits which datasets are read. Arrays are writable and the caller's own. `parallel` is accepted and
        changes nothing: HDF5 reads one file at a time.
        Raises pydantic's ValidationError where a file does not fit the schema, and FileUnknown."""
        return self._fetch(file_ids, pydantic_data_schema, keys, np.empty)

    def fetch_stack(self, file_ids: Sequence[str], schema: type[DataSchema], key: str) -> np.ndarray:
        """The array `key` of every file, along a new first axis: read straight into its place, not copied together.

        Raises InvalidShape where shapes differ, and what `fetch_data` raises."""
        stack = Stack(len(file_ids))
        return stack.put_together([item[key] for item in self._fetch(file_ids, schema, (key,), stack.allocate)], key)

    def _fetch(
        self, file_ids: Sequence[str], schema: type[DataSchema], keys: Sequence[str], allocate: hdf5.Allocate
    ) -> list[dict[str, Any]]:
        self.check_stopped()
        _check_ids(file_ids, keys)
        paths = self._link.fetch_paths(file_ids) if file_ids else []
        items = []
        for file_id, path in zip(file_ids, paths, strict=True):
            metas: dict[str, Meta] = {}
            items.append(read_item(file_id, path, schema, keys, allocate, metas, self._warn))
            self._inheritance.remember(file_id, items[-1], metas)
        return items

    def _warn(self, text: str) -> None:
        self._link.log(text, "WARNING")

    def post_data(
        self, result: Sequence[Any], pydantic_data_schema: type[DataSchema], parallel: bool = False
    ) -> list[str]:
        """Writes one file per item and returns their ids, in order. Any run step can fetch them at once.

        Keys that the schema does not name are dropped, values that are None skipped. All items are checked before
        the first is stored. Raises pydantic's ValidationError or InvalidDataset."""
        self.check_stopped()
        if isinstance(result, dict | str) or not hasattr(result, "__iter__"):
            raise InvalidInput("post_data takes a list with one dict per file: put the dict into a list.")
        encoded = [encode_item(index, item, pydantic_data_schema) for index, item in enumerate(result)]
        if not encoded:
            return []
        staged = self._link.stage(len(encoded))
        for (_, path), datasets, metas in zip(staged, encoded, self._inherited(encoded), strict=True):
            hdf5.write(path, datasets, metas)
        file_ids = [file_id for file_id, _ in staged]
        self._link.post(file_ids)
        return file_ids

    def _inherited(self, outputs: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Meta]]:
        known, told = self._inheritance.of(outputs), self._told_of_sizes
        self._told_of_sizes |= self._inheritance.lost
        if self._told_of_sizes and not told:
            self._link.log(
                "The outputs have another height or width than the inputs, so the size of their voxels is not known.",
                "WARNING",
            )
        return known

    def expect_outputs_for(self, input_dataset_ids: Any) -> None:
        """Output i of as many as these inherits axes and voxel size of input i."""
        self._inheritance.inputs = list(input_dataset_ids or ())

    def fetch_asset(self, asset_path: str) -> io.BytesIO:
        """The bytes of one of the algorithm's own files, by its path below the algorithm's folder.

        Raises AssetNotFound, which may be caught."""
        self.check_stopped()
        return io.BytesIO(self._link.asset_path(normal_asset_path(asset_path)).read_bytes())

    # --- the session ---

    def save_item_to_session(self, obj: Any, key: str) -> None:
        """Shares an object with later runs that have the same session token, of this algorithm or of others.

        It is the object itself that is shared. Raises NoSession in trainings and benchmarks."""
        self.check_stopped()
        self._session.save(obj, _checked_key(key))

    def load_item_from_session(self, key: str) -> Any:
        """Raises KeyError where there is no such item (any more), and NoSession."""
        self.check_stopped()
        return self._session.load(_checked_key(key))

    def remove_item_from_session(self, key: str) -> None:
        """Silent about one that is not there, unless the session holds nothing at all: KeyError."""
        self.check_stopped()
        self._session.remove(_checked_key(key))

    @property
    def _session(self) -> RunSession:
        if (session := self._link.session) is None:
            raise NoSession("There is no session here: only executions share items.")
        return session

    # --- news ---

    @property
    def progress(self) -> float:
        return self._progress

    @progress.setter
    def progress(self, progress: Any) -> None:
        self.set_progress(progress)

    def set_progress(self, progress: Any) -> None:
        """`progress` is any real number in [0, 1], else ValueError."""
        self.check_stopped()
        self._progress = self.reported = checked_progress(progress)
        self._link.set_progress(self.reported)

    @property
    def state(self) -> dict[str, Any]:
        """What was set last; empty before that."""
        return self._state

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self.set_state(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Replaces what the run says of itself: losses, scores, the epoch. It shows while the run goes on.

        Numpy's numbers and arrays are taken as JSON has them. Raises NotPlain, a ValueError."""
        self.check_stopped()
        told = plain_dict(state, "the state")
        if len(json.dumps(told)) > LARGEST_STATE:
            raise InvalidInput(
                f"The state has more than {LARGEST_STATE} characters as JSON: keep figures in it, not data."
            )
        self._state = told
        self._link.set_state(self._state)

    def get_state(self) -> dict[str, Any]:
        return self._state

    def log_message(self, message: object, logging_level: str = "INFO") -> None:
        """`logging_level` is INFO, WARNING, ERROR or DEBUG, else ValueError."""
        self.check_stopped()
        if logging_level not in LEVELS:
            raise InvalidInput(f"{logging_level!r} is no logging level: use one of {', '.join(LEVELS)}.")
        self._link.log(str(message), logging_level)

    def update_log(self) -> None:
        """Shows the log so far in the run's record. That happens by itself a few times a second, too; this does not
        wait for it: before a call into compiled code that stops all threads, say."""
        self._link.send_log()

    # --- the end ---

    def check_stopped(self) -> None:
        """Raises TaskStoppedException once after a stop."""
        self._link.check_stopped()

    def set_as_current_handler(self) -> None:
        """Makes this the handler of runners that were given none, in this thread."""
        current_handler.set(self)

    set_as_current_task_handler = set_as_current_handler

    def __getattr__(self, name: str) -> Any:
        raise gone(type(self).__name__, name)


def _checked_key(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"A session's item is named by text, not by {kind_of(key)}.")
    return key


def checked_progress(progress: Any) -> float:
    try:
        number = math.nan if isinstance(progress, str | bytes) else float(progress)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise InvalidInput(f"Progress must be a number from 0 to 1, not {progress!r}.")
    return number


def normal_asset_path(path: str) -> str:
    """The path as assets are named: relative, with forward slashes. Raises AssetNotFound where it leads outside."""
    if not isinstance(path, str):
        raise AssetNotFound(f"An asset is named by its path as text, not by {kind_of(path)}.")
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise AssetNotFound(f"There is no asset {path!r}: name it by its path below the algorithm's folder.")
    return str(pure)


def _check_ids(file_ids: Any, keys: Sequence[Any]) -> None:
    if not isinstance(file_ids, list | tuple) or not all(isinstance(file_id, str) for file_id in file_ids):
        raise InvalidInput("fetch_data takes a list of file ids, each a str: put a single id into a list.")
    if not all(isinstance(key, str) for key in keys):
        raise InvalidInput(
            "Keys are names of datasets: for a schema that is not the class's own, call self.task_handler.fetch_data."
        )
