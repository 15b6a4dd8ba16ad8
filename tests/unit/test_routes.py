"""Which routes there must be. A route that is taken away, or goes by another path, fails here first."""

from __future__ import annotations

from services.gateway.app import ROUTES
from tests.each import each

PROMISED = """
GET / | GET /livez | GET /readyz | GET /metrics | GET /openapi.json | GET /docs
POST /api/v0/files | GET /api/v0/files/* | DELETE /api/v0/files/*
GET /api/v0/algorithm/all | GET /api/v0/algorithm/*/* | DELETE /api/v0/deploy/algorithm/*
POST /api/v0/deploy/local | POST /api/v0/deploy/local-async | GET /api/v0/deploy/* | GET /api/v0/algorithm/*/*/export
POST /api/v0/execute-algorithm | GET /api/v0/executions/* | POST /api/v0/executions/*/stop
GET /api/v0/execute-algorithm/all | DELETE /api/v0/execute-algorithm/all | DELETE /api/v0/execute-algorithm/*
POST /api/v1/algorithms | GET /api/v1/algorithms | GET /api/v1/algorithms/* | DELETE /api/v1/algorithms/*/*
GET /api/v1/deploys | GET /api/v1/deploys/*
POST /api/v1/executions | GET /api/v1/executions | GET /api/v1/executions/* | DELETE /api/v1/executions/*
POST /api/v1/executions/*/stop | GET /api/v1/executions/*/log | GET /api/v1/executions/*/events | GET /api/v1/events
GET /api/v1/queues | GET /api/v1/workers | GET /api/v1/dead-letters | GET /api/v1/dead-letters/*
POST /api/v1/dead-letters/*/replay | POST /api/v1/dead-letters/replay | GET /api/v1/stats
GET /api/v1/files | GET /api/v1/files/* | GET /api/v1/files/*/info | GET /api/v1/files/*/slice
GET /api/v1/files/*/upload-url | GET /api/v1/files/*/download-url | DELETE /api/v1/files/*
POST /api/v0/train-algorithm | GET /api/v0/training/* | POST /api/v0/training/*/stop
POST /api/v1/trainings | GET /api/v1/trainings | GET /api/v1/trainings/* | POST /api/v1/trainings/*/stop
POST /api/v1/trainings/*/continue | GET /api/v1/trainings/*/log | GET /api/v1/trainings/*/events
POST /api/v0/benchmark-algorithm | GET /api/v0/benchmarks/* | GET /api/v1/benchmarks/*
POST /api/v0/sample | GET /api/v0/sample/all | GET /api/v0/sample/* | DELETE /api/v0/sample/*
POST /api/v1/samples | GET /api/v1/samples | GET /api/v1/samples/* | DELETE /api/v1/samples/*
GET /api/v0/checkpoint/all | GET /api/v0/checkpoint/* | DELETE /api/v0/checkpoint/*
GET /api/v1/checkpoints | GET /api/v1/checkpoints/* | DELETE /api/v1/checkpoints/*
"""


def every(table: str) -> list[str]:
    return [one.strip() for one in table.replace("\n", "|").split("|") if one.strip()]


def served() -> set[str]:
    """Names of what varies in a path do not matter."""
    parts = ((route.method, route.path.split("/")) for route in ROUTES)
    return {f"{method} {'/'.join('*' if one.startswith('{') else one for one in path)}" for method, path in parts}


@each("route", every(PROMISED))
def test_a_promised_route_is_there(route: str) -> None:
    assert route in served()
