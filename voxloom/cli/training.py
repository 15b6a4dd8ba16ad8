"""`voxloom train` and `voxloom checkpoints`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.interrupts import INTERRUPTED, Interrupts
from voxloom.cli.json_output import AsJson, show, show_line
from voxloom.cli.session import connect
from voxloom.cli.text import printable, tell

if TYPE_CHECKING:
    from voxloom.cli.follow import View
    from voxloom.client import Client, Training
    from voxloom.models import TrainingRecord

LOOK_SECS = 0.5


def train(
    ctx: typer.Context,
    algorithm: Annotated[str, typer.Argument(help="NAME, NAME:MAJOR or an id.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d", "--data", metavar="KEY=FILE", help="What to learn from: .h5, .npy or .tif; may be repeated."
        ),
    ] = None,
    sample: Annotated[
        list[str] | None, typer.Option("-s", "--sample", metavar="ID", help="A sample that is there already.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="ID", help="A checkpoint to begin with.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For the training and its checkpoints.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train an algorithm on files or samples, show how it goes, and print the ids of its checkpoints.

    All files given with -d make one sample; a stack is sent image by image. Ctrl-C stops the training; what it has
    saved stays.
    """
    from voxloom.cli.follow import open_view
    from voxloom.cli.values import parse_parameters
    from voxloom.errors import InvalidInput

    entry = _entry_of(data or [])
    if not entry and not sample:
        raise InvalidInput("Say what to learn from: files with -d KEY=FILE, or samples with -s ID.")
    with connect(ctx) as client, open_view() as view, Interrupts() as interrupts:
        record = client.find(algorithm)
        parameters = parse_parameters(parameter or [], record.training_parameters)
        samples = [*(sample or []), *_made(client, entry, view)]
        interrupts.hold()
        started = client.train(record, samples, parameters, checkpoint=checkpoint, tags=tag or [])
        view.began(f"{record.algorithm_name} {record.algorithm_version}, training {started.id}")
        ended = _follow(started, view, interrupts)
    if as_json:
        show(ended)
    else:
        tell(ended.output_checkpoint_ids)


def _entry_of(data: list[str]) -> dict[str, list[Path]]:
    from voxloom.errors import InvalidInput

    entry: dict[str, list[Path]] = {}
    for one in data:
        key, mark, file = one.partition("=")
        if not mark or not key or not file:
            raise InvalidInput(f"{one!r} is not KEY=FILE, as in image=cells.tif.")
        entry.setdefault(key, []).append(Path(file))
    return entry


def _made(client: Client, entry: dict[str, list[Path]], view: View) -> list[str]:
    if not entry:
        return []
    return [client.sample([entry], progress=lambda done, total: view.moved("uploading", done, total))]


def _follow(training: Training, view: View, interrupts: Interrupts) -> TrainingRecord:
    """The record once it is COMPLETED. Ctrl-C stops it on the server. Raises RunFailed."""
    from voxloom.client._outputs import describe_end
    from voxloom.errors import RunFailed
    from voxloom.models import Status

    try:
        interrupts.let_go()
        record = _watch(training, view)
    except KeyboardInterrupt:
        _interrupt(training, view)
        raise typer.Exit(INTERRUPTED) from None
    if record.status is not Status.COMPLETED:
        raise RunFailed(
            f"{printable(describe_end(record))} {record.log or ''}".strip(), details=record.model_dump(mode="json")
        )
    return record


def _watch(training: Training, view: View) -> TrainingRecord:
    """Tells what is new every half second."""
    from voxloom.client import LogUpdate, ProgressUpdate

    status, logged = None, 0
    while True:
        record = training.record()
        log = record.log or ""
        if len(log) > logged:
            view.take(LogUpdate(record.attempt, log[logged:]))
            logged = len(log)
        if record.progress and not record.status.terminal:
            view.take(ProgressUpdate(record.attempt, record.progress))
        if record.status is not status:
            status = record.status
            view.stands(status)
        if record.status.terminal:
            return record
        _wait_a_little(training)


def _wait_a_little(training: Training) -> None:
    import contextlib

    with contextlib.suppress(TimeoutError):
        training.wait(LOOK_SECS)


def _interrupt(training: Training, view: View) -> None:
    from voxloom.errors import Conflict, Unavailable

    try:
        training.stop()
        view.say(f"Asked the server to stop training {training.id}; what it has saved stays.")
    except Conflict:
        view.say(f"Training {training.id} had ended already.")
    except Unavailable as error:
        view.say(f"Training {training.id} could not be stopped: {error.message}")


def checkpoints(
    ctx: typer.Context,
    as_json: AsJson = False,
) -> None:
    """List the checkpoints that trainings have saved, the newest last."""
    with connect(ctx) as client:
        found = client.checkpoints()
    for one in found:
        if as_json:
            show_line(one)
        else:
            properties = " ".join(f"{name}={value}" for name, value in one.properties.items())
            name = f"{one.algorithm_name} {one.algorithm_major_version}.{one.algorithm_minor_version}"
            typer.echo(printable(f"{one.checkpoint_id}  {one.created_at[:19]}  {name}  {properties}").rstrip())
