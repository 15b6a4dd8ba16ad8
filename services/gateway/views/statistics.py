"""Counts, rates and durations of runs, from the rows that the catalog has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from services.gateway.views.catalog import Catalog, EndedRow
from voxloom.models import AlgorithmStats, ServerStats, Status, WorkerRecord, utc_now

MOST_ALGORITHMS = 50


def stats_of(catalog: Catalog, workers: Iterable[WorkerRecord], hours: float) -> ServerStats:
    since = utc_now() - timedelta(hours=hours)
    ended = catalog.ended_since(since)
    outcomes = Counter(row.status for row in ended)
    seconds = sorted(row.seconds for row in ended if row.status is Status.COMPLETED)
    live = [worker for worker in workers if worker.state == "live"]
    return ServerStats(
        hours=hours,
        runs=dict(catalog.count()),
        submitted=catalog.submitted_since(since),
        ended=len(ended),
        completed=outcomes[Status.COMPLETED],
        failed=outcomes[Status.FAILED],
        stopped=outcomes[Status.STOPPED],
        ended_per_minute=len(ended) / (hours * 60),
        seconds_median=quantile(seconds, 0.5) if seconds else None,
        seconds_p95=quantile(seconds, 0.95) if seconds else None,
        algorithms=_by_algorithm(ended),
        workers=len(live),
        slots=sum(lane.slots for worker in live for lane in worker.lanes),
        busy=sum(lane.busy for worker in live for lane in worker.lanes),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _by_algorithm(ended: Iterable[EndedRow]) -> list[AlgorithmStats]:
    rows: defaultdict[tuple[str, str], list[EndedRow]] = defaultdict(list)
    for row in ended:
        rows[row.algorithm, row.major].append(row)
    most = sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_ALGORITHMS]
    return [_of_algorithm(name, major, some) for (name, major), some in most]


def _of_algorithm(name: str, major: str, rows: Sequence[EndedRow]) -> AlgorithmStats:
    return AlgorithmStats(
        algorithm_name=name,
        algorithm_major_version=major,
        ended=len(rows),
        failed=sum(row.status is Status.FAILED for row in rows),
        seconds_median=quantile(sorted(row.seconds for row in rows), 0.5),
    )
