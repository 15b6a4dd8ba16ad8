"""What a gateway asks for again when the broker has lost its disk."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import pytest

from messages.base import Event
from messages.deploys import DeployCompleted, DeployRequested, DeployStarted
from messages.gateways import GatewayFoundLoss
from messages.runs import RunRequested, RunStopRequested
from services.gateway.operations import recovery
from services.gateway.operations.recovery import ask_again, asked_for
from services.gateway.views.catalog import Catalog
from services.gateway.views.runs import LiveView
from shared.records import deploys
from shared.records.fold import RunState, fold
from shared.records.store import RecordStore
from tests.unit.gateway_samples import assigned, completed, requested, started, work
from tests.unit.memory_platform import MemoryStore, NotingBus
from voxloom.errors import BusUnavailable

STOP = RunStopRequested(subject="a")
TRAINING = RunRequested(task="training", subject="a", work=work(task="training"))


def folded(events: Iterable[Event]) -> RunState:
    state = reduce(fold, events, None)
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ([requested("a")], ["execution.requested"]),
        ([requested("a"), assigned("a"), started("a")], ["execution.requested"]),
        ([requested("a"), STOP], ["execution.requested", "execution.stop-requested"]),
        ([TRAINING], ["training.requested"]),
        ([STOP], []),
        ([started("a")], []),
        ([requested("a"), completed("a")], []),
    ],
)
def test_what_is_asked_for_again(heard: list[Event], said: list[str]) -> None:
    assert [event.kind.name for event in asked_for(folded(heard))] == said


def test_asking_again_changes_nothing_of_what_is_known() -> None:
    state = folded([requested("a", second=5), STOP, assigned("a")])
    assert reduce(fold, asked_for(state), state) == state


@pytest.fixture
def records() -> RecordStore:
    return RecordStore(MemoryStore())


@pytest.fixture
def view(records: RecordStore) -> LiveView:
    return LiveView(records, Catalog())


DEPLOY = DeployRequested(subject="d", source_key="k", path="p")
DEPLOYED = DeployCompleted(
    subject="d", algorithm_id="a", algorithm_name="n", algorithm_major_version="1", algorithm_minor_version="0",
    changed=True,
)  # fmt: skip


async def test_all_is_asked_for_before_the_loss_is_told_however_often_the_bus_refuses(
    view: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more runs than are asked for in one go, a deploy, and a bus that refuses the second and the fourth time
    monkeypatch.setattr(recovery, "PAUSE_SECS", 0.0)
    runs = [requested() for _ in range(recovery.AT_ONCE + 1)]
    for event in (*runs, DEPLOY):
        view.apply(0, event)
    bus = NotingBus()
    answers = iter([True, False, True, False])

    def refuse(_events: object) -> None:
        if not next(answers, True):
            raise BusUnavailable("not now")

    bus.refuse = refuse
    await ask_again(bus, "g", view)
    assert {event.subject for event in bus.published[:-1]} == {"d", *(run.subject for run in runs)}
    assert isinstance(bus.published[-1], GatewayFoundLoss)


async def test_a_deploy_is_asked_for_as_it_was(view: LiveView) -> None:
    bus = NotingBus()
    view.apply(1, DEPLOY)
    view.apply(2, DeployStarted(subject="d"))
    await ask_again(bus, "g", view)
    assert bus.published[0] == DEPLOY


@pytest.mark.parametrize("kept", [[DEPLOY, DEPLOYED], [DEPLOYED, DEPLOY]])
async def test_a_deploy_whose_end_was_missed_is_not_asked_for(
    view: LiveView, records: RecordStore, kept: list[Event]
) -> None:
    bus = NotingBus()
    view.apply(1, DEPLOY)
    state = reduce(deploys.fold_deploy, kept, None)
    assert state is not None
    await records.save(deploys.DEPLOY, [state])
    await ask_again(bus, "g", view)
    assert [event.kind.name for event in bus.published] == ["gateway.found-loss"]


async def test_a_run_whose_end_was_missed_is_known_to_have_ended(view: LiveView, records: RecordStore) -> None:
    # Given a run that goes on as far as the view has heard, and has ended as the records say
    view.apply(1, requested("a"))
    await records.save_runs([folded([requested("a"), completed("a")])])
    found = await view.find("a")
    assert found is not None
    with view.watch(found) as watcher:
        # When it is looked up
        state = await view.look("a")
    # Then nobody asks for it again, and who watches it is told
    assert state is not None
    assert asked_for(state) == []
    assert view.unfinished_runs() == []
    assert [status.ended for _, status in watcher.statuses] == [True]
