"""What every bus does. An adapter's tests subclass BusBehaviour and give it a `footing` fixture."""

from __future__ import annotations

from tests.contract.bus_consumers import ConsumerBehaviour
from tests.contract.bus_failures import FailureBehaviour
from tests.contract.bus_limits import LimitBehaviour
from tests.contract.bus_queues import QueueBehaviour
from tests.contract.bus_streams import StreamBehaviour


class BusBehaviour(QueueBehaviour, FailureBehaviour, ConsumerBehaviour, StreamBehaviour, LimitBehaviour):
    """Subclass as `Test…` beside a fixture `footing`."""
