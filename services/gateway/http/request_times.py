"""How many requests there were, and how long each took, in Prometheus' terms.

The library's own counters take a lock for each number, and a histogram searches its bounds in Python, for every answer.
All requests are answered on one loop, so plain numbers will do until somebody asks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

BOUNDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_NAMES = [*map(str, BOUNDS), "+Inf"]


@dataclass(slots=True)
class _Times:
    """Of one method, route and status. `counts`: how many took up to each bound, and longer than the one before."""

    counts: list[int] = field(default_factory=lambda: [0] * len(_NAMES))
    seconds: float = 0.0
    created: float = field(default_factory=time.time)


class RequestTimes(Collector):
    def __init__(self) -> None:
        self._times: dict[tuple[str, str, int], _Times] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        times = self._times.get((method, route, status))
        if times is None:
            times = self._times[method, route, status] = _Times()
        times.counts[bisect_left(BOUNDS, seconds)] += 1
        times.seconds += seconds

    def collect(self) -> Iterable[Metric]:
        yield self._requests()
        yield self._histogram()

    def describe(self) -> Iterator[Metric]:
        yield CounterMetricFamily("voxloom_http_requests", "Requests answered, by route and status.")
        yield HistogramMetricFamily(
            "voxloom_http_request_seconds", "From the request's headers to the end of the answer."
        )

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "voxloom_http_requests",
            "Requests answered, by route and status.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), times in self._times.items():
            family.add_metric((method, route, str(status)), float(sum(times.counts)), created=times.created)
        return family

    def _histogram(self) -> Metric:
        family = HistogramMetricFamily(
            "voxloom_http_request_seconds",
            "From the request's headers to the end of the answer.",
            labels=("method", "route"),
        )
        for labels, times in self._of_routes().items():
            family.add_metric(labels, list(zip(_NAMES, accumulate(times.counts), strict=True)), times.seconds)
            family.samples.append(
                Sample(f"{family.name}_created", dict(zip(("method", "route"), labels, strict=True)), times.created)
            )
        return family

    def _of_routes(self) -> dict[tuple[str, str], _Times]:
        """Whatever the status."""
        found: dict[tuple[str, str], _Times] = {}
        for (method, route, _), times in self._times.items():
            known = found.setdefault((method, route), _Times(created=times.created))
            known.counts = [one + more for one, more in zip(known.counts, times.counts, strict=True)]
            known.seconds += times.seconds
            known.created = min(known.created, times.created)
        return found
