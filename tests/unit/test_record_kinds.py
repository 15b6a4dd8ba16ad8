"""Every kind of record that the table names is heard, kept and read back; who forgets a part of one is told which."""

from __future__ import annotations

from typing import Any

import pytest

from messages.wire import EVENTS
from services.system import expiries
from shared.bus.topology import RECORDER
from shared.objects.base import COLLECTIONS
from shared.records.kinds import RecordKind
from shared.records.registry import KINDS, RecordStates
from tests.given import Given

EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@EVERY
def test_the_recorder_hears_of_it(kind: RecordKind[Any]) -> None:
    assert f"{kind.name}.#" in RECORDER.bindings
    assert [one for one in EVENTS.values() if one.entity == kind.name and not one.event.transient]


@EVERY
def test_stores_have_a_collection_for_it(kind: RecordKind[Any]) -> None:
    assert kind.collection in COLLECTIONS


@EVERY
def test_snapshots_have_a_field_for_it(kind: RecordKind[Any]) -> None:
    assert RecordStates.model_fields[kind.field].annotation == list[kind.state]  # type: ignore[name-defined]
    assert RecordStates().of(kind) == []


def test_what_is_kept_of_a_deploy_goes_when_the_setting_says() -> None:
    assert expiries(Given(deploy_expire_days=3.5))["deploy-store"] == 3.5


def test_every_collection_is_told_how_long_it_keeps_what_expires() -> None:
    assert set(expiries(Given())) == set(COLLECTIONS)
