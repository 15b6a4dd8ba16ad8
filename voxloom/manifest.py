"""What an algorithm says of itself: its `pyproject.toml`, read and checked in full.

[project]        name, version = "MAJOR.MINOR[.anything]"
[tool.voxloom]   (or [tool.compox], read alike; the former wins) everything else, all of it optional
[voxloom-exported]   at the end of an exported one: what `removable` and `exportable` were overridden with
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from voxloom import tomltext
from voxloom.bundle import COMPILED_RUNNER, PYPROJECT, RUNNER, list_folder, pack_folder
from voxloom.errors import InvalidInput
from voxloom.limits import Limits, read_limits
from voxloom.models import AlgorithmType, DeployOverrides, DeviceClass, Parameter, Value
from voxloom.parameters import read_declarations

__all__ = ["Manifest", "apply_overrides", "pack_folder", "parse_manifest", "read_folder"]

TYPES: tuple[str, ...] = get_args(AlgorithmType)
DEVICES: tuple[str, ...] = get_args(DeviceClass)
LONGEST_NAME = 128
LONGEST_NUMBER = 9
LONGEST_REFUSAL = 4000
"""Characters of all that is wrong together."""
MOST_THREADS = 1024
MOST_WARNINGS = 100
LONGEST_WARNING = 500
LARGEST_PYPROJECT = tomltext.LARGEST
EXPORTED = "voxloom-exported"
CARRIED = ("removable", "exportable")
"""The keys that an export takes along as the algorithm has them, whatever its pyproject said."""

_IGNORED = {"obfuscate", "pyc_only", "hash_module", "hash_assets"}
"""Keys that older algorithms have; the first two hide their sources, which export respects."""
_KNOWN = _IGNORED | {
    "algorithm_type",
    "tags",
    "description",
    "supported_devices",
    "default_device",
    "additional_parameters",
    "training_parameters",
    "benchmark_outputs",
    "removable",
    "exportable",
    "check_importable",
    "strict",
    "threads",
    "limits",
}


class Manifest(Value):
    """An algorithm as its pyproject describes it, every field checked."""

    name: str
    major: str
    minor: str
    algorithm_type: str = "Undefined"
    tags: list[str] = []
    description: str = ""
    supported_devices: list[str] = ["cpu"]
    default_device: str = "cpu"
    additional_parameters: list[Parameter] = []
    training_parameters: list[Parameter] = []
    benchmark_outputs: list[Parameter] = []
    removable: bool = False
    exportable: bool = True
    check_importable: bool = True
    strict: bool = False
    """Whether parameters that are not declared are refused."""
    threads: int | None = None
    """How many a run wants to have, 0: one for each core; None: its share."""
    dependencies: list[str] = []
    """As [project] has them."""
    wall_time: float | None = None
    """Seconds that one attempt may take."""
    warnings: list[str] = []
    """What is odd, but no error: one sentence each, for the deploy's log."""


def read_folder(folder: Path) -> Manifest:
    """Reads and checks an algorithm's folder.

    Raises:
        InvalidInput: `algorithm_runner_not_found`, `invalid_pyproject`, or a file that cannot be deployed.
    """
    files = list_folder(folder)
    pyproject = files.get(PYPROJECT)
    return parse_manifest(_read(pyproject) if pyproject else None, files)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_PYPROJECT + 1)


def parse_manifest(pyproject: bytes | None, files: Collection[str]) -> Manifest:
    """Checks a pyproject (None: there is none) together with the paths of the algorithm's files.

    Raises:
        InvalidInput: `algorithm_runner_not_found` or `invalid_pyproject`; the message names every fault.
    """
    if RUNNER not in files and COMPILED_RUNNER not in files:
        raise InvalidInput(
            f"There is no {RUNNER} in the algorithm's folder; add one with a class named Runner.",
            code="algorithm_runner_not_found",
            http_status=400,
        )
    document = _load(pyproject)
    reader = _Reader()
    manifest = _manifest(document, reader)
    if reader.problems:
        raise _refused("; ".join(reader.problems))
    warnings = [*reader.warnings, *_shadowed(files)]
    return manifest.model_copy(update={"warnings": _bounded(warnings)})


def _bounded(warnings: list[str]) -> list[str]:
    """They travel in events."""
    shown = [text[:LONGEST_WARNING] for text in warnings[:MOST_WARNINGS]]
    left = len(warnings) - len(shown)
    return [*shown, f"there are {left} more warnings like these"] if left else shown


def apply_overrides(manifest: Manifest, overrides: DeployOverrides) -> Manifest:
    """The manifest with what the deploy changes of it. Raises InvalidInput (`invalid_pyproject`)."""
    update: dict[str, Any] = {}
    if overrides.algorithm_name is not None:
        update["name"] = check_name(overrides.algorithm_name)
    if overrides.algorithm_major_version is not None:
        update["major"] = check_major(overrides.algorithm_major_version)
    if overrides.removable is not None:
        update["removable"] = overrides.removable
    if overrides.exportable is not None:
        update["exportable"] = overrides.exportable
    return manifest.model_copy(update=update)


def check_name(name: str) -> str:
    """The name, if an algorithm can have it; else InvalidInput (`invalid_pyproject`)."""
    fault = _name_fault(name)
    if fault:
        raise _refused(f"the algorithm's name {name[:40]!r} {fault}")
    return name


def check_major(text: str) -> str:
    """The major version in its plain form ("01" is "1"); else InvalidInput (`invalid_pyproject`)."""
    number = _number(text.strip())
    if number is None:
        raise _refused(f"the major version {text[:40]!r} is no whole number")
    return number


def _refused(said: str) -> InvalidInput:
    shown = said if len(said) <= LONGEST_REFUSAL else f"{said[:LONGEST_REFUSAL]} …"
    return InvalidInput(f"The pyproject.toml cannot be used: {shown}.", code="invalid_pyproject", http_status=400)


def _name_fault(name: str) -> str | None:
    if not name or name != name.strip():
        return "is empty or has blanks at its ends"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    if not name.isprintable() or name in (".", "..") or any(sign in name for sign in "/\\~"):
        return "has signs that cannot be used; keep to letters, digits, blanks, dots, dashes and underscores"
    return None


def _number(text: str) -> str | None:
    good = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    return str(int(text)) if good else None


def _load(pyproject: bytes | None) -> dict[str, Any]:
    if pyproject is None:
        raise _refused(f"there is no {PYPROJECT} beside {RUNNER}; add one with [project] name and version")
    try:
        return tomltext.parse(pyproject)
    except tomltext.Unusable as error:
        raise _refused(str(error)) from None


def _manifest(document: dict[str, Any], reader: _Reader) -> Manifest:
    name, major, minor = _identity(document, reader)
    tool = _as_exported(document, _tool_section(document, reader), reader)
    reader.warn_unknown(tool)
    devices = _devices(tool, reader)
    return Manifest(
        name=name,
        major=major,
        minor=minor,
        algorithm_type=reader.choice(tool, "algorithm_type", TYPES, "Undefined"),
        tags=_tags(tool, reader),
        description=_description(tool, reader),
        supported_devices=devices,
        default_device=reader.choice(tool, "default_device", devices, "cpu" if "cpu" in devices else devices[0]),
        additional_parameters=reader.parameters(tool, "additional_parameters"),
        training_parameters=reader.parameters(tool, "training_parameters"),
        benchmark_outputs=_benchmark_outputs(tool, reader),
        removable=reader.truth(tool, "removable", default=False),
        exportable=_exportable(tool, reader),
        check_importable=reader.truth(tool, "check_importable", default=True),
        strict=reader.truth(tool, "strict", default=False),
        threads=_threads(tool, reader),
        dependencies=_dependencies(document["project"], reader),
        wall_time=reader.limits(tool).wall_time,
    )


def _identity(document: dict[str, Any], reader: _Reader) -> tuple[str, str, str]:
    project = document.get("project")
    if not isinstance(project, dict):
        raise _refused("it has no [project] section; add one with name and version")
    name = reader.text(project, "name", where="[project] ")
    fault = _name_fault(name)
    if fault and isinstance(project.get("name", ""), str):
        reader.problems.append(f"[project] name {name[:40]!r} {fault}")
    major, minor = _version(project.get("version"), reader)
    return name, major, minor


def _dependencies(project: Mapping[str, Any], reader: _Reader) -> list[str]:
    """Nobody has looked at them before: what is wrong with them does not keep an algorithm out."""
    raw = project.get("dependencies", [])
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        reader.warnings.append("[project] dependencies are no list of texts, and were ignored")
        return []
    return raw


def _version(raw: Any, reader: _Reader) -> tuple[str, str]:
    parts = raw.strip().split(".") if isinstance(raw, str) else []
    major, minor = (_number(parts[0]), _number(parts[1])) if len(parts) > 1 else (None, None)
    if major is None or minor is None:
        reader.problems.append(f'[project] version is {raw!r}; write it as "MAJOR.MINOR", for example "1.0"')
        return "0", "0"
    return major, minor


def _tool_section(document: dict[str, Any], reader: _Reader) -> dict[str, Any]:
    tools = document.get("tool")
    sections = {key: tools[key] for key in ("voxloom", "compox") if key in tools} if isinstance(tools, dict) else {}
    if not sections:
        reader.warnings.append("there is no [tool.voxloom] section; everything has its default")
        return {}
    key, section = next(iter(sections.items()))
    if len(sections) > 1:
        reader.warnings.append("there are [tool.voxloom] and [tool.compox]; the latter was ignored")
    if not isinstance(section, dict):
        reader.problems.append(f"tool.{key} must be a section")
        return {}
    return section


def _as_exported(document: dict[str, Any], tool: dict[str, Any], reader: _Reader) -> dict[str, Any]:
    section = document.get(EXPORTED, {})
    if not isinstance(section, dict):
        reader.problems.append(f"{EXPORTED} must be a section")
        return tool
    carried = {key: section[key] for key in CARRIED if key in section}
    reader.warnings.extend(
        f"{key} is as [{EXPORTED}] says; delete that section to have it as it is above" for key in carried
    )
    return {**tool, **carried}


def _devices(tool: Mapping[str, Any], reader: _Reader) -> list[str]:
    devices = reader.texts(tool, "supported_devices", ["cpu"])
    if not devices or not set(devices) <= set(DEVICES):
        reader.problems.append(f"supported_devices is {devices!r}; it must have one or more of {', '.join(DEVICES)}")
        return ["cpu"]
    return list(dict.fromkeys(devices))


def _threads(tool: Mapping[str, Any], reader: _Reader) -> int | None:
    value = tool.get("threads")
    if value == "all":
        return 0
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_THREADS):
        reader.problems.append(f'threads is {value!r}; it must be a whole number from 1 to {MOST_THREADS}, or "all"')
        return None
    return value


def _tags(tool: Mapping[str, Any], reader: _Reader) -> list[str]:
    tags = reader.texts(tool, "tags", [])
    if not tags:
        reader.warnings.append("there are no tags; people find algorithms by them")
    return tags


def _description(tool: Mapping[str, Any], reader: _Reader) -> str:
    description = reader.text(tool, "description")
    if not description.strip():
        reader.warnings.append("the description is empty")
    return description


def _benchmark_outputs(tool: Mapping[str, Any], reader: _Reader) -> list[Parameter]:
    """They are for people to read, so one that cannot be read does not keep an algorithm from being deployed."""
    raw = tool.get("benchmark_outputs", [])
    try:
        json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError):
        reader.problems.append("benchmark_outputs has dates, or numbers that are not finite; leave them out")
        return []
    if not isinstance(raw, list):
        reader.problems.append("benchmark_outputs must be a list")
        return []
    outputs, problems, warnings = read_declarations(raw, "benchmark_outputs")
    reader.warnings += [*warnings, *(f"{problem}; it was left out" for problem in problems)]
    return outputs


def _exportable(tool: Mapping[str, Any], reader: _Reader) -> bool:
    hidden = any(reader.truth(tool, key, default=False) for key in ("obfuscate", "pyc_only"))
    if hidden and "exportable" not in tool:
        reader.warnings.append(
            "sources are stored as they are, so an algorithm that asks to hide them cannot be exported; "
            "write exportable = true if it may be"
        )
    return reader.truth(tool, "exportable", default=not hidden)


def _shadowed(files: Collection[str]) -> list[str]:
    """Modules that hide one of Python's own from the whole algorithm."""
    names = {path.split("/")[0].removesuffix(".py") for path in files if path.endswith(".py") and path.count("/") < 2}
    return [
        f"the module {name!r} is named like one of Python's own and hides it; rename it if an import fails"
        for name in sorted(names & sys.stdlib_module_names)
    ]


class _Reader:
    """Takes values out of a section; what is wrong with one is noted, and its default taken."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def warn_unknown(self, section: Mapping[str, Any]) -> None:
        self.warnings.extend(f"the key {key!r} is not known and was ignored" for key in sorted(section.keys() - _KNOWN))

    def text(self, section: Mapping[str, Any], key: str, *, where: str = "") -> str:
        value = section.get(key, "")
        if not isinstance(value, str):
            self.problems.append(f"{where}{key} is {value!r}; it must be a text")
            return ""
        return value

    def texts(self, section: Mapping[str, Any], key: str, default: list[str]) -> list[str]:
        value = section.get(key, default)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problems.append(f"{key} is {value!r}; it must be a list of texts")
            return default
        return value

    def truth(self, section: Mapping[str, Any], key: str, *, default: bool) -> bool:
        value = section.get(key, default)
        if not isinstance(value, bool):
            self.problems.append(f"{key} is {value!r}; it must be true or false")
            return default
        return value

    def choice(self, section: Mapping[str, Any], key: str, options: Collection[str], default: str) -> str:
        value = section.get(key, default)
        if value not in options:
            self.problems.append(f"{key} is {value!r}; it must be one of {', '.join(options)}")
            return default
        return str(value)

    def limits(self, section: Mapping[str, Any]) -> Limits:
        limits, problems, warnings = read_limits(section.get("limits", {}))
        self.problems += problems
        self.warnings += warnings
        return limits

    def parameters(self, section: Mapping[str, Any], key: str) -> list[Parameter]:
        parameters, problems, warnings = read_declarations(section.get(key, []), key)
        self.problems += problems
        self.warnings += warnings
        return parameters
