"""Events of processes. The subject is one life of a process, which runs one or several services."""

from __future__ import annotations

from messages.base import Event


class ServiceHeartbeat(Event):
    """I am there. Said at a start, now and then, and to whoever is heard for the first time."""

    entities = ("service",)
    verb = "heartbeat"
    transient = True
    services: list[str]
    store: str = ""
    """The mark of the object store that the process uses; empty: it does not tell."""
    host: str = ""
    pid: int = 0
