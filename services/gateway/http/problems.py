"""Every error as one kind of body: RFC 9457, with `code`, `retryable` and `details` beside it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from shared.room import refusals
from voxloom.errors import BusFull, Damaged, StoreFull, TooLarge, VoxloomError
from voxloom.ids import new_id
from voxloom.models import Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECS = 1
TOO_MANY_AFTER_SECS = 5
"""The same where others have to end first."""
CLIENT_GONE = 499
"""What requests count as whose client left before the end; nginx has made it known."""

log = logging.getLogger("voxloom.gateway")


class NoHttpNoise(logging.Filter):
    """Leaves out what aiohttp says of bytes that are no HTTP: the sender was told, and anybody can send them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def answer_to(request: web.Request, error: Exception) -> web.StreamResponse:
    """What a handler has raised as a problem, unless its answer is on the way already."""
    match error:
        case VoxloomError():
            if isinstance(error, StoreFull | BusFull):
                refusals.note(f"{request.method} {request.path[:200]!r}", error)
            return _broken_off(request, error) or problem_of(error)
        case web.HTTPRequestEntityTooLarge():
            return problem_of(TooLarge(f"The body is too large ({error.text}); send less at once."))
        case web.HTTPException():
            return _of_http(request, error)
        case ConnectionError() if request.transport is None or request.transport.is_closing():
            return web.Response(status=CLIENT_GONE)  # Nobody will read it.
        case _:
            return _broken_off(request, error) or _internal(request, error)


def problem_of(error: VoxloomError) -> web.Response:
    if error.http_status >= 500 and not error.retryable and not isinstance(error, Damaged):
        return _internal(None, error)
    return problem(error.http_status, error.code, error.message, retryable=error.retryable, details=error.details)


def problem(
    status: int, code: str, detail: str, *, retryable: bool = False, details: dict[str, Any] | None = None
) -> web.Response:
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        retryable=retryable,
        details=details or None,
    )
    after = TOO_MANY_AFTER_SECS if status == HTTPStatus.TOO_MANY_REQUESTS else RETRY_AFTER_SECS
    headers = {"Retry-After": str(after)} if retryable else None
    data = orjson.dumps(body.model_dump(mode="json", exclude_none=True))
    return web.Response(status=status, body=data, content_type=CONTENT_TYPE, headers=headers)


def _of_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """What the router has said: no such path, or not with this method."""
    if error.status < 400:
        return error
    path, allowed = request.path[:200], error.headers.get("Allow", "other methods")
    said = {
        404: f"There is no {path!r} here; /docs shows what there is.",
        405: f"{request.method} is not for {path!r}; it takes {allowed}.",
    }
    answer = problem(error.status, f"http_{error.status}", said.get(error.status, error.reason))
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def internal_error(error: Exception, where: str, log: logging.Logger) -> VoxloomError:
    """Says nothing of what it was but an id, which is in the log."""
    error_id = new_id()
    log.error("internal error %s in %s", error_id, where, exc_info=error)
    return VoxloomError(
        f"Something went wrong in the server. Its log says more under the id {error_id}.",
        code="internal_error",
        details={"error_id": error_id},
    )


def _internal(request: web.Request | None, error: Exception) -> web.Response:
    where = f"{request.method} {request.path[:200]!r}" if request is not None else "a request"
    told = internal_error(error, where, log)
    return problem(500, told.code, told.message, details=told.details)


def _broken_off(request: web.Request, error: Exception) -> web.Response | None:
    """An answer that has begun cannot become a problem: the connection is cut, so that the client notices."""
    if request.writer.output_size == 0:
        return None
    log.error("the answer to %s %r broke off", request.method, request.path[:200], exc_info=error)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
