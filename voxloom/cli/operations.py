"""`voxloom queues`, `workers`, `dead`: what goes on behind the scenes, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect
from voxloom.cli.text import columns, printable, show_table
from voxloom.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from voxloom.client import Client
    from voxloom.models import DeadLetterRecord, DeadLetterSummary, QueueFigures, Replayed, WorkerRecord

AT_ONCE = 1000
"""The most dead letters that a server tells of."""

LetterId = Annotated[str, typer.Argument(help="The dead letter's id.", metavar="ID", show_default=False)]


def queues(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show how many events wait in each queue, how fast it moves, and how old the oldest is."""
    with connect(ctx) as client:
        report = client.queues()
    if as_json:
        show(report)
        return
    heads = ("QUEUE", "WAITING", "OLDEST", "IN/S", "OUT/S", "CONSUMERS", "DEAD", "PARKED")
    show_table(heads, [_queue_row(one) for one in report.items], flexible="QUEUE")
    if report.dead or report.parked:
        typer.echo(f"\nDead letters: {report.dead}, parked: {report.parked}; `voxloom dead list` shows them.")


def _queue_row(one: QueueFigures) -> tuple[str, ...]:
    return (
        one.name,
        str(one.waiting),
        _age(one.oldest_seconds, at_least=one.oldest_at_least),
        _rate(one.in_per_second),
        _rate(one.out_per_second),
        str(one.consumers),
        str(one.dead or ""),
        str(one.parked or ""),
    )


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1f}"


def _age(seconds: float | None, *, at_least: bool = False) -> str:
    """`4.2 s`, `3 min`, `2.5 h`; with `>` where it is older than that."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{'> ' if at_least else ''}{seconds / size:.3g} {unit}"
    return f"{'> ' if at_least else ''}{seconds:.1f} s"


def workers(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the workers, and what each of them does."""
    with connect(ctx) as client:
        known = client.workers()
    if as_json:
        show(known)
        return
    if not known:
        typer.echo("No worker has been heard of. Start one with `voxloom up` or `voxloom serve worker`.")
        return
    heads = ("WORKER", "STATE", "HEARD", "DEVICES", "FREE", "HOST", "RUN", "ALGORITHM", "SINCE (UTC)")
    show_table(heads, [row for one in known for row in _worker_rows(one)], flexible="RUN")


def _worker_rows(one: WorkerRecord) -> Iterator[tuple[str, ...]]:
    """A row for each of its runs, and one where there is none; of the worker itself only the first says something."""
    state = f"{one.state} ({one.reason})" if one.reason else one.state
    heard = "" if one.heartbeat_seconds is None else f"{_age(one.heartbeat_seconds)} ago"
    devices = ", ".join(f"{lane.slots} × {lane.device}" for lane in one.lanes)
    host = f"{one.host}, {one.pid}" if one.host else ""
    about: tuple[str, ...] = (one.worker_id, state, heard, devices, str(one.free_slots), host)
    for run in one.runs:
        name = f"{run.algorithm_name} {run.algorithm_version}".strip()
        attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
        yield *about, run.execution_id + attempt, name, run.since[:19].replace("T", " ")
        about = ("",) * len(about)
    if not one.runs:
        yield *about, "", "", ""


dead = typer.Typer(no_args_is_help=True, help="Look at messages that nobody could handle, and give them back.")


@dead.command("list")
def list_dead(
    ctx: typer.Context,
    number: Annotated[int, typer.Option("-n", min=1, max=AT_ONCE, help="How many to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show messages that nobody could handle, the oldest first."""
    with connect(ctx) as client:
        page = client.dead_letters(limit=number)
    if as_json:
        show(page)
        return
    if not page.items:
        typer.echo("There are no dead letters.")
        return
    show_table(("ID", "QUEUE", "SINCE (UTC)", "EVENT", "REASON"), list(_letter_rows(page.items)), flexible="REASON")
    if page.more:
        typer.echo(f"There are more than {len(page.items)}; -n {AT_ONCE} shows as many as there can be.")


def _letter_rows(letters: Iterable[DeadLetterSummary]) -> Iterator[tuple[str, ...]]:
    for one in letters:
        event = f"{one.type or '?'} {one.subject}".strip()
        reason = f"parked: {one.reason}" if one.parked else one.reason
        yield one.dead_letter_id, one.queue, one.time[:19].replace("T", " "), event, _one_line(reason)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@dead.command("show")
def show_dead(ctx: typer.Context, letter: LetterId, as_json: AsJson = False) -> None:
    """Show one, with its headers and what is in it."""
    with connect(ctx) as client:
        record = client.dead_letter(letter)
    if as_json:
        show(record)
        return
    for line in columns([(name, printable(value)) for name, value in _facts_of(record)]):
        typer.echo(line)
    typer.echo()
    body = json.dumps(record.data, indent=2, ensure_ascii=False) if record.text is None else record.text
    typer.echo(printable(body))


def _facts_of(record: DeadLetterRecord) -> list[tuple[str, str]]:
    return [
        ("dead letter", record.dead_letter_id),
        ("queue", record.queue),
        ("since", record.time),
        ("reason", _one_line(record.reason)),
        ("parked", "yes: upgrade, then replay it" if record.parked else "no"),
        *(("routing key", key) for key in record.routing_keys),
        *((name, str(value)) for name, value in record.headers.items()),
        ("body", f"{record.body_bytes} bytes" if record.text is None else f"{record.body_bytes} bytes, not JSON"),
    ]


@dead.command("replay")
def replay_dead(
    ctx: typer.Context,
    letters: Annotated[
        list[str] | None, typer.Argument(help="The dead letters' ids.", metavar="ID", show_default=False)
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All that there are, the oldest {AT_ONCE} at a time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give dead letters back to the queues they came from, as new."""
    if bool(letters) == everything:
        raise InvalidInput("Name the dead letters to replay by their ids, or all of them with --all.")
    with connect(ctx) as client:
        done, more = _replay_named(client, letters) if letters else _replay_all(client)
    if as_json:
        show(done)
    elif done.replayed or not letters:
        _tell(done.replayed)
    if letters and done.not_found and not as_json:
        raise NotFound(
            f"There is no dead letter {', '.join(map(repr, done.not_found))} with a queue to go back to, or not any "
            "more; `voxloom dead list` shows which there are.",
            code="dead_letter_not_found",
        )
    if done.not_found:
        typer.echo(
            f"{len(done.not_found)} could not be: somebody else replayed them, or their queue is gone.", err=True
        )
    if more:
        typer.echo("There are more; do it again.", err=True)
    if letters and done.not_found:  # As JSON, which ones they are is told already.
        raise typer.Exit(1)


def _replay_named(client: Client, letters: list[str]) -> tuple[Replayed, bool]:
    return client.replay_many(letters), False


def _replay_all(client: Client) -> tuple[Replayed, bool]:
    """Each that is there now, once: one that dies again has to be replayed again. Whether there are more."""
    page = client.dead_letters(limit=AT_ONCE)
    return client.replay_many(one.dead_letter_id for one in page.items), page.more


def _tell(count: int) -> None:
    typer.echo(f"Replayed {count} {'dead letter' if count == 1 else 'dead letters'}.")
