"""Trainings: ask for one, read its record, stop it, go on with it, list all."""

from __future__ import annotations

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.examples import Example
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.idempotency import key_of
from services.gateway.http.paging import Page, page_answer
from services.gateway.http.payloads import json_answer
from services.gateway.http.routing import Many, Route
from services.gateway.operations.inventory import Inventory
from services.gateway.operations.trainings import go_on_with
from services.gateway.routes.examples import TRAIN
from services.gateway.routes.executions import ListQuery, page_of_runs
from services.gateway.routes.run_requests import (
    LIMITED,
    RecordQuery,
    ask_for,
    asked_answer,
    delete_record,
    record_answer,
    run_of,
    stop_run,
    waited_record,
)
from shared.pinning import training_of
from voxloom.models import (
    ResponseMessage,
    TrainingRecord,
    TrainingRequest,
    TrainingResponse,
    TrainingSummary,
)


async def train(request: web.Request) -> web.Response:
    """The algorithm learns from the samples, and saves checkpoints."""
    asked = await ask_for(request, TrainingRequest, training_of, "train-algorithm")
    return asked_answer(asked, TrainingResponse, "training_id")


async def get_v0(request: web.Request) -> web.Response:
    """`output_checkpoint_ids` are there as soon as they are saved. `time_started` is when the training was submitted,
    and `waiting` is null, as for [executions](#get-apiv0executionsexecution_id).
    """
    return await record_answer(request, await run_of(request, "training"), as_v0=True)


async def get(request: web.Request) -> web.Response:
    """As [GET /api/v0/training/{training_id}](#get-apiv0trainingtraining_id), but with `time_started` and `waiting` as
    for [executions](#get-apiv1executionsexecution_id), and with `?wait=30`.
    """
    return await waited_record(request, "training")


async def stop(request: web.Request) -> web.Response:
    """A little later the training is STOPPED; the checkpoints that were saved stay. 400 `training_not_stoppable` once
    it has ended.
    """
    return await stop_run(request, "training")


async def go_on(request: web.Request) -> web.Response:
    """The new training is like the old one but begins with its newest checkpoint. 409 `training_not_ended` if the old
    one is still running.
    """
    run = await run_of(request, "training")
    asked = await go_on_with(Inventory(context_of(request), caller_of(request)), run, key_of(request))
    return asked_answer(asked, TrainingResponse, "training_id")


async def delete(request: web.Request) -> web.Response:
    """409 `training_not_ended` before its end."""
    await delete_record(request, "training")
    return json_answer(ResponseMessage(detail="Deleted training record"))


async def list_all(request: web.Request) -> web.Response:
    """In [pages](#lists), with the filters of executions."""
    page = page_of_runs(request, "training")
    rows = [(row.execution_id, row.model_dump(exclude={"execution_id", "task"})) for row in page.items]
    items = [TrainingSummary(training_id=run, **facts) for run, facts in rows]
    return page_answer(request, Page(items, page.next_cursor))


_NOT_FOUND = {404: ("training_record_not_found",)}
_MISSING = {
    404: (
        "input_samples_not_found",
        "sample_files_not_found",
        "algorithm_not_found",
        "minor_version_not_found",
        "checkpoint_not_found",
    ),
    422: ("idempotency_key_reused",),
}


def _post(path: str, *examples: Example) -> Route:
    return Route(
        "POST",
        path,
        train,
        "Train an algorithm on samples",
        "Trainings",
        {200: TrainingResponse},
        {**_MISSING, **LIMITED},
        body=TrainingRequest,
        headers=(IDEMPOTENCY_KEY,),
        examples=examples,
        needs="run",
    )


def _stop(path: str) -> Route:
    return Route(
        "POST",
        path,
        stop,
        "Ask a training to stop; the checkpoints that it has saved stay",
        "Trainings",
        {200: ResponseMessage},
        {**_NOT_FOUND, 400: ("training_not_stoppable",)},
        needs="run",
    )


ROUTES = [
    _post("/api/v0/train-algorithm", TRAIN),
    Route(
        "GET",
        "/api/v0/training/{training_id}",
        get_v0,
        "The record of a training as it is now, with the log so far",
        "Trainings",
        {200: TrainingRecord},
        _NOT_FOUND,
        needs="read",
    ),
    _stop("/api/v0/training/{training_id}/stop"),
    _post("/api/v1/trainings"),
    Route(
        "GET",
        "/api/v1/trainings",
        list_all,
        "List trainings, page by page",
        "Trainings",
        {200: Many(TrainingSummary)},
        query=ListQuery,
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/trainings/{training_id}",
        get,
        "The record of a training as it is now, with the log so far; or as soon as it has ended",
        "Trainings",
        {200: TrainingRecord},
        _NOT_FOUND,
        query=RecordQuery,
        needs="read",
    ),
    Route(
        "DELETE",
        "/api/v1/trainings/{training_id}",
        delete,
        "Delete the record of a training that has ended; its checkpoints stay",
        "Trainings",
        {200: ResponseMessage},
        {**_NOT_FOUND, 409: ("training_not_ended",)},
        needs="run",
    ),
    _stop("/api/v1/trainings/{training_id}/stop"),
    Route(
        "POST",
        "/api/v1/trainings/{training_id}/continue",
        go_on,
        "Go on with a training that has ended, from its newest checkpoint: a new training",
        "Trainings",
        {200: TrainingResponse},
        {
            404: (*_MISSING[404], *_NOT_FOUND[404]),
            409: ("training_not_ended", *LIMITED[409]),
            422: _MISSING[422],
            429: LIMITED[429],
        },
        headers=(IDEMPOTENCY_KEY,),
        needs="run",
    ),
]
