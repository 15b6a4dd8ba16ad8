"""Benchmarks: have an algorithm measure itself, and read what it has found."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.payloads import json_bytes, read_query
from services.gateway.http.routing import Route
from services.gateway.operations.logs import shown_log
from services.gateway.operations.runs import ask_for, ask_to_stop, find_run
from services.gateway.operations.work import benchmark_of
from services.gateway.routes.executions import RecordQuery
from voxloom.models import BenchmarkRecord, BenchmarkRequest, BenchmarkResponse, ResponseMessage


async def benchmark(request: web.Request) -> web.Response:
    asked = await ask_for(request, BenchmarkRequest, benchmark_of, "benchmark-algorithm")
    return asked.answer(BenchmarkResponse, "benchmark_id")


async def get(request: web.Request) -> web.Response:
    context = context_of(request)
    query = read_query(request, RecordQuery)
    run = await find_run(request, "benchmark")
    if query.wait and not run.state.ended:
        await context.view.wait_until_ended(run, query.wait)
    heard = context.heard_of(run, await shown_log(context, run))
    return json_bytes(context.shown.json(run.state, heard, as_v0=request.path.startswith("/api/v0/")))


async def stop(request: web.Request) -> web.Response:
    return await ask_to_stop(context_of(request), await find_run(request, "benchmark"))


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
        },
        body=BenchmarkRequest,
        headers=(IDEMPOTENCY_KEY,),
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
    ),
]
