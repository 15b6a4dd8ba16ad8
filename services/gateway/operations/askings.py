"""What a message from outside asks for. Nothing of it is believed: each of these is a decision, without effects."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from messages.base import EARLIEST, LATEST
from messages.outside import ASKED, ExecutionAsked
from messages.wire import PREFIX
from services.gateway.http.payloads import check_names, parse_json, read_values
from shared.bus.outside import TOLD, Asking
from shared.validation import refused
from voxloom.errors import Conflict, InvalidInput, NotAllowed, TooLarge, VoxloomError
from voxloom.ids import age_of
from voxloom.models import ExecutionRequest, RunError

ENTITY, VERB = "execution", "requested"
OLDEST_SECS = 24 * 3600.0
"""How long ago a run's id may have been made when it is asked for."""
AHEAD_SECS = 60.0
"""How much the clock of whoever asks may be ahead."""
MOST_DELIVERIES = 20
"""Handed out so often and never settled, a message is the reason."""
LONGEST_MESSAGE = 4000
"""Characters of what a rejection says."""
LARGEST_DETAILS = 16 << 10
"""Bytes of its details; larger ones are left out."""
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_JSON = "application/json"
_WAYS = ("CC", "BCC")
"""Headers by which a message reaches others than its key says."""
_PASSED_ON = (TOLD, "x-death")
"""Headers of what nobody has sent here: what is said outside, or what was in a queue that passes on its dead. Whoever
may bind or declare so can bring it here, and if an answer to it were told, that would come here, too, without end."""
_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class Place(NamedTuple):
    """What the key of a message says."""

    project: str
    subject: str
    exact: bool
    """Whether it is the key of a request."""


def place_of(key: str) -> Place | None:
    """None: it names no project, so there is nobody who could be told."""
    words = key.split(".", 3)
    if len(words) < 3 or not _PROJECT.fullmatch(words[2]):
        return None
    subject = words[3] if len(words) == 4 else ""
    known = _SUBJECT.fullmatch(subject) is not None
    return Place(words[2], subject if known else "", known and words[:2] == [ENTITY, VERB])


def is_passed_on(asking: Asking) -> bool:
    """Whether nobody has sent it here."""
    return any(one in asking.headers for one in _PASSED_ON)


def check(asking: Asking, place: Place, now: float) -> None:
    """Raises InvalidInput, Conflict where it is not for this place, or not one of a run that can be."""
    _check_way(asking, place)
    _check_attributes(asking.headers, place)
    _check_run(place.subject, now)
    _check_form(asking)
    if asking.deliveries >= MOST_DELIVERIES:
        raise Conflict(
            f"The message was handed out {asking.deliveries} times, and each time whoever had it broke off. "
            "Send it again, as another one; if that goes on, tell whoever runs the server.",
            code="message_given_up",
            retryable=True,
        )


def _check_way(asking: Asking, place: Place) -> None:
    if not place.exact:
        raise _misaddressed(f"its routing key is not {ENTITY}.{VERB}.PROJECT.ID, but {asking.key[:200]!r}")
    for way in _WAYS:
        if way in asking.headers:
            raise _misaddressed(f"it has the header {way}, and may have no other key than one")


def _check_attributes(headers: Mapping[str, Any], place: Place) -> None:
    """They may be left out, but must not say anything else than the key."""
    said = {"type": ASKED, "subject": place.subject, "project": place.project, "specversion": "1.0"}
    for name, meant in said.items():
        given = headers.get(PREFIX + name, meant)
        if given != meant:
            raise _misaddressed(f"the header {PREFIX}{name} says {str(given)[:100]!r}, and its key {meant!r}")
    if (time := headers.get(f"{PREFIX}time")) is not None:
        _check_time(time)


def _check_time(given: Any) -> None:
    try:
        time = _TIME.validate_python(given)
    except ValidationError:
        raise refused([{"loc": [f"{PREFIX}time"], "msg": "must be a time with its zone (RFC 3339)"}]) from None
    if not EARLIEST <= time <= LATEST:
        raise refused([{"loc": [f"{PREFIX}time"], "msg": "must be within the years 1970 to 9998"}])


def _check_run(subject: str, now: float) -> None:
    age = age_of(subject)
    if age is None or str(uuid.UUID(subject)) != subject:
        raise _unusable("it must be a UUID of version 1 in small letters (in Python: uuid.uuid1())")
    age = age_of(subject, now=now)
    if age is None or not -AHEAD_SECS <= age <= OLDEST_SECS:
        raise _unusable("it must have been made within the last 24 hours; look at the clock, and make a new one")


def _check_form(asking: Asking) -> None:
    kind = (asking.content_type or _JSON).partition(";")[0].strip().lower()
    if kind != _JSON:
        raise InvalidInput(
            f"The message has the content type {kind[:100]!r}; send {_JSON}.",
            code="unsupported_media_type",
            http_status=415,
        )
    if (asking.content_encoding or "identity").strip().lower() not in ("identity", "utf-8", ""):
        raise InvalidInput(
            f"A message with the content encoding {(asking.content_encoding or '')[:40]!r} is not taken; send it as "
            "it is.",
            code="unsupported_content_encoding",
            http_status=415,
        )


def read(asking: Asking, most_bytes: int) -> ExecutionAsked:
    """What is asked for. Raises TooLarge, InvalidInput (`request_validation_error`)."""
    if len(asking.body) > most_bytes:
        raise TooLarge(f"The body has {len(asking.body)} bytes; {most_bytes} are allowed.")
    data = parse_json(asking.body)
    if not isinstance(data, dict):
        raise refused([{"loc": [], "msg": "must be a JSON object"}])
    check_names(data, ExecutionAsked.model_fields)
    asked = read_values(data, ExecutionAsked)
    _check_algorithm(asked)
    return asked


def _check_algorithm(asked: ExecutionAsked) -> None:
    named = asked.algorithm_name is not None, asked.algorithm_major_version is not None
    if named not in ((False, False), (True, True)) or any(named) == (asked.algorithm_id is not None):
        said = "say either this, or algorithm_name and algorithm_major_version"
        raise refused([{"loc": ["algorithm_id"], "msg": said}])


def pinned(asked: ExecutionAsked, algorithm_id: str) -> ExecutionRequest:
    """As REST knows it."""
    said = asked.model_dump(exclude={"algorithm_id", "algorithm_name", "algorithm_major_version"})
    return ExecutionRequest(algorithm_id=algorithm_id, **said)


def said_of(error: VoxloomError) -> RunError:
    """An error as a rejection says it: never so large that it could not be sent."""
    return RunError(
        type=type(error).__name__,
        message=error.message[:LONGEST_MESSAGE],
        code=error.code,
        retryable=error.retryable,
        details=_told(error.details),
    )


def _told(details: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        size = len(orjson.dumps(details))
    except (TypeError, ValueError):  # nothing that JSON can say
        return None
    return dict(details) if details and size <= LARGEST_DETAILS else None


def not_open_to(project: str, only: str) -> NotAllowed:
    return NotAllowed(
        f"This server asks nobody who they are, so all is done in the project {only!r}; there is no {project[:100]!r}.",
        code="project_not_allowed",
    )


def _misaddressed(why: str) -> InvalidInput:
    return InvalidInput(f"The message is not taken: {why}.", code="message_misaddressed")


def _unusable(why: str) -> InvalidInput:
    return InvalidInput(
        f"The id of the run, the last word of the routing key, cannot be used: {why}.", code="execution_id_unusable"
    )
