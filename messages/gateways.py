"""Events of gateways. The subject is an instance: one life of one gateway process."""

from __future__ import annotations

from messages.base import Event


class GatewayStarted(Event):
    """A gateway is there. Once it hears this itself on the stream, its view has caught up with all that was said
    before."""

    entity = "gateway"
    verb = "started"
