"""dramatiq on RabbitMQ: a task that does nothing but tell its end, and its client. Runs in dramatiq's environment."""

from __future__ import annotations

import itertools
import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers.bell import Bell, ring
from benchmarks.peers.talk import PlainClient, obey

broker = RabbitmqBroker(url=os.environ["BENCH_BROKER"], confirm_delivery=bool(os.environ.get("BENCH_DURABLE")))
dramatiq.set_broker(broker)


def nothing(number: int) -> None:
    ring(number)


noop = dramatiq.actor(nothing, actor_name="noop")


def main() -> None:
    bell, numbers = Bell(), itertools.count()

    def send() -> int:
        number = next(numbers)
        noop.send(number)
        return number

    obey(PlainClient(send, bell.wait))


if __name__ == "__main__":
    main()
