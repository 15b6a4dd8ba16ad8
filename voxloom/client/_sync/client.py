# Generated from voxloom/client/_async/client.py by `python -m voxloom.client._generate`; edit that file.

"""The client: one object for all that a server offers."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from voxloom.client._address import find_address
from voxloom.client._bodies import Body
from voxloom.client._inputs import Given, Plan, Wanted, as_list, plan_inputs, plan_whole
from voxloom.client._outputs import Progress, write_sole
from voxloom.client._problems import parse, parse_list, warn
from voxloom.client._selector import Selector, parse_selector, select
from voxloom.client._sio import in_thread, parallel
from voxloom.client._sync.access import Access
from voxloom.client._sync.audit import Audit
from voxloom.client._sync.files import AT_ONCE, Files
from voxloom.client._sync.listing import Looking
from voxloom.client._sync.pages import pages
from voxloom.client._sync.runs import Run
from voxloom.client._sync.training import Learning
from voxloom.client._sync.transport import Transport, path_of
from voxloom.client._values import as_json
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.imagefiles import kind_of
from voxloom.models import (
    AlgorithmRecord,
    DeadLetterPage,
    DeadLetterRecord,
    DeployRecord,
    ExecutionResponse,
    ExecutionSummary,
    QueueReport,
    Replayed,
    ResponseMessage,
    RootMessage,
    Status,
    WorkerRecord,
)

ANSWER_SECS = 75.0
"""A little longer than a server waits for its own parts."""
DEPLOY_SECS = 300.0
_SIGNS = ("pyproject.toml", "Runner.py", "Runner.pyc")
"""Files of which an algorithm's folder has one at least; what it lacks, the server tells."""


class Client(Access, Audit, Learning, Looking):
    """A connection to a Voxloom server.

    Args:
        url: the server's address; else VOXLOOM_URL, else this machine.
        token: proves who we are; else VOXLOOM_TOKEN.
        project: for which one we ask; else VOXLOOM_PROJECT. Needed only where the token is for several.
        timeout: seconds to wait for an answer.

    Every method raises errors of `voxloom.errors`: Unavailable when no server answers, Unauthenticated when it wants a
    token, or another one; NotAllowed, NotFound, InvalidInput and so on for what it refuses.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        project: str | None = None,
        *,
        timeout: float = ANSWER_SECS,
    ) -> None:
        self._transport = Transport(find_address(url, token, project), timeout)
        self._files = Files(self._transport)

    @property
    def url(self) -> str:
        """The server's address, without any secret in it."""
        return self._transport.address.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # --- the server ---------------------------------------------------------------------------------------

    def server(self) -> RootMessage:
        """Who answers there."""
        return parse(RootMessage, self._transport.request("GET", "/"))

    def ready(self) -> None:
        """Returns when the server can do its work; else Unavailable says what is missing."""
        self._transport.request("GET", "/readyz")

    def queues(self) -> QueueReport:
        """How many events wait in each queue, how fast it moves, and how old the oldest of them is."""
        return parse(QueueReport, self._transport.request("GET", "/api/v1/queues"))

    def workers(self) -> list[WorkerRecord]:
        """Every worker, and what it does; for some minutes also those that are gone."""
        return parse_list(WorkerRecord, self._transport.request("GET", "/api/v1/workers"))

    def dead_letters(self, *, limit: int = 100) -> DeadLetterPage:
        """Messages that nobody could handle, the oldest first; `limit` of them at most."""
        response = self._transport.request("GET", "/api/v1/dead-letters", params={"limit": limit})
        return parse(DeadLetterPage, response)

    def dead_letter(self, dead_letter_id: str) -> DeadLetterRecord:
        """One of them, with what is in it."""
        response = self._transport.request("GET", path_of("api", "v1", "dead-letters", dead_letter_id))
        return parse(DeadLetterRecord, response)

    def replay(self, dead_letter_id: str) -> str:
        """Gives one of them back to the queue it came from, as new; what the server said."""
        path = path_of("api", "v1", "dead-letters", dead_letter_id, "replay")
        return parse(ResponseMessage, self._transport.request("POST", path)).detail or ""

    def replay_many(self, dead_letter_ids: Iterable[str]) -> Replayed:
        """Gives up to 1000 of them back at once; those that are not there are no error."""
        body = json.dumps({"ids": list(dead_letter_ids)})
        return parse(Replayed, self._transport.request("POST", "/api/v1/dead-letters/replay", json=body))

    # --- files --------------------------------------------------------------------------------------------

    def upload(self, data: Given, dataset: str = "image") -> str:
        """The id of a new file on the server.

        `data`: an array, a dict of arrays by dataset name, or the path of an .h5 (sent as it is), .npy or .tif file.
        `dataset` names an array that has no name of its own.
        """
        return (self.upload_many([data], dataset))[0]

    def upload_many(
        self, data: Sequence[Given], dataset: str = "image", *, progress: Progress | None = None
    ) -> list[str]:
        """One file each, several at a time; the ids in the same order."""
        with ExitStack() as opened:
            plan = in_thread(opened.enter_context, plan_whole(data, dataset))
            return self._files.send_all(plan.uploads, progress)

    def download(self, file_id: str, path: str | Path | None = None) -> dict[str, Any] | Path:
        """The file's datasets by name; with `path`, the file is saved there instead and the path returned.

        A `path` that ends in .npy or .tif gets the array of a file that holds one and nothing else.
        """
        if path is None:
            return self._files.load(file_id)
        if kind_of(Path(path)) in ("npy", "tiff"):
            in_thread(write_sole, Path(path), self._files.load(file_id))
            return Path(path)
        return self._files.save(file_id, Path(path))

    def download_many(self, file_ids: Sequence[str], folder: str | Path) -> list[Path]:
        """Saves each as `<folder>/<position>.h5`, several at a time; the paths in the same order."""
        paths = [Path(folder) / f"{index:0{len(str(len(file_ids)))}}.h5" for index in range(len(file_ids))]

        def save(index: int) -> Path:
            return self._files.save(file_ids[index], paths[index])

        return parallel(save, range(len(file_ids)), AT_ONCE)

    def delete(self, file_id: str) -> None:
        """Deletes a file from the server."""
        self._files.delete(file_id)

    # --- algorithms ---------------------------------------------------------------------------------------

    def deploy(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        major: int | str | None = None,
        removable: bool | None = None,
        exportable: bool | None = None,
        merge: bool = False,
    ) -> DeployRecord:
        """Puts an algorithm, a folder or a zip, on the server; returns when it can be run.

        `merge`: what an older minor version has already is not added again. The other arguments override what its
        pyproject says.
        """
        overrides = {
            "algorithm_name": name,
            "algorithm_major_version": major,
            "removable": removable,
            "exportable": exportable,
            "merge": True if merge else None,
        }
        with tempfile.TemporaryDirectory(prefix="voxloom-") as scratch:
            archive = in_thread(_archive, Path(source), Path(scratch))
            response = self._transport.request(
                "POST",
                "/api/v1/algorithms",
                params=overrides,
                body=Body(archive),
                content_type="application/zip",
                timeout=DEPLOY_SECS,
            )
        return parse(DeployRecord, response)

    def export(
        self,
        name: str,
        major: int | str,
        path: str | Path,
        *,
        minor: int | str | None = None,
        checkpoint: str | None = None,
    ) -> Path:
        """Saves an algorithm as a zip that can be deployed again: the latest minor version, or the given one.

        `checkpoint`: with the assets that this checkpoint has, in place of the algorithm's own.
        """
        params = {"algorithm_minor_version": minor, "checkpoint_id": checkpoint}
        return self._files.export(name, major, Path(path), params)

    def algorithms(self) -> list[AlgorithmRecord]:
        """All that are deployed."""
        try:
            response = self._transport.request("GET", "/api/v0/algorithm/all")
        except NotFound as error:
            if error.code == "no_algorithms_found":
                return []
            raise
        return parse_list(AlgorithmRecord, response)

    def algorithm(self, name: str, major: int | str) -> AlgorithmRecord:
        response = self._transport.request("GET", path_of("api", "v0", "algorithm", name, str(major)))
        return parse(AlgorithmRecord, response)

    def find(self, algorithm: str) -> AlgorithmRecord:
        """The one that `name`, `name:major`, `name:major.minor` or an id means: without a major, the highest."""
        selector = parse_selector(algorithm)
        try:
            if selector.algorithm_id is not None:
                return self._algorithm_by_id(selector.algorithm_id)
            if selector.name is not None and selector.major is not None:
                return self.algorithm(selector.name, selector.major)
        except NotFound:
            pass  # the list tells what there is instead
        return select(selector, self.algorithms())

    def _algorithm_by_id(self, algorithm_id: str) -> AlgorithmRecord:
        """Also one of a library that the list does not have, since its name means another."""
        response = self._transport.request("GET", path_of("api", "v1", "algorithms", algorithm_id))
        return parse(AlgorithmRecord, response)

    def remove(self, name: str, major: int | str, minor: int | str | None = None) -> str:
        """Removes an algorithm, or one minor version of it; what the server said."""
        response = self._transport.request(
            "DELETE", path_of("api", "v1", "algorithms", name, str(major)), params={"minor": minor}
        )
        return parse(ResponseMessage, response).detail or ""

    # --- executions ---------------------------------------------------------------------------------------

    def submit(
        self,
        algorithm: str | AlgorithmRecord,
        inputs: Given | Sequence[Given],
        parameters: Mapping[str, Any] | None = None,
        *,
        minor: int | str | None = None,
        device: str | None = None,
        session: str | None = None,
        checkpoint: str | None = None,
        dataset: str | None = None,
        axes: str | None = None,
        priority: int = 0,
        progress: Progress | None = None,
    ) -> Run:
        """Starts a run and returns at once when the server has taken it.

        Args:
            algorithm: `name`, `name:major`, `name:major.minor`, an id, or a record.
            inputs: one or a list of: file ids, paths, arrays, dicts of arrays. For Image2… algorithms (and
                Segmentation2Segmentation) an array (N, H, W) or (N, 3, H, W) becomes N files, one per slice.
            parameters: by the names that the algorithm declares.
            minor: a minor version in place of the latest (or of the one in `algorithm`).
            device: `cpu`, `gpu` or `mps` in place of the algorithm's default.
            checkpoint: the id of a checkpoint to run with.
            session: the token of an earlier run (`record().session_token`), to share its items.
            dataset: what to read from HDF5 files, and, for algorithms of other types, what to call arrays.
            axes: one letter per axis of an array, TIFF or .npy file, in its order, where it does not say: `zyx` for
                slices, `syx` for one image in colours (s), `t` for times, `c` for channels, `n` for anything else.
            priority: -100 to 100; of runs that wait, the highest is next.
            progress: told how many of how many files are uploaded.

        What the algorithm is known to refuse is refused before anything is sent.
        """
        given = as_list(inputs)
        selector = Selector() if isinstance(algorithm, AlgorithmRecord) else parse_selector(algorithm)
        record = self._record_for(algorithm, selector, given)
        if record is None:
            wanted = Wanted("Undefined", dataset, axes)
        else:
            # What older minor versions take, only the server knows.
            newest = minor is None and selector.minor is None
            wanted = Wanted(record.algorithm_type, dataset, axes, record.input_schema if newest else "")
        with ExitStack() as opened:
            plan = in_thread(opened.enter_context, plan_inputs(given, wanted))
            request = {
                "algorithm_id": selector.algorithm_id if record is None else record.algorithm_id,
                "algorithm_minor_version": selector.minor if minor is None else str(minor),
                "input_dataset_ids": self._files.send_all(plan.uploads, progress),
                "additional_parameters": dict(parameters or {}),
                "execution_device_override": device,
                "session_token": session,
                "checkpoint_id": checkpoint,
                **({"priority": priority} if priority else {}),
            }
            return self._start(request, plan)

    def _record_for(
        self, algorithm: str | AlgorithmRecord, selector: Selector, given: Sequence[Given]
    ) -> AlgorithmRecord | None:
        """None where the id alone will do: nothing is to be uploaded, so the type does not matter."""
        if isinstance(algorithm, AlgorithmRecord):
            return algorithm
        if selector.algorithm_id is not None and all(isinstance(one, str) for one in given):
            return None
        return self.find(algorithm)

    def _start(self, request: Mapping[str, Any], plan: Plan) -> Run:
        body = as_json(request, "The parameters")
        response = self._transport.request("POST", "/api/v0/execute-algorithm", json=body, key=new_id())
        answer = parse(ExecutionResponse, response)
        warn(answer.warnings, above=3)
        stacked = len(plan.counts) == 1 and plan.counts[0] is not None
        return Run(self._transport, answer.execution_id, stacked=stacked, counts=tuple(plan.counts))

    def executions(
        self,
        *,
        status: Status | str | None = None,
        algorithm: str | None = None,
        project: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: str | None = None,
        limit: int | None = None,
        submitted_by: str | None = None,
    ) -> Iterator[ExecutionSummary]:
        """Executions, newest first, fetched page by page as they are asked for; `limit` of them at most.

        `since` and `until` bound the submit time; `sort` is newest, oldest, longest, shortest or status;
        `submitted_by` is a principal.
        """
        params: dict[str, Any] = {
            "status": None if status is None else str(status),
            "algorithm": algorithm,
            "project": project,
            "since": None if since is None else since.isoformat(),
            "until": None if until is None else until.isoformat(),
            "sort": sort,
            "submitted_by": submitted_by,
        }
        yield from pages(self._transport, "/api/v1/executions", ExecutionSummary, params, limit)

    def delete_execution(self, execution_id: str) -> None:
        """Deletes the record of an execution that is over. Raises Conflict (`execution_not_ended`) before that."""
        self._transport.request("DELETE", path_of("api", "v1", "executions", execution_id))

    def execution(self, execution_id: str) -> Run:
        """An execution that was started earlier, by whomever."""
        return Run(self._transport, execution_id)


def _archive(source: Path, scratch: Path) -> Path:
    """The zip to send for an algorithm's folder (packed into `scratch`) or zip (as it is)."""
    from voxloom.manifest import pack_folder

    if source.is_file() and zipfile.is_zipfile(source):
        return source
    if not any((source / name).is_file() for name in _SIGNS):  # before a whole disk is packed
        raise InvalidInput(
            f"There is no algorithm at {source}; name a folder with a pyproject.toml and a Runner.py, or a zip of it."
        )
    packed = scratch / "algorithm.zip"
    with packed.open("wb") as file:
        pack_folder(source, file)
    return packed
