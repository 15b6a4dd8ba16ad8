"""What a run's log says before the author's code begins."""

from __future__ import annotations

from messages.runs import RunHandedOver


def notes(assignment: RunHandedOver) -> list[str]:
    """What the log should say before the author's code begins."""
    work = assignment.work
    said = [*([work.device_warning] if work.device_warning else []), *work.warnings]
    if assignment.device_class != work.devices[0]:
        said.append(f"No worker has a device of class {work.devices[0]}; this runs on {assignment.device_class}.")
    if assignment.lost:
        said.append(f"This is attempt {assignment.attempt}: {assignment.lost} before it were lost with their workers.")
    return said
