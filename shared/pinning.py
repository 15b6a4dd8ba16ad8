"""From a client's request to the work it means: checked in the order that clients rely on, everything pinned.

No request of HTTP is needed for that: whoever has runs done asks here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from messages.runs import AlgorithmPin, Work
from messages.trainings import Checkpoint
from shared.algorithms import AlgorithmEntry, pin
from shared.samples import files_of
from shared.validation import refused
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.models import BenchmarkRequest, ExecutionRequest, Parameter, SampleRecord, TrainingRequest
from voxloom.parameters import beyond, check_parameters, warnings

LONGEST_TOKEN = 200
_Request = ExecutionRequest | TrainingRequest | BenchmarkRequest
_NAMED = 20
"""Ids that an error message names; its details have all."""


class Inventory(Protocol):
    """What there is for a run to use."""

    @property
    def cpu_fallback(self) -> bool:
        """Whether the processor does where no worker has the device that is wanted."""

    async def files(self, names: Iterable[str]) -> Mapping[str, str]:
        """The ids of those that may be used, by what they are called."""

    async def algorithm(self, algorithm_id: str) -> AlgorithmEntry:
        """Raises NotFound."""

    async def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Raises NotFound."""

    async def samples(self) -> Sequence[SampleRecord]:
        """All of them."""


class Devices(NamedTuple):
    """Device classes that will do, the wanted one first; and what to tell about it in the run's log."""

    classes: list[str]
    warning: str | None
    passed_over: bool = False
    """Whether the one that was asked for will not do."""


async def work_of(inventory: Inventory, request: ExecutionRequest, *, strict: bool = False) -> Work:
    """Raises NotFound for files, algorithm, minor version and checkpoint, then InvalidInput for parameters; `strict`:
    also for a device that the algorithm does not support."""
    known = await inventory.files(request.input_dataset_ids)
    if missing := _lacking(known, request.input_dataset_ids):
        raise _files_not_found(missing)
    chosen = await _chosen(inventory, request)
    args = _checked(chosen.entry, chosen.entry.about.additional_parameters, request.additional_parameters)
    _check_token(request.session_token)
    devices = choose_devices(chosen.entry, request.execution_device_override, fall_back=inventory.cpu_fallback)
    if strict and devices.passed_over:
        raise _unsupported_device(chosen.entry, request.execution_device_override or "")
    return Work(
        **_common(chosen, request, args, devices),
        input_dataset_ids=[known[one] for one in request.input_dataset_ids],
        device_override=request.execution_device_override,
        device_warning=devices.warning,
        session_token=request.session_token or new_id(),
        priority=request.priority,
    )


async def strict_work_of(inventory: Inventory, request: ExecutionRequest) -> Work:
    """The same, but a device that the algorithm does not support is refused."""
    return await work_of(inventory, request, strict=True)


async def training_of(inventory: Inventory, request: TrainingRequest) -> Work:
    """Raises NotFound for samples, their files, algorithm, minor version and checkpoint, then InvalidInput."""
    if not request.training_data:
        raise refused([{"loc": ["training_data"], "msg": "must name at least one sample"}])
    await _check_samples(inventory, request.training_data)
    chosen = await _chosen(inventory, request)
    args = _checked(chosen.entry, chosen.entry.about.training_parameters, request.additional_parameters)
    devices = choose_devices(chosen.entry, None, fall_back=inventory.cpu_fallback)
    return Work(
        **_common(chosen, request, args, devices),
        task="training",
        input_dataset_ids=[],
        sample_ids=request.training_data,
        tags=request.tags,
        session_token=new_id(),
        priority=request.priority,
    )


async def benchmark_of(inventory: Inventory, request: BenchmarkRequest) -> Work:
    """Raises NotFound for algorithm, minor version and checkpoint, then InvalidInput for parameters."""
    chosen = await _chosen(inventory, request)
    args = _checked(chosen.entry, chosen.entry.about.additional_parameters, request.additional_parameters)
    devices = choose_devices(chosen.entry, request.execution_device_override, fall_back=inventory.cpu_fallback)
    return Work(
        **_common(chosen, request, args, devices),
        task="benchmark",
        input_dataset_ids=[],
        device_override=request.execution_device_override,
        device_warning=devices.warning,
        session_token=new_id(),
    )


class _Args(NamedTuple):
    filled: dict[str, Any]
    warnings: list[str]


def _checked(entry: AlgorithmEntry, declared: Sequence[Parameter], sent: Mapping[str, Any]) -> _Args:
    """Raises InvalidInput."""
    values = check_parameters(declared, sent, strict=entry.about.strict)
    return _Args(beyond(sent, values), warnings(declared, sent))


class _Chosen(NamedTuple):
    entry: AlgorithmEntry
    algorithm: AlgorithmPin


async def _chosen(inventory: Inventory, request: _Request) -> _Chosen:
    entry = await inventory.algorithm(request.algorithm_id)
    algorithm = pin(entry, request.algorithm_minor_version)
    if request.checkpoint_id is not None:
        checkpoint = await inventory.checkpoint(request.checkpoint_id)
        if checkpoint.algorithm_id != entry.algorithm_id:
            raise _of_another(checkpoint, entry)
    return _Chosen(entry, algorithm)


def _common(chosen: _Chosen, request: _Request, args: _Args, devices: Devices) -> dict[str, Any]:
    """What the work of every task says."""
    return {
        "algorithm": chosen.algorithm,
        "parameters": request.additional_parameters,
        "filled": args.filled,
        "warnings": args.warnings,
        "threads": chosen.entry.about.threads,
        "wall_time": chosen.entry.about.wall_time,
        "devices": devices.classes,
        "checkpoint_id": request.checkpoint_id,
    }


def _of_another(checkpoint: Checkpoint, entry: AlgorithmEntry) -> NotFound:
    return NotFound(
        f"The checkpoint {checkpoint.checkpoint_id} belongs to {checkpoint.algorithm_name} "
        f"{checkpoint.algorithm_major_version}, not to {entry.name} {entry.major}.",
        code="checkpoint_not_found",
        details={"checkpoint_id": checkpoint.checkpoint_id},
    )


async def _check_samples(inventory: Inventory, sample_ids: Sequence[str]) -> None:
    known = {sample.sample_id: sample for sample in await inventory.samples()}
    if missing := [one for one in dict.fromkeys(sample_ids) if one not in known]:
        raise NotFound(
            f"There are no such samples: {_named(missing)}. `GET /api/v0/sample/all` shows those there are.",
            code="input_samples_not_found",
            details={"missing_sample_ids": missing},
        )
    wanted = [file_id for one in dict.fromkeys(sample_ids) for file_id in files_of(known[one])]
    if gone := _lacking(await inventory.files(wanted), wanted):
        raise NotFound(
            f"Files of the samples are not there any more: {_named(gone)}. Make the samples anew.",
            code="sample_files_not_found",
            details={"missing_file_ids": gone},
        )


def _lacking(known: Mapping[str, str], names: Iterable[str]) -> list[str]:
    return [one for one in dict.fromkeys(names) if one not in known]


def choose_devices(entry: AlgorithmEntry, override: str | None, *, fall_back: bool = True) -> Devices:
    """A device that the algorithm does not support runs on its default one, with a warning: some clients always ask
    for `gpu`. `fall_back`: where no worker has what it wants the processor does, whatever it says it supports; so an
    algorithm that knows cards alone runs on a server without any, and also where `cpu` is asked for."""
    about = entry.about
    possible = [*about.supported_devices, *(["cpu"] if fall_back else [])]
    asked = None if override is None else override.strip().lower()
    wanted = asked if asked in possible else about.default_device
    spare = ["cpu"] if wanted != "cpu" and "cpu" in possible else []
    if asked is None or override is None or asked in about.supported_devices:
        return Devices([wanted, *spare], None)
    where = "it runs there all the same" if asked == wanted else f"it runs on its default device {wanted!r}"
    warning = (
        f"The device {override[:40]!r} was asked for, but {entry.name} {entry.major} supports "
        f"{', '.join(about.supported_devices)}; {where}."
    )
    return Devices([wanted, *spare], warning, passed_over=asked != wanted)


def _unsupported_device(entry: AlgorithmEntry, asked: str) -> InvalidInput:
    supported = ", ".join(entry.about.supported_devices)
    return refused(
        [
            {
                "loc": ["execution_device_override"],
                "msg": f"{entry.name} {entry.major} does not support {asked[:40]!r} but {supported}",
            }
        ]
    )


def _files_not_found(missing: list[str]) -> NotFound:
    return NotFound(
        f"There are no such input files: {_named(missing)}. Upload them, or use the ids of files that are there.",
        code="input_datasets_not_found",
        details={"missing_dataset_ids": missing},
    )


def _named(missing: Sequence[str]) -> str:
    named = ", ".join(repr(one[:80]) for one in missing[:_NAMED])
    return f"{named} and {len(missing) - _NAMED} more" if len(missing) > _NAMED else named


def _check_token(token: str | None) -> None:
    if token is not None and len(token) > LONGEST_TOKEN:
        raise refused([{"loc": ["session_token"], "msg": f"must have {LONGEST_TOKEN} characters at most"}])
