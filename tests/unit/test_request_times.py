"""What the gateway counts of requests, beside what Prometheus' own counters say of the same."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from services.gateway.http.request_times import BOUNDS, RequestTimes

SEEN = [
    ("GET", "/a", 200, 0.0),
    ("GET", "/a", 200, 0.001),
    ("GET", "/a", 404, 0.0011),
    ("POST", "/a", 200, 63.9),
    ("GET", "/b", 499, 1000.0),
]


def by_the_library() -> str:
    registry = CollectorRegistry()
    requests = Counter(
        "voxloom_http_requests",
        "Requests answered, by route and status.",
        ("method", "route", "status"),
        registry=registry,
    )
    seconds = Histogram(
        "voxloom_http_request_seconds",
        "From the request's headers to the end of the answer.",
        ("method", "route"),
        buckets=BOUNDS,
        registry=registry,
    )
    for method, route, status, took in SEEN:
        requests.labels(method, route, str(status)).inc()
        seconds.labels(method, route).observe(took)
    return generate_latest(registry).decode()


def ours(times: RequestTimes) -> str:
    registry = CollectorRegistry()
    registry.register(times)
    return generate_latest(registry).decode()


def without_moments(text: str) -> str:
    """When a number began to be counted is another moment each time."""
    return re.sub(r"(?m)^(\w+_created\{.*\}) .*$", r"\1", text)


def test_the_text_is_that_of_prometheus_own_counters() -> None:
    times = RequestTimes()
    for one in SEEN:
        times.observe(*one)
    assert without_moments(ours(times)) == without_moments(by_the_library())


def test_nothing_is_said_of_what_nobody_has_asked_for() -> None:
    assert "route=" not in ours(RequestTimes())
