"""Bugs at both ends: the gateway, the worker, and the runner that has the author's code."""

from __future__ import annotations

from functools import partial

from tests.planted.bug import Bug

_gateway = partial(
    Bug,
    area="gateway",
    tests=(
        "tests/unit/test_gateway_*.py",
        "tests/unit/test_paging*.py",
        "tests/unit/test_queuewatch*.py",
        "tests/contract/test_gateway_idempotency*.py",
        "tests/contract/test_gateway.py",
    ),
)
_worker = partial(
    Bug,
    area="worker",
    tests=("tests/unit/test_outbox*.py", "tests/unit/test_devices*.py", "tests/contract/test_worker_*.py"),
)
_runner = partial(
    Bug,
    area="runner",
    tests=(
        "tests/unit/test_base_runner*.py",
        "tests/unit/test_run_output*.py",
        "tests/unit/test_sessions*.py",
        "tests/unit/test_training_objects*.py",
        "tests/unit/test_frames*.py",
        "tests/unit/test_author_api_handlers*.py",
        "tests/contract/test_runner_sessions*.py",
        "tests/contract/test_runner_training*.py",
        "tests/contract/test_runner_process*.py",
    ),
)

EDGES = (
    _gateway(
        name="a-last-page-that-is-full-names-one-more",
        file="services/gateway/views/catalog.py",
        old="more = len(rows) > limit",
        new="more = len(rows) >= limit",
    ),
    _gateway(
        name="a-stop-of-a-run-that-has-ended-is-answered-with-409",
        file="services/gateway/operations/runs.py",
        old="            http_status=400,\n",
        new="            http_status=409,\n",
    ),
    _gateway(
        name="what-the-slower-of-two-equal-requests-has-stored-stays",
        file="services/gateway/http/idempotency.py",
        old="if counts is not own:",
        new="if counts is None:",
    ),
    _gateway(
        name="the-progress-of-an-older-attempt-is-shown",
        file="services/gateway/views/runs.py",
        old="if run is None or event.attempt < run.state.attempt or is_foreign(run.state, event):",
        new="if run is None or is_foreign(run.state, event):",
    ),
    _gateway(
        name="a-change-while-the-algorithms-are-read-is-missed",
        file="services/gateway/views/algorithms.py",
        old="self._read_at_change = changes",
        new="self._read_at_change = self._changes",
    ),
    _worker(
        name="a-worker-obeys-a-scheduler-that-was-replaced",
        file="services/worker/service.py",
        old="                self._epoch = event.epoch\n",
        new="",
    ),
    _worker(
        name="an-attempt-goes-on-after-it-was-decided",
        file="services/worker/service.py",
        old="attempt.number <= event.attempt:",
        new="attempt.number < event.attempt:",
    ),
    _worker(
        name="a-report-that-nobody-has-settled-is-not-said-again",
        file="services/worker/reports.py",
        old="                self._outbox.put(report.finished)\n",
        new="",
    ),
    _worker(
        name="a-warm-process-is-given-a-run-for-another-device",
        file="services/worker/pool.py",
        old="for at, (its_key, _) in enumerate(self._idle) if its_key == key]",
        new="for at, (its_key, _) in enumerate(self._idle) if its_key[:3] == key[:3]]",
    ),
    _worker(
        name="the-condition-on-a-session-is-taken-after-it-is-read",
        file="services/worker/session_items.py",
        old="            condition = await self._unchanged()\n            before = await self.index()\n",
        new="            before = await self.index()\n            condition = await self._unchanged()\n",
    ),
    _runner(
        name="a-stop-is-raised-again-while-the-run-cleans-up",
        file="voxloom/runner/link.py",
        old="due, self._stop_due = self._stop_due, False",
        new="due = self._stop_due",
    ),
    _runner(
        name="a-line-that-just-fits-into-the-log-is-dropped",
        file="voxloom/runner/output.py",
        old="if self._left < size:",
        new="if self._left <= size:",
    ),
    _runner(
        name="what-another-process-has-changed-in-a-session-is-not-seen",
        file="voxloom/runner/sessions.py",
        old="if known is not None and self._index.get(key) != known:",
        new="if known is not None and key not in self._index:",
    ),
    _runner(
        name="a-process-that-has-trained-serves-the-next-run",
        file="voxloom/runner/serving.py",
        old='fit = self._runner is not None and frame.task != "training"',
        new="fit = self._runner is not None",
    ),
    _runner(
        name="a-thread-of-a-run-that-is-over-is-still-answered",
        file="voxloom/runner/serving.py",
        old="        link.close()\n",
        new="",
    ),
)
