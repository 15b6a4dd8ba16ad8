"""From a client's request to the work it means: checked in the order that clients rely on, everything pinned."""

from __future__ import annotations

from typing import NamedTuple

from messages.executions import Work
from services.gateway.context import Context
from services.gateway.payloads import refused
from shared.algorithms import AlgorithmEntry, pin
from voxloom.errors import NotFound
from voxloom.ids import new_id
from voxloom.models import ExecutionRequest
from voxloom.parameters import check_parameters

LONGEST_TOKEN = 200
_NAMED = 20
"""Ids that an error message names; its details have all."""


class Devices(NamedTuple):
    """Device classes that will do, the wanted one first; and what to tell about it in the run's log."""

    classes: list[str]
    warning: str | None


async def work_of(context: Context, request: ExecutionRequest) -> Work:
    """Raises NotFound for files, algorithm, minor version and checkpoint, then InvalidInput for parameters."""
    if missing := await context.files.missing(request.input_dataset_ids):
        raise _files_not_found(missing)
    entry = await context.algorithms.get(request.algorithm_id)
    algorithm = pin(entry, request.algorithm_minor_version)
    _check_checkpoint(request.checkpoint_id)
    args = check_parameters(entry.about.additional_parameters, request.additional_parameters)
    _check_token(request.session_token)
    devices = choose_devices(entry, request.execution_device_override)
    return Work(
        algorithm=algorithm,
        input_dataset_ids=request.input_dataset_ids,
        parameters=request.additional_parameters,
        args=args,
        devices=devices.classes,
        device_override=request.execution_device_override,
        device_warning=devices.warning,
        checkpoint_id=request.checkpoint_id,
        session_token=request.session_token or new_id(),
        priority=request.priority,
    )


def choose_devices(entry: AlgorithmEntry, override: str | None) -> Devices:
    """A device that the algorithm does not support runs on its default one, with a warning: some clients always ask
    for `gpu`. An algorithm that supports `cpu` can also do without what it prefers."""
    about = entry.about
    wanted, warning = about.default_device, None
    if override is not None:
        asked = override.strip().lower()
        if asked in about.supported_devices:
            wanted = asked
        else:
            warning = (
                f"The device {override[:40]!r} was asked for, but {entry.name} {entry.major} supports "
                f"{', '.join(about.supported_devices)}; it runs on its default device {wanted!r}."
            )
    spare = ["cpu"] if wanted != "cpu" and "cpu" in about.supported_devices else []
    return Devices([wanted, *spare], warning)


def _files_not_found(missing: list[str]) -> NotFound:
    named = ", ".join(repr(one[:80]) for one in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return NotFound(
        f"There are no such input files: {named}{more}. Upload them, or use the ids of files that are there.",
        code="input_datasets_not_found",
        details={"missing_dataset_ids": missing},
    )


def _check_checkpoint(checkpoint_id: str | None) -> None:
    """No checkpoint can be made yet, so none is found."""
    if checkpoint_id is not None:
        raise NotFound(
            f"There is no checkpoint {checkpoint_id[:200]!r}.",
            code="checkpoint_not_found",
            details={"checkpoint_id": checkpoint_id},
        )


def _check_token(token: str | None) -> None:
    if token is not None and len(token) > LONGEST_TOKEN:
        raise refused([{"loc": ["session_token"], "msg": f"must have {LONGEST_TOKEN} characters at most"}])
