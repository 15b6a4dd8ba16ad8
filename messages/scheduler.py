"""Events of schedulers. The subject is an instance: one life of one scheduler process; of `started` and `admitted` it
is a term: one time that an instance has asked to decide."""

from __future__ import annotations

from messages.base import Epoch, Event, Name


class SchedulerWaiting(Event):
    """Says a scheduler to its own queue until it is served: who gets this is the active one."""

    entities = ("scheduler",)
    verb = "waiting"


class SchedulerStarted(Event):
    """I am the active one and ask to be admitted."""

    entities = ("scheduler",)
    verb = "started"


class SchedulerAdmitted(Event):
    """The recorder's answer: all that was said before is in the snapshot; decide under this epoch."""

    entities = ("scheduler",)
    verb = "admitted"
    epoch: Epoch
    snapshot_key: Name
    """Where the unfinished runs and the lately settled ids lie in `execution-store`."""


class SchedulerProbed(Event):
    """The scheduler's own heartbeat, which it must hear back before it judges a silent worker."""

    entities = ("scheduler",)
    verb = "probed"
    transient = True
    number: int
