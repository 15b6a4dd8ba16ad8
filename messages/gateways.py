"""Events of gateways. The subject is an instance: one life of one gateway process."""

from __future__ import annotations

from messages.base import Event


class GatewayStarted(Event):
    """A gateway is there. Once it hears this itself on the stream, its view has caught up with all that was said
    before."""

    entities = ("gateway",)
    verb = "started"


class GatewayFoundLoss(Event):
    """The broker has lost what it kept. Before this, the gateway has asked again for every run and deploy that it knew
    to be asked for and not ended; whoever decides shall begin anew from the records."""

    entities = ("gateway",)
    verb = "found-loss"
