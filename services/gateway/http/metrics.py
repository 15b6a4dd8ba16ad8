"""What the gateway counts, in Prometheus' format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.gateway.http.request_times import RequestTimes
from shared.audit.log import AuditLog
from shared.room import Figures
from voxloom.models import QueueFigures, Status, WorkerState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Counted(Collector):
    """Messages from outside, as somebody else counts them."""

    def __init__(self, counted: Mapping[Any, int]) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "voxloom_outside_requests", "Messages from outside, by what has become of them.", labels=["outcome"]
        )
        for outcome, count in sorted(self._counted.items()):
            family.add_metric([outcome], count)
        yield family


class Metrics:
    """A registry of its own, so that several gateways can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = RequestTimes()
        self._registry.register(self.requests)
        self._runs = self._gauge("voxloom_runs", "Runs whose record is kept, by status.", "status")
        self._unfinished = self._gauge("voxloom_runs_unfinished", "Runs that have not ended.")
        self._waiting = self._gauge("voxloom_bus_queue_waiting", "Events that wait in a queue.", "queue")
        self._consumers = self._gauge("voxloom_bus_queue_consumers", "Consumers of a queue.", "queue")
        self._oldest = self._gauge(
            "voxloom_bus_queue_oldest_seconds", "Age of the oldest event that waits in a queue, at least.", "queue"
        )
        self._workers = self._gauge("voxloom_workers", "Workers by state.", "state")
        self._dead = self._gauge(
            "voxloom_bus_dead_letters",
            "Messages that nobody could handle (the embedded broker tells of 1000 at most).",
        )
        self._age = self._gauge(
            "voxloom_bus_queues_age_seconds",
            "Since the broker has last told how its queues are; grows while it is away.",
        )
        self._disk = {
            name: self._gauge(f"voxloom_disk_{name}", text)
            for name, text in (
                ("total_bytes", "Size of the disk of the data folder."),
                ("free_bytes", "What is free there."),
                ("low_water_bytes", "With less free, uploads, deploys and runs are refused."),
                ("reserve_bytes", "What is kept back so that deletes are possible on a full disk."),
                ("short", "Whether there is too little."),
            )
        }

    def watch_audit(self, log: AuditLog) -> None:
        self._gauge("voxloom_audit_waiting", "Entries of the audit that are not written yet.").set_function(
            lambda: log.waiting
        )
        self._gauge(
            "voxloom_audit_dropped", "Entries of the audit that were never written, since the start."
        ).set_function(lambda: log.dropped)

    def watch_outside(self, counted: Mapping[Any, int], is_there: Callable[[], bool]) -> None:
        self._registry.register(_Counted(counted))
        self._gauge(
            "voxloom_outside_up", "Whether the broker of those outside is there, and what they ask arrives."
        ).set_function(lambda: float(is_there()))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def render(
        self,
        runs: Mapping[Status, int],
        unfinished: int,
        queues: Iterable[QueueFigures],
        workers: Mapping[WorkerState, int],
        dead_letters: int,
        disk: Figures,
        queues_age: float = 0.0,
    ) -> bytes:
        for status, count in runs.items():
            self._runs.labels(status).set(count)
        self._unfinished.set(unfinished)
        self._waiting.clear()
        self._consumers.clear()
        self._oldest.clear()
        for queue in queues:
            self._waiting.labels(queue.name).set(queue.waiting)
            self._consumers.labels(queue.name).set(queue.consumers)
            self._oldest.labels(queue.name).set(queue.oldest_seconds or 0.0)
        for state, count in workers.items():
            self._workers.labels(state).set(count)
        self._dead.set(dead_letters)
        self._age.set(queues_age)
        for gauge, value in zip(self._disk.values(), disk, strict=True):
            gauge.set(value)
        return generate_latest(self._registry)
