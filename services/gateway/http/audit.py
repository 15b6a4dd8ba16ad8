"""Which requests the audit of a closed server has, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol

import orjson
from aiohttp import web

from services.gateway.http.callers import Need, known_caller
from services.gateway.http.cors import SAFE_METHODS
from services.gateway.http.problems import CLIENT_GONE, CONTENT_TYPE
from shared.audit.counts import Counts, What
from shared.audit.doing import CURRENT, Doing
from shared.audit.log import AuditLog
from shared.caller import Caller
from voxloom.models import Outcome

REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
NOTHING_YET = frozenset({"no_algorithms_found", "samples_not_found", "checkpoints_not_found"})
_VERBS = {"GET": "read", "HEAD": "read", "POST": "create", "PUT": "set", "PATCH": "set", "DELETE": "delete"}
LOGIN = "login"
_NAMES = {
    ("POST", "/api/v1/login"): LOGIN,
    ("POST", "/api/v1/algorithms"): "algorithm.deploy",
    ("POST", "/api/v0/deploy/local"): "algorithm.deploy",
    ("POST", "/api/v0/deploy/local-async"): "algorithm.deploy",
    ("DELETE", "/api/v1/tokens/{token_id}"): "token.revoke",
    ("DELETE", "/api/v0/execute-algorithm/all"): "execution.delete",
    ("DELETE", "/api/v0/execute-algorithm/{execution_id}"): "execution.delete",
    ("POST", "/api/v0/execute-algorithm"): "execution.create",
    ("POST", "/api/v0/train-algorithm"): "training.create",
    ("POST", "/api/v0/benchmark-algorithm"): "benchmark.create",
}
"""What does not follow from method and path."""
_WORDS = frozenset({"stop", "continue", "export", "replay", "revoke", "upload-url", "download-url"})
"""The last word of a path that says what is done, and not to what."""


def action_of(method: str, path: str) -> str:
    """`file.delete`, from the path as the router knows it."""
    if (named := _NAMES.get((method, path))) is not None:
        return named
    words = [word for word in path.split("/") if word and not word.startswith("{")]
    words = [word for word in words if word not in ("api", "v0", "v1", "all")] or ["server"]
    verb = _VERBS.get(method, method.lower())
    if words[-1] == "keep" and len(words) > 1:
        return f"{_singular(words[-2])}.{'release' if method == 'DELETE' else 'keep'}"
    if len(words) > 1 and words[-1] in _WORDS:
        verb = words.pop()
    return f"{_singular(words[-1])}.{verb}"


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "stats", "status")) else word


def is_kept(method: str, need: Need | None, action: str = "") -> bool:
    """Whether such a request is an entry when it was done: what takes away, what puts algorithms in, what concerns the
    server and who may do what. Runs, uploads and samples say themselves who has asked for them."""
    if method in SAFE_METHODS:
        return False
    return method == "DELETE" or need in ("deploy", "admin", "identity") or action.endswith(".keep")


class Ended(NamedTuple):
    """How a request ended."""

    status: int
    code: str | None = None

    @property
    def outcome(self) -> Outcome:
        if self.status == CLIENT_GONE:
            return "begun"  # It may be done by now, or not.
        if self.status < HTTPStatus.BAD_REQUEST:
            return "done"
        return "refused" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"


def is_counted(ended: Ended) -> bool:
    """Whether it is one of the refusals that are counted together: not where there is no such path, or a list of v0 is
    empty."""
    code = ended.code
    return ended.status in REFUSED and (code is None or not (code.startswith("http_") or code in NOTHING_YET))


class RoleOf(Protocol):
    def __call__(self, project: str, principal: str) -> object | None:
        """What somebody is in a project; None: no member."""


class Auditor:
    """Notes what requests have come to. Of a closed server."""

    def __init__(self, log: AuditLog, role_of: RoleOf) -> None:
        self.log = log
        self._role_of = role_of
        self.counts = Counts(log.note)
        log.on_flush = self.counts.roll

    def begin(self, request: web.Request) -> Doing:
        """What `doing` tells of from now on."""
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else ""
        told = Doing(self.log, action_of(request.method, path), address=address_of(request))
        told.subject = _subject(request.match_info)
        told.changes = request.match_info.get("project_id")
        CURRENT.set(told)
        return told

    def end(self, told: Doing, request: web.Request, need: Need | None, ended: Ended) -> None:
        CURRENT.set(None)
        caller = known_caller(request)
        note_caller(told, caller)
        if told.begun:
            told.end(ended.outcome, ended.code)
        elif is_counted(ended) or (told.action == LOGIN and ended.outcome == "refused"):
            self.counts.add(_refusal(told, ended))
        elif is_kept(request.method, need, told.action) and caller is not None:
            if ended.outcome != "refused":
                told.end(ended.outcome, ended.code)
        elif need == "read" and ended.outcome in ("done", "begun") and caller is not None and self._is_foreign(caller):
            self.counts.add(_read(told))

    def _is_foreign(self, caller: Caller) -> bool:
        """An admin in a project that they are no member of."""
        return "admin" in caller.rights and self._role_of(caller.project, caller.principal) is None


def note_caller(told: Doing, caller: Caller | None) -> None:
    """Who it is, once that is known."""
    if caller is not None and not told.begun:
        told.actor, told.token_id, told.project = caller.principal, caller.token, caller.project


def _refusal(told: Doing, ended: Ended) -> What:
    """By principal, else by address; of a login also as whom."""
    if told.action == LOGIN:
        return What(LOGIN, "refused", told.project, address=told.address, code=ended.code, subject=told.subject)
    address = "" if told.actor is not None else told.address
    return What("request", "refused", told.project, told.actor, told.token_id, address, ended.code)


def _read(told: Doing) -> What:
    facts = told.project, told.actor, told.token_id, told.address
    return What(told.action, "done", *facts, subject=told.subject[:200])


def _subject(names: Mapping[str, str]) -> str:
    """What the path names: `anna`, or `lab1/anna`."""
    return "/".join(names.values())


def address_of(request: web.Request) -> str:
    """Of the machine at the other end of the connection, whatever headers say."""
    return (request.remote or "")[:60]


def ended_with(response: web.StreamResponse) -> Ended:
    code = None
    if isinstance(response, web.Response) and response.content_type == CONTENT_TYPE:
        body = response.body
        code = orjson.loads(body).get("code") if isinstance(body, bytes) else None
    return Ended(response.status, code)
