"""fold: order and repetition of a run's events change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.base import Event
from messages.deploys import DeployCompleted, DeployFailed, DeployRequested, DeployStarted
from messages.runs import (
    AlgorithmPin,
    Result,
    RunAssigned,
    RunCompleted,
    RunFailed,
    RunRequested,
    RunRequeued,
    RunStarted,
    RunStopped,
    RunStopRequested,
    Work,
)
from messages.trainings import TrainingCheckpointDropped, TrainingCheckpointSaved
from shared.records.deploys import DeployState, deploy_record, fold_deploy
from shared.records.fold import RunState, fold
from shared.records.view import Heard, execution_record, training_record
from tests.unit.training_samples import checkpoint_of
from voxloom.models import DeployStatus, RunError, Status

RUN = "run-1"
START = datetime(2026, 1, 1, tzinfo=UTC)
WORK = Work(
    algorithm=AlgorithmPin(algorithm_id="a", name="noop", major="1", minor="0", module="m", assets="s"),
    input_dataset_ids=["in"],
    parameters={"sigma": 1},
    args={"sigma": 1, "mode": "fast"},
    devices=["cpu"],
    session_token="token",
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def requested() -> Event:
    return RunRequested(subject=RUN, time=at(0), work=WORK)


def assigned(attempt: int, epoch: int = 1) -> Event:
    return RunAssigned(
        subject=RUN, time=at(attempt), attempt=attempt, epoch=epoch, worker_id=f"w{attempt}",
        incarnation=f"i{attempt}", device_class="cpu", work=WORK, lost=attempt - 1,
    )  # fmt: skip


def started(attempt: int, epoch: int = 1) -> Event:
    return RunStarted(
        subject=RUN, time=at(attempt + 0.5), attempt=attempt, epoch=epoch, worker_id=f"w{attempt}",
        incarnation=f"i{attempt}", device_class="cpu", device="cpu", lost=attempt - 1,
    )  # fmt: skip


def requeued(attempt: int, epoch: int = 1) -> Event:
    return RunRequeued(
        subject=RUN, time=at(attempt + 0.7), attempt=attempt, epoch=epoch, incarnation=f"i{attempt}",
        lost=attempt, reason="gone",
    )  # fmt: skip


def ended(kind: type[Event], attempt: int, epoch: int = 1, **result: object) -> Event:
    return kind.model_validate(
        {
            "subject": RUN, "time": at(attempt + 0.9), "attempt": attempt, "epoch": epoch,
            "incarnation": f"i{attempt}", "worker_id": f"w{attempt}", "result": Result.model_validate(result),
        }
    )  # fmt: skip


def folded(*events: Event) -> RunState:
    state = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    return state


HISTORIES = {
    "completed at once": [requested(), assigned(1), started(1), ended(RunCompleted, 1, outputs=["out"])],
    "over before its begin was said": [requested(), assigned(1), ended(RunCompleted, 1, began=at(1.25))],
    "lost, then completed by a later scheduler": [
        requested(), assigned(1), started(1), requeued(1), assigned(2, 2), started(2, 2),
        ended(RunCompleted, 2, 2, outputs=["out"]),
    ],
    "stopped while it waited": [
        requested(), RunStopRequested(subject=RUN, time=at(1)), RunStopRequested(subject=RUN, time=at(2)),
        ended(RunStopped, 0),
    ],
    "two schedulers end it": [
        requested(), assigned(1), ended(RunFailed, 1, 1), assigned(1, 2), ended(RunStopped, 1, 2),
    ],
    "still running": [requested(), assigned(1), started(1), requeued(1), assigned(2), started(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
@given(data=st.data())
def test_any_order_and_any_repetition_folds_to_the_same_state(name: str, data: st.DataObject) -> None:
    # Given a run's events, some of them more than once, in any order
    history = HISTORIES[name]
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=6))
    shuffled = data.draw(st.permutations(history + repeated))
    # When they are folded, then the state is the one of the plain history
    assert folded(*shuffled) == folded(*history)


@given(st.lists(st.sampled_from([event for history in HISTORIES.values() for event in history]), min_size=1), st.data())
def test_even_contradicting_events_fold_alike_in_any_order(events: list[Event], data: st.DataObject) -> None:
    assert folded(*data.draw(st.permutations(events))) == folded(*events)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([requested()], Status.PENDING),
        ([requested(), assigned(1)], Status.STARTED),
        ([requested(), assigned(1), started(1)], Status.RUNNING),
        ([requested(), assigned(1), started(1), requeued(1)], Status.PENDING),
        ([requested(), assigned(1), started(1), requeued(1), assigned(2)], Status.STARTED),
        (HISTORIES["completed at once"], Status.COMPLETED),
        ([*HISTORIES["completed at once"], assigned(2, 2)], Status.COMPLETED),
        (HISTORIES["two schedulers end it"], Status.STOPPED),
    ],
)
def test_the_status_follows_the_highest_rank(events: list[Event], status: Status) -> None:
    assert folded(*events).status is status


def test_a_record_before_the_end_has_the_values_that_clients_expect() -> None:
    record = execution_record(folded(requested()))
    assert (record.time_completed, record.log, record.output_dataset_ids, record.progress) == ("", "", [], 0.0)


def test_a_record_shows_the_parameters_as_sent_and_the_filled_ones_apart() -> None:
    record = execution_record(folded(requested()))
    assert (record.additional_parameters, record.resolved_parameters) == ({"sigma": 1}, {"sigma": 1, "mode": "fast"})


def test_a_failed_record_has_progress_one_and_no_outputs() -> None:
    error = RunError(type="ValueError", message="no", code="algorithm_error")
    state = folded(requested(), ended(RunFailed, 1, error=error, outputs=["x"], progress=0.4))
    record = execution_record(state)
    assert (record.progress, record.output_dataset_ids, record.error) == (1.0, [], error)


def test_a_stopped_record_keeps_the_highest_progress_heard() -> None:
    state = folded(requested(), ended(RunStopped, 1, progress=0.4))
    assert execution_record(state, Heard(progress=0.5)).progress == 0.5


def deploy_history() -> list[Event]:
    error = RunError(type="X", message="bad", code="c")
    done = {"algorithm_id": "a", "algorithm_name": "n", "algorithm_major_version": "1", "algorithm_minor_version": "0"}
    return [
        DeployRequested(subject="d", time=at(0), source_key="k", path="p.zip"),
        DeployStarted(subject="d", time=at(1)),
        DeployStarted(subject="d", time=at(2)),
        DeployFailed(subject="d", time=at(3), error=error),
        DeployCompleted.model_validate({"subject": "d", "time": at(4), "changed": True, **done}),
        DeployCompleted.model_validate({"subject": "d", "time": at(5), "changed": False, **done}),
    ]


@given(st.permutations(deploy_history()))
def test_a_deploy_that_succeeded_once_is_completed_whatever_the_order(events: list[Event]) -> None:
    state: DeployState | None = None
    for event in events:
        state = fold_deploy(state, event)
    assert state is not None
    record = deploy_record(state)
    assert (record.time_completed, record.error) == ("2026-01-01T00:00:04.000000+00:00", None)
    assert state.status is DeployStatus.COMPLETED


def saved(name: str, seconds: float) -> Event:
    checkpoint = checkpoint_of({}, checkpoint_id=name, created_at=at(seconds))
    return TrainingCheckpointSaved(subject=RUN, time=at(seconds), checkpoint=checkpoint)


TRAINING = [
    RunRequested(task="training", subject=RUN, time=at(0), work=WORK.model_copy(update={"task": "training"})),
    RunStarted(
        task="training",
        subject=RUN,
        time=at(1),
        attempt=1,
        epoch=1,
        worker_id="w",
        incarnation="i",
        device_class="cpu",
        device="cpu",
    ),
    saved("b", 2),
    saved("a", 3),
    saved("c", 4),
    TrainingCheckpointDropped(subject=RUN, time=at(5), checkpoint_id="a"),
    RunCompleted(task="training", subject=RUN, time=at(6), attempt=1, epoch=1, result=Result(state={"loss": 1})),
]


@given(st.permutations([*TRAINING, *TRAINING[2:6]]))
def test_checkpoints_of_a_training_are_the_same_in_whatever_order_they_are_told(events: list[Event]) -> None:
    state: RunState | None = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    record = training_record(state)
    assert (record.status, record.output_checkpoint_ids, record.state) == ("COMPLETED", ["b", "c"], {"loss": 1})


@pytest.mark.parametrize("seconds", [(1, 2), (2, 1)])
def test_the_first_request_to_stop_is_the_one_that_counts(seconds: tuple[int, int]) -> None:
    stops = [RunStopRequested(subject=RUN, time=at(second)) for second in seconds]
    assert folded(requested(), *stops).stop_requested == at(1)


def test_a_requeue_comes_after_the_start_of_its_attempt_whatever_their_ids() -> None:
    start, requeue = (event.model_copy(update={"id": name}) for event, name in [(started(1), "z"), (requeued(1), "a")])
    assert folded(requested(), requeue, start).status is Status.PENDING


def test_the_time_in_the_queue_goes_from_the_request_to_the_first_line_of_the_authors_code() -> None:
    assert execution_record(folded(requested(), assigned(1), started(1))).queue_seconds == 1.5


def test_of_a_short_run_its_end_says_when_it_began() -> None:
    record = execution_record(folded(*HISTORIES["over before its begin was said"]))
    assert (record.time_started, record.queue_seconds) == ("2026-01-01T00:00:01.250000+00:00", 1.25)
