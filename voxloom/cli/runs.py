"""`voxloom run`, `status`, `logs`, `stop`: executions from the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.session import connect, find_run
from voxloom.cli.text import printable

if TYPE_CHECKING:
    from voxloom.cli.follow import View
    from voxloom.client import Run
    from voxloom.models import AlgorithmRecord, ExecutionRecord

INTERRUPTED = 130

RunId = Annotated[str, typer.Argument(help="The run's id, or the beginning of it.", metavar="ID", show_default=False)]


def run(
    ctx: typer.Context,
    algorithm: Annotated[str, typer.Argument(help="NAME, NAME:MAJOR, NAME:MAJOR.MINOR or an id.", show_default=False)],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Inputs: .h5, .npy or .tif.", show_default=False)
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A .h5, .npy or .tif file for the output, or a folder.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or mps in place of the algorithm's default.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The dataset to take from .h5 inputs.")] = None,
) -> None:
    """Run an algorithm on files, show how it goes, and save what comes out.

    A volume for an Image2... algorithm is sent slice by slice, and the outputs are stacked again. Ctrl-C stops the run.
    """
    from voxloom.cli.follow import open_view
    from voxloom.cli.saving import check_destination, parts_of, save_outputs
    from voxloom.cli.values import parse_parameters
    from voxloom.client._selector import parse_selector

    if out is not None:
        check_destination(out)
    with connect(ctx) as client, open_view() as view:
        record = client.find(algorithm)
        minor = parse_selector(algorithm).minor
        parameters = parse_parameters(parameter or [], record.additional_parameters)
        check_request(record, minor, parameters)
        started = client.submit(
            record,
            files,
            parameters,
            minor=minor,
            device=device,
            dataset=dataset,
            progress=lambda done, total: view.moved("uploading", done, total),
        )
        ended = _follow(started, view)
        if out is not None:
            parts = parts_of(ended.output_dataset_ids, started.counts, files)
            saved = save_outputs(client, parts, out, lambda done, total: view.moved("saving", done, total))
    for one in ended.output_dataset_ids if out is None else saved:
        typer.echo(printable(str(one)))


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


def _follow(run: Run, view: View) -> ExecutionRecord:
    """The record of the run once it is COMPLETED. Ctrl-C stops it on the server. Raises RunFailed."""
    from voxloom.client._outputs import describe_end
    from voxloom.errors import RunFailed
    from voxloom.models import Status

    try:
        for update in run.watch():
            view.take(update)
        record = run.wait()
    except KeyboardInterrupt:
        _interrupt(run, view)
        raise typer.Exit(INTERRUPTED) from None
    if record.status is not Status.COMPLETED:
        raise RunFailed(f"{printable(describe_end(record))} See `voxloom logs {run.id}`.")
    return record


def _interrupt(run: Run, view: View) -> None:
    from voxloom.errors import Conflict

    try:
        run.stop()
        view.say(f"Asked the server to stop run {run.id}.")
    except Conflict:
        view.say(f"Run {run.id} had ended already.")


def status(
    ctx: typer.Context,
    run_id: RunId,
    as_json: Annotated[bool, typer.Option("--json", help="The whole record as JSON.")] = False,
) -> None:
    """Show how a run stands."""
    with connect(ctx) as client:
        record = find_run(client, run_id).record()
    if as_json:
        typer.echo(record.model_dump_json(indent=2))
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
        ("progress", f"{record.progress:.0%}"),
        ("device", record.resolved_execution_device or ""),
        ("started", record.time_started),
        ("completed", record.time_completed),
        ("took", "" if record.run_seconds is None else f"{record.run_seconds:.3g} s"),
        ("error", "" if error is None else f"{error.type}: {error.message}"),
        *(("output", one) for one in record.output_dataset_ids),
    ]
    return [(name, value) for name, value in facts if value]


def logs(
    ctx: typer.Context,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
) -> None:
    """Show what a run has said."""
    with connect(ctx) as client:
        found = find_run(client, run_id)
        if follow:
            _follow_log(found)
        else:
            _write(found.log())


def _follow_log(run: Run) -> None:
    from voxloom.client import LogUpdate

    for update in run.watch():
        if isinstance(update, LogUpdate):
            _write(update.text)


def _write(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def stop(ctx: typer.Context, run_id: RunId) -> None:
    """Stop a run."""
    with connect(ctx) as client:
        found = find_run(client, run_id)
        found.stop()
    typer.echo(f"Asked the server to stop run {found.id}.")
