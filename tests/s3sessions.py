"""Sessions and clients of botocore that begin quickly: each session would look at the signatures of some hundred
functions of its own, and each client would make the same few hundred objects of the rules for endpoints."""

from __future__ import annotations

import copy
from typing import Any

import botocore.endpoint_provider
from botocore.session import Session

from shared.objects.cloud import descriptions

_RULES = botocore.endpoint_provider.RuleSet
_KNOWN: dict[tuple[int, int], tuple[object, object, Any]] = {}
"""By rules and partitions, which are kept with what was made of them: nobody changes it."""
_USUAL = Session._register_builtin_handlers
_FIRST: dict[type, Any] = {}
"""What the first session of a kind has registered."""


def install() -> None:
    Session._register_builtin_handlers = _register
    botocore.endpoint_provider.RuleSet = _rule_set


def described(session: Any) -> Any:
    """The session, which shares what the process has read of S3."""
    descriptions.share(session)
    return session


def _rule_set(*, rules: object, partitions: object, **more: Any) -> Any:
    key = id(rules), id(partitions)
    if key not in _KNOWN:
        _KNOWN[key] = rules, partitions, _RULES(rules=rules, partitions=partitions, **more)
    return _KNOWN[key][2]


def _register(session: Any, events: Any) -> None:
    kind = type(session._original_handler)
    if kind not in _FIRST:
        _USUAL(session, events)
        _FIRST[kind] = copy.copy(session._original_handler)
    session._original_handler.__dict__.update(copy.copy(_FIRST[kind]).__dict__)
