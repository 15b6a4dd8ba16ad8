"""`voxloom run`, `status`, `logs`, `stop`: executions from the command line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.interrupts import INTERRUPTED, Interrupts
from voxloom.cli.json_output import AsJson, show, show_line
from voxloom.cli.local import Axes
from voxloom.cli.session import RunId, connect, find_run
from voxloom.cli.text import printable, tell
from voxloom.errors import UndeclaredParameter

if TYPE_CHECKING:
    from voxloom.cli.follow import View
    from voxloom.client import Client, Run, Update
    from voxloom.models import AlgorithmRecord, ExecutionRecord, Waiting


class Device(StrEnum):
    """As `models.DeviceClass`."""

    cpu = "cpu"
    gpu = "gpu"
    mps = "mps"


def run(
    ctx: typer.Context,
    algorithm: Annotated[str, typer.Argument(help="NAME, NAME:MAJOR, NAME:MAJOR.MINOR or an id.", show_default=False)],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Inputs: .h5, .npy or .tif.", show_default=False)],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A .h5, .npy or .tif file for the output, or a folder.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="In place of the algorithm's default.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The dataset to take from .h5 inputs.")] = None,
    axes: Axes = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="ID", help="A checkpoint to run with.")] = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Of runs that wait, the highest is next.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run an algorithm on files, show how it goes, and save what comes out.

    A volume (N, H, W) for an Image2... algorithm is sent slice by slice, and the outputs are stacked again. Colour
    images are (N, 3, H, W); those in a TIFF are recognized. Ctrl-C stops the run.
    """
    from voxloom.cli.downloads import check_destination, fetch_outputs, mention_texts, parts_of
    from voxloom.cli.follow import open_view

    if out is not None:
        check_destination(out)
    with connect(ctx) as client, open_view() as view, Interrupts() as interrupts:

        def uploaded(done: int, total: int) -> None:
            view.moved("uploading", done, total)
            if done == total:
                interrupts.hold()

        wanted = _resolve(client, algorithm, parameter or [], view)
        with warnings.catch_warnings():
            if wanted.minor is None:  # That was said already, before the upload.
                warnings.simplefilter("ignore", UndeclaredParameter)
            started = client.submit(
                wanted.record,
                files,
                wanted.parameters,
                minor=wanted.minor,
                device=None if device is None else device.value,
                dataset=dataset,
                axes=axes,
                checkpoint=checkpoint,
                priority=priority,
                progress=uploaded,
            )
        view.began(f"{wanted.record.algorithm_name} {wanted.version}, run {started.id}")
        ended = _follow(started, view, interrupts)
        if out is None:
            view.say(f"The outputs are on the server; `voxloom save {started.id} OUT` fetches them.")
        else:
            made = started.output_files()
            saved = fetch_outputs(client, started.id, parts_of(made, started.counts, files), out, view)
            mention_texts(view, ended, made)
    if as_json:
        from voxloom.cli.answers import Ran

        show(Ran(execution=ended, saved=[] if out is None else [str(path) for path in saved]))
    else:
        tell(ended.output_dataset_ids if out is None else saved)


@dataclass(frozen=True)
class Wanted:
    """What was typed, as the server knows it."""

    record: AlgorithmRecord
    minor: str | None
    parameters: dict[str, Any]

    @property
    def version(self) -> str:
        return f"{self.record.algorithm_version}.{self.minor or self.record.latest_algorithm_minor_version}"


def _resolve(client: Client, algorithm: str, typed: Sequence[str], view: View) -> Wanted:
    from voxloom.cli.values import parse_parameters
    from voxloom.client._selector import parse_selector

    record = client.find(algorithm)
    minor = parse_selector(algorithm).minor
    parameters = parse_parameters(typed, record.additional_parameters)
    check_request(record, minor, parameters)
    for doubt in doubts(record, minor, parameters):
        view.say(f"Warning: {doubt}")
    return Wanted(record, minor, parameters)


def doubts(record: AlgorithmRecord, minor: str | None, parameters: Mapping[str, Any]) -> list[str]:
    """What the server takes, and is hardly meant: parameters that the algorithm does not declare, misspelt perhaps."""
    if minor is not None:  # what older ones declare, only the server knows
        return []
    declared = [parameter.name for parameter in record.additional_parameters]
    known = f"it declares {', '.join(declared)}" if declared else "it declares none"
    return [
        f"{record.algorithm_name} declares no parameter {name!r} ({known}); it is passed on as it is."
        for name in parameters
        if name not in declared
    ]


def check_request(record: AlgorithmRecord, minor: str | None, parameters: Mapping[str, Any]) -> None:
    """What the server would refuse, before anything is uploaded. Raises InvalidInput, NotFound."""
    from voxloom.errors import NotFound
    from voxloom.parameters import check_parameters

    if minor is None:
        check_parameters(record.additional_parameters, parameters)
    elif minor not in record.algorithm_minor_versions:  # what older ones declare, only the server knows
        known = ", ".join(record.algorithm_minor_versions)
        raise NotFound(
            f"{record.algorithm_name} {record.algorithm_version} has no minor version {minor}; it has {known}."
        )


def _follow(run: Run, view: View, interrupts: Interrupts) -> ExecutionRecord:
    """The record of the run once it is COMPLETED. Ctrl-C stops it on the server. Raises RunFailed."""
    from voxloom.client._outputs import describe_end
    from voxloom.errors import RunFailed, Unavailable
    from voxloom.models import Status

    try:
        interrupts.let_go()
        for update in run.watch():
            view.take(update)
            _say_why_it_waits(update, view)
        record = run.wait()
    except KeyboardInterrupt:
        _interrupt(run, view)
        raise typer.Exit(INTERRUPTED) from None
    except Unavailable:
        view.say(f"Run {run.id} is kept by the server and goes on when it does; `voxloom logs -f {run.id}` follows it.")
        raise
    if record.status is not Status.COMPLETED:
        raise RunFailed(
            f"{printable(describe_end(record))} See `voxloom logs {run.id}`.", details=record.model_dump(mode="json")
        )
    return record


def _say_why_it_waits(update: Update, view: View) -> None:
    from voxloom.client import StatusUpdate

    waiting = update.record.waiting if isinstance(update, StatusUpdate) else None
    if waiting is not None and waiting.reason != "starting":
        view.say(f"It waits for {waits_for(waiting)}.")


def _interrupt(run: Run, view: View) -> None:
    from voxloom.errors import Conflict, Unavailable

    try:
        run.stop()
        view.say(f"Asked the server to stop run {run.id}.")
    except Conflict:
        view.say(f"Run {run.id} had ended already.")
    except Unavailable as error:
        view.say(f"Run {run.id} could not be stopped: {error.message} Then `voxloom stop {run.id}`.")


def status(
    ctx: typer.Context,
    run_id: RunId,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands."""
    with connect(ctx) as client:
        record = find_run(client, run_id).record()
    if as_json:
        show(record)
        return
    for name, value in facts_of(record):
        typer.echo(f"{name:<10}  {printable(value)}")


def facts_of(record: ExecutionRecord) -> list[tuple[str, str]]:
    """What people want to know of a run, by name; what is not known is left out."""
    version = ".".join(one for one in (record.algorithm_major_version, record.algorithm_minor_version) if one)
    error = record.error
    facts = [
        ("run", record.execution_id),
        ("algorithm", f"{record.algorithm_name or record.algorithm_id} {version}".strip()),
        ("status", str(record.status)),
        ("progress", "" if str(record.status) == "FAILED" else f"{record.progress:.0%}"),
        ("device", record.resolved_execution_device or ""),
        ("waits for", waits_for(record.waiting)),
        ("submitted", record.time_submitted),
        ("started", record.time_started or ""),
        ("completed", record.time_completed),
        ("took", "" if record.run_seconds is None else f"{record.run_seconds:.3g} s"),
        ("error", "" if error is None else f"{error.type}: {error.message}"),
        ("kept", "yes" if record.kept else ""),
        ("expires", record.expires_at or ""),
        *(("output", one) for one in record.output_dataset_ids),
    ]
    return [(name, value) for name, value in facts if value]


_WAITS = {
    "no_device": "a worker with a device that it wants: none is there",
    "worker_away": "a worker that is not heard from",
    "starting": "its start: a slot is free",
    "others_first": "a free slot",
    "project_limit": "another run of its project to end: the project may have no more at once",
}


def waits_for(waiting: Waiting | None) -> str:
    """What a run waits for, in words; nothing of one that does not wait."""
    if waiting is None:
        return ""
    what = _WAITS[waiting.reason]
    if waiting.reason not in ("others_first", "project_limit"):
        return what
    return f"{what}; {waiting.ahead} {'run comes' if waiting.ahead == 1 else 'runs come'} first"


def logs(
    ctx: typer.Context,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run has said."""
    with connect(ctx) as client:
        found = find_run(client, run_id)
        write = _write_lines if as_json else _write
        if follow:
            _follow_log(found, write)
        else:
            write(found.log())


def _follow_log(run: Run, write: Callable[[str], None]) -> None:
    from voxloom.client import LogUpdate

    for update in run.watch():
        if isinstance(update, LogUpdate):
            write(update.text)


def _write(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def _write_lines(text: str) -> None:
    from voxloom.cli.answers import Line

    for line in text.splitlines():
        show_line(Line(line=line))


def stop(ctx: typer.Context, run_id: RunId, as_json: AsJson = False) -> None:
    """Stop a run."""
    with connect(ctx) as client:
        found = find_run(client, run_id)
        said = found.stop()
    if as_json:
        from voxloom.cli.answers import Done

        show(Done(what=found.id, said=said))
        return
    typer.echo(f"Asked the server to stop run {found.id}.")
