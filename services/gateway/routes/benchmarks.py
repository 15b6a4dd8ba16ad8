"""Benchmarks: have an algorithm measure itself, and read what it has found."""

from __future__ import annotations

from aiohttp import web

from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.routing import Route
from services.gateway.routes import examples
from services.gateway.routes.run_requests import LIMITED, RecordQuery, ask_for, asked_answer, stop_run, waited_record
from shared.pinning import benchmark_of
from voxloom.models import BenchmarkRecord, BenchmarkRequest, BenchmarkResponse, ResponseMessage


async def benchmark(request: web.Request) -> web.Response:
    """The record has what it has found."""
    asked = await ask_for(request, BenchmarkRequest, benchmark_of, "benchmark-algorithm")
    return asked_answer(asked, BenchmarkResponse, "benchmark_id")


async def get(request: web.Request) -> web.Response:
    """`data` is there once `status` is COMPLETED. With `?wait=30` the answer comes when the benchmark has ended, or
    after 30 seconds. `/api/v0` shows `time_started` and `waiting` as for
    [executions](#get-apiv0executionsexecution_id).
    """
    return await waited_record(request, "benchmark", as_v0=request.path.startswith("/api/v0/"))


async def stop(request: web.Request) -> web.Response:
    """A little later it is STOPPED. 400 `benchmark_not_stoppable` once it has ended."""
    return await stop_run(request, "benchmark")


_NOT_FOUND = {404: ("benchmark_record_not_found",)}


def _get(path: str) -> Route:
    return Route(
        "GET",
        path,
        get,
        "The record of a benchmark, now or as soon as it has ended",
        "Benchmarks",
        {200: BenchmarkRecord},
        _NOT_FOUND,
        query=RecordQuery,
        needs="read",
    )


ROUTES = [
    Route(
        "POST",
        "/api/v0/benchmark-algorithm",
        benchmark,
        "Have an algorithm measure itself",
        "Benchmarks",
        {200: BenchmarkResponse},
        {
            404: ("algorithm_not_found", "minor_version_not_found", "checkpoint_not_found"),
            422: ("idempotency_key_reused",),
            **LIMITED,
        },
        body=BenchmarkRequest,
        headers=(IDEMPOTENCY_KEY,),
        examples=(examples.BENCHMARK,),
        needs="run",
    ),
    _get("/api/v0/benchmarks/{benchmark_id}"),
    _get("/api/v1/benchmarks/{benchmark_id}"),
    Route(
        "POST",
        "/api/v1/benchmarks/{benchmark_id}/stop",
        stop,
        "Ask a benchmark to stop",
        "Benchmarks",
        {200: ResponseMessage},
        {**_NOT_FOUND, 400: ("benchmark_not_stoppable",)},
        needs="run",
    ),
]
