"""Everything that can go wrong, as one tree.

    VoxloomError
    ├── InvalidInput           what was sent cannot be used as it is            422 (or 400)
    ├── NotFound               there is no such thing                           404
    ├── NotAllowed             it exists, but not for this caller or this way   403
    ├── Unauthenticated        who asks has not proven who they are            401
    ├── Conflict               it clashes with the state of things              409 (or 400)
    ├── TooLarge               over a stated limit                              413
    ├── TooMany                there are so many already; later there is room   429
    ├── Unavailable            a part we stand on does not answer; try again    503
    │   ├── BusUnavailable
    │   │   └── BusFull        its disk is full                                507
    │   ├── StoreUnavailable
    │   │   └── StoreFull      its disk, or the store, is full                 507
    │   ├── ControlUnavailable nobody can say now who may do what
    │   └── AuditUnavailable   what is about to be changed cannot be written down
    ├── Damaged                bytes are not those that were stored             500
    ├── Misconfigured          a setting or the machine is not as it must be    exit code 2
    └── RunFailed              a run ended FAILED or was STOPPED                (client side)

Every error has a stable `code`, a message that says what to do next, and `details` for programs. Adapters
translate foreign exceptions into this tree where they meet them; nothing else catches those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_THEIR_NAMES = {"code": "DEFAULT_CODE", "http_status": "DEFAULT_HTTP_STATUS", "retryable": "DEFAULT_RETRYABLE"}


class UndeclaredParameter(UserWarning):
    """A parameter was sent that the algorithm does not declare: misspelt, perhaps."""


class VoxloomError(Exception):
    """The root. `code` is for programs and never changes, `message` a sentence for people, `cause` what led to it."""

    code: str = "error"
    http_status: int = 500
    retryable: bool = False

    # What those three are called where authors derive from Compox's exceptions.
    DEFAULT_CODE = code
    DEFAULT_HTTP_STATUS = http_status
    DEFAULT_RETRYABLE = retryable

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, theirs in _THEIR_NAMES.items():
            if theirs in vars(cls):
                setattr(cls, name, getattr(cls, theirs))
            else:
                setattr(cls, theirs, getattr(cls, name))

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.http_status = http_status or type(self).http_status
        self.details: dict[str, Any] = dict(details or {})
        self.retryable = type(self).retryable if retryable is None else retryable
        self.cause = cause

    def to_response_body(self) -> dict[str, Any]:
        """What an HTTP answer says of it."""
        body: dict[str, Any] = {"detail": self.message, "code": self.code, "retryable": self.retryable}
        return {**body, "details": self.details} if self.details else body


class InvalidInput(VoxloomError, ValueError):
    code = "invalid_input"
    http_status = 422


class NotFound(VoxloomError):
    code = "not_found"
    http_status = 404


class NotAllowed(VoxloomError):
    code = "not_allowed"
    http_status = 403


class Unauthenticated(VoxloomError):
    code = "unauthenticated"
    http_status = 401


class Conflict(VoxloomError):
    code = "conflict"
    http_status = 409


class TooLarge(VoxloomError):
    code = "too_large"
    http_status = 413


class TooMany(VoxloomError):
    code = "too_many"
    http_status = 429
    retryable = True


class Unavailable(VoxloomError):
    code = "unavailable"
    http_status = 503
    retryable = True


class BusUnavailable(Unavailable):
    code = "bus_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class BusFull(BusUnavailable):
    code = "storage_full"
    http_status = 507


class StoreFull(StoreUnavailable):
    code = "storage_full"
    http_status = 507


class ControlUnavailable(Unavailable):
    """Where that is not known, nobody is let in."""

    code = "control_unavailable"


class AuditUnavailable(Unavailable):
    """What must be in the audit before it is done is not done."""

    code = "audit_unavailable"


class Damaged(VoxloomError):
    """Bytes do not have the digest that was written down when they were stored: trying again does not help."""

    code = "object_damaged"


class Misconfigured(VoxloomError):
    code = "misconfigured"


class RunFailed(VoxloomError):
    """A run did not complete; `details` has the run's id, status and error."""

    code = "run_failed"
