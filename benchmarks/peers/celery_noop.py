"""Celery: a task that does nothing, and its client. Runs in Celery's environment."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peers.talk import PlainClient, obey

app = Celery("noop", broker=os.environ["BENCH_BROKER"], backend="rpc://")
if os.environ.get("BENCH_DURABLE"):
    app.conf.update(
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        result_persistent=True,
        broker_transport_options={"confirm_publish": True},
    )


def nothing() -> None:
    """What the others do, too."""


noop = app.task(nothing, name="noop")

if __name__ == "__main__":
    obey(PlainClient(noop.delay, lambda sent: sent.get(timeout=60)))
