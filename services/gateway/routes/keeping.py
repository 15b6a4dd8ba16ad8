"""What people keep does not expire, until they let it go."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.payloads import json_answer
from services.gateway.http.routing import Route
from services.gateway.operations import keeping
from services.gateway.routes.files import named_file
from services.gateway.routes.run_requests import run_of
from voxloom.keepmodels import KeepRecord


async def keep_file(request: web.Request) -> web.Response:
    """A file that is kept does not expire. To delete it is still possible. Keeping it twice is the same as once. If it
    has expired before, the answer is 404, and nothing is kept.
    """
    return json_answer(await keeping.keep_file(context_of(request), caller_of(request), await named_file(request)))


async def release_file(request: web.Request) -> web.Response:
    """`expires_at` says when it may go. It stays if a sample uses it, or if the run that made it is kept: then `kept`
    is still true. In the embedded store, its time begins anew. In S3, it counts from the upload: an old file can go
    within a day.
    """
    return json_answer(await keeping.release_file(context_of(request), caller_of(request), await named_file(request)))


async def keep_execution(request: web.Request) -> web.Response:
    """Its record, its log and those of its outputs that are still there do not expire. To delete them is still
    possible. 409 `execution_not_ended`: keep it when it has ended.
    """
    return await _keep_run(request, "execution")


async def release_execution(request: web.Request) -> web.Response:
    """The record, the log and the outputs expire again. An output that is kept by itself stays."""
    return await _release_run(request, "execution")


async def keep_training(request: web.Request) -> web.Response:
    """Its record and its log do not expire; its checkpoints never do. 409 `training_not_ended`: keep it when it has
    ended.
    """
    return await _keep_run(request, "training")


async def release_training(request: web.Request) -> web.Response:
    """The record and the log expire again."""
    return await _release_run(request, "training")


Kind = Literal["execution", "training"]


async def _keep_run(request: web.Request, task: Kind) -> web.Response:
    run = await run_of(request, task)
    return json_answer(await keeping.keep_run(context_of(request), caller_of(request), run))


async def _release_run(request: web.Request, task: Kind) -> web.Response:
    run = await run_of(request, task)
    return json_answer(await keeping.release_run(context_of(request), caller_of(request), run))


def _runs(task: Kind) -> list[Route]:
    path, missing = f"/api/v1/{task}s/{{{task}_id}}/keep", (f"{task}_record_not_found",)
    keep, release = (keep_execution, release_execution) if task == "execution" else (keep_training, release_training)
    tag, an = f"{task.capitalize()}s", "an" if task == "execution" else "a"
    not_ended = {404: missing, 409: (f"{task}_not_ended",)}
    return [
        Route("PUT", path, keep, f"Keep {an} {task} from expiring", tag, {200: KeepRecord}, not_ended, needs="run"),
        Route(
            "DELETE",
            path,
            release,
            f"Let {an} {task} expire again",
            tag,
            {200: KeepRecord},
            {404: missing},
            needs="run",
        ),
    ]


_FILE = "/api/v1/files/{name}/keep"
_NO_FILE = {404: ("file_not_found",)}
ROUTES = [
    Route(
        "PUT",
        _FILE,
        keep_file,
        "Keep a file from expiring",
        "Files",
        {200: KeepRecord},
        {**_NO_FILE, 409: ("file_being_deleted",)},
        needs="run",
    ),
    Route("DELETE", _FILE, release_file, "Let a file expire again", "Files", {200: KeepRecord}, _NO_FILE, needs="run"),
    *_runs("execution"),
    *_runs("training"),
]
