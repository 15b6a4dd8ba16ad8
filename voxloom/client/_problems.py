"""Answers of the server and failures of the connection, as Voxloom's own errors and models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from voxloom.errors import (
    AuditUnavailable,
    BusUnavailable,
    Conflict,
    ControlUnavailable,
    Damaged,
    InvalidInput,
    NotAllowed,
    NotFound,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    UndeclaredParameter,
    VoxloomError,
)
from voxloom.models import Problem

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_BY_CODE: dict[str, type[VoxloomError]] = {
    "algorithm_not_removable": Conflict,
    "audit_unavailable": AuditUnavailable,
    "bus_unavailable": BusUnavailable,
    "control_unavailable": ControlUnavailable,
    "execution_not_stoppable": Conflict,
    "object_damaged": Damaged,
    "storage_full": StoreFull,
    "store_unavailable": StoreUnavailable,
    "training_not_stoppable": Conflict,
}
_BY_STATUS: dict[int, type[VoxloomError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: InvalidInput,
    422: InvalidInput,
    429: TooMany,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: StoreFull,
}


def read_problem(response: httpx.Response) -> Problem:
    """The problem that an error response carries, or one made up from its status (a proxy's answer, say)."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        said = f"{response.status_code} {response.reason_phrase}".strip()
        return Problem(
            title=response.reason_phrase,
            status=response.status_code,
            detail=f"{bare_url(response.request.url)} answered {said}; check that a Voxloom server runs there.",
            code=f"http_{response.status_code}",
        )


def error_of(problem: Problem) -> VoxloomError:
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, VoxloomError)
    return kind(problem.detail, code=problem.code, http_status=problem.status, details=problem.details)


def checked(response: httpx.Response) -> httpx.Response:
    """The response itself; raises the error that it tells of. An error's body must have been read."""
    if response.is_success:
        return response
    raise error_of(read_problem(response))


def should_come_back(response: httpx.Response) -> bool:
    """Whether the server says that it cannot now, and soon may."""
    return response.status_code == 503 and read_problem(response).retryable


def failure_of(error: httpx.HTTPError, server: str) -> VoxloomError:
    """What a failed exchange means to the caller; `server` is its address as people may see it."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unavailable(
            f"No Voxloom server answers at {server}. Start one with `voxloom up`, or set VOXLOOM_URL.",
            code="no_server",
        )
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(
            f"The server at {server} did not answer in time; it may still do what was asked. Look with `voxloom ls`.",
            code="timeout",
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return InvalidInput(f"The request to {server} cannot be sent: {error}. Check the address and the token.")
    return Unavailable(
        f"The connection to {server} broke: {str(error) or type(error).__name__}. Try again.", code="connection_lost"
    )


def parse(model: type[M], response: httpx.Response) -> M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_understood(model.__name__, response) from error


def parse_list(model: type[T], response: httpx.Response) -> list[T]:
    adapter: TypeAdapter[list[T]] = TypeAdapter(list[model])  # type: ignore[valid-type]  # a type made at run time
    try:
        return adapter.validate_json(response.content)
    except ValidationError as error:
        raise _not_understood(f"list of {model.__name__}", response) from error


def _not_understood(expected: str, response: httpx.Response) -> VoxloomError:
    return VoxloomError(
        f"{bare_url(response.request.url)} answered with something that is no {expected}; "
        "check that server and client are of matching versions.",
        code="answer_not_understood",
    )


def bare_url(url: httpx.URL) -> str:
    """Without user, token and query."""
    return str(url.copy_with(username="", password="", query=None, fragment=None))


def plain(value: Any) -> Any:
    """For `json.dumps(default=)`: numpy's numbers and arrays as numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def warn(said: Sequence[str], *, above: int) -> None:
    """What the server finds odd in a request that it has taken, as Python's warnings; so many calls above is the
    caller's line."""
    for text in said:
        warnings.warn(text, UndeclaredParameter, stacklevel=above + 1)
