"""Bugs in what decides and remembers: scheduler, recorder, fold."""

from __future__ import annotations

from functools import partial

from tests.planted.bug import Bug

_scheduler = partial(
    Bug,
    area="scheduler",
    tests=("tests/unit/test_scheduler*.py", "tests/chaos/test_takeover*.py", "tests/chaos/test_storm*.py"),
)
_recorder = partial(
    Bug,
    area="recorder",
    tests=(
        "tests/unit/test_ledger*.py",
        "tests/unit/test_recorder*.py",
        "tests/chaos/test_takeover*.py",
        "tests/chaos/test_storm*.py",
    ),
)
_fold = partial(
    Bug,
    area="fold",
    tests=(
        "tests/unit/test_fold*.py",
        "tests/unit/test_gateway_runs*.py",
        "tests/unit/test_gateway_workers*.py",
        "tests/contract/test_gateway_training*.py",
        "tests/contract/test_gateway.py",
    ),
)

CONTROL = (
    _scheduler(
        name="a-run-is-lost-once-more-than-allowed",
        file="services/scheduler/policy.py",
        old='return "failed" if job.lost >= max_lost else "again"',
        new='return "failed" if job.lost > max_lost else "again"',
    ),
    _scheduler(
        name="the-report-of-an-older-attempt-counts",
        file="services/scheduler/dispatcher.py",
        old="return job.lease is not None and job.attempt == attempt and job.lease.incarnation == incarnation",
        new="return job.lease is not None and job.lease.incarnation == incarnation",
    ),
    _scheduler(
        name="a-full-worker-is-given-one-run-more",
        file="services/scheduler/state.py",
        old="            if worker.room(device_class) > 0:",
        new="            if worker.room(device_class) >= 0:",
    ),
    _scheduler(
        name="a-takeover-forgets-which-runs-have-ended",
        file="services/scheduler/dispatcher.py",
        old="        for run in snapshot.settled:\n            self.state.settled[run] = now\n",
        new="",
    ),
    _scheduler(
        name="a-scheduler-that-was-overtaken-decides-all-the-same",
        file="services/scheduler/service.py",
        old="if self._newest_epoch > admitted.epoch:",
        new="if self._newest_epoch < admitted.epoch:",
    ),
    _recorder(
        name="the-decisions-of-the-scheduler-before-count",
        file="shared/records/ledger.py",
        old="event.epoch < epoch.number:",
        new="event.epoch < epoch.number - 1:",
    ),
    _recorder(
        name="a-snapshot-drops-one-segment-too-many",
        file="shared/journal.py",
        old="if item.key > _segment_key(segment):",
        new="if item.key > _segment_key(segment + 1):",
    ),
    _recorder(
        name="a-run-that-changed-while-it-was-stored-loses-the-change",
        file="shared/records/ledger.py",
        old="if self.runs.get(state.run) is state:",
        new="if state.run in self.runs:",
    ),
    _recorder(
        name="who-was-held-up-does-not-look-for-another-writer",
        file="services/recorder/service.py",
        old="if time.monotonic() - self._alone_at > ALONE_SECS:",
        new="if time.monotonic() - self._alone_at < ALONE_SECS:",
    ),
    _recorder(
        name="events-are-taken-in-before-they-are-stored",
        file="services/recorder/service.py",
        old="        await self._append(number, good)\n        self._ledger.apply(number, epoch, good)\n",
        new="        self._ledger.apply(number, epoch, good)\n        await self._append(number, good)\n",
    ),
    _fold(
        name="a-requeue-counts-no-more-than-the-start-before-it",
        file="shared/records/fold.py",
        old="rank=Rank(False, event.epoch, event.attempt, 3, event.id)",
        new="rank=Rank(False, event.epoch, event.attempt, 2, event.id)",
    ),
    _fold(
        name="the-last-stop-request-counts-in-place-of-the-first",
        file="shared/records/kinds.py",
        old="return new if known is None else min(known, new)\n",
        new="return new if known is None else max(known, new)\n",
    ),
    _fold(
        name="a-deploy-that-succeeded-in-the-end-shows-an-error",
        file="shared/records/deploys.py",
        old="return self.failed.error if self.failed and not self.completed else None",
        new="return self.failed.error if self.failed else None",
    ),
    _fold(
        name="a-run-that-did-not-complete-shows-outputs",
        file="shared/records/view.py",
        old="output_dataset_ids=result.outputs if result and state.status is Status.COMPLETED else [],",
        new="output_dataset_ids=result.outputs if result else [],",
    ),
    _fold(
        name="the-time-in-the-queue-is-taken-backwards",
        file="shared/records/view.py",
        old="max(0.0, (end - start).total_seconds())",
        new="max(0.0, (start - end).total_seconds())",
    ),
)
