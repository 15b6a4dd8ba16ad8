"""An algorithm and its minor versions: the rules by which they are numbered, pure.

The first deploy takes the minor version of its pyproject. After that a deploy whose module and assets equal the latest
minor version, or its export, adds nothing; any other adds a number that was never given out before. The id stays.
What is true of all minor versions (type, description, parameters …) is as the newest deploy has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messages.runs import AlgorithmPin
from messages.trainings import Checkpoint
from voxloom.errors import NotAllowed, NotFound
from voxloom.manifest import Manifest
from voxloom.models import AlgorithmRecord, Moment, Parameter, StorageMetrics, Value, format_time
from voxloom.parameters import read_declarations, shown

REMEMBERED_DEPLOYS = 64
"""So many deploys are known by id after they were taken in, for the case that they are delivered again."""


class MinorVersion(Value):
    """The content of one minor version; it never changes."""

    minor: str
    module: str
    assets: str
    module_bytes: int = 0
    asset_bytes: int = 0
    asset_count: int = 0
    input_schema: str = ""
    """As `AlgorithmRecord.input_schema`."""
    unnamed: str = ""
    """Its assets with name and version taken out of its pyproject: an export of it has the same."""
    deploy_id: str
    time: Moment


class Description(Value):
    """What is true of all minor versions: as the newest deploy has it."""

    algorithm_type: str
    tags: list[str] = []
    description: str = ""
    supported_devices: list[str]
    default_device: str
    additional_parameters: list[Parameter] = []
    training_parameters: list[Parameter] = []
    benchmark_outputs: list[Any] = []
    removable: bool = False
    exportable: bool = True
    strict: bool = False
    threads: int | None = None
    wall_time: float | None = None


class AlgorithmEntry(Value):
    """One algorithm, (project, name, major), and its minor versions by their numbers."""

    algorithm_id: str
    project: str
    name: str
    major: str
    minors: dict[str, MinorVersion]
    next_minor: int
    """Larger than every number that was ever given out."""
    about: Description
    deploys: dict[str, str] = {}
    """The newest deploys and the minor versions they came to."""

    @property
    def latest(self) -> MinorVersion:
        """The highest minor version there is."""
        return self.minors[max(self.minors, key=int)]


@dataclass(frozen=True)
class Content:
    """A module and its assets, as they lie in the store."""

    module: str
    assets: str
    module_bytes: int
    asset_bytes: int
    asset_count: int
    unnamed: str = ""


@dataclass(frozen=True)
class Deploy:
    """What one deploy brings."""

    deploy_id: str
    project: str
    manifest: Manifest
    content: Content
    time: Moment
    merge: bool = False
    """What an older minor version has already is not added again."""
    input_schema: str = ""
    """As `AlgorithmRecord.input_schema`."""


@dataclass(frozen=True)
class Deployed:
    """What a deploy came to. `changed`: it has added a minor version."""

    entry: AlgorithmEntry
    minor: str
    changed: bool


def deploy_to(entry: AlgorithmEntry | None, deploy: Deploy, fresh_id: str) -> Deployed:
    """The entry after a deploy. `entry` is None, or without minor versions, where there is no such algorithm yet."""
    if entry is None or not entry.minors:
        return _first_deploy(deploy, fresh_id)
    known = entry.deploys.get(deploy.deploy_id)
    if known is not None:
        version = entry.minors.get(known)
        return Deployed(entry, known, changed=version is not None and version.deploy_id == deploy.deploy_id)
    if is_same(entry.latest, deploy):
        return Deployed(_described(entry, deploy, entry.latest.minor), entry.latest.minor, changed=False)
    if (older := _older_same(entry, deploy)) is not None:
        return Deployed(_remembered(entry, deploy, older.minor), older.minor, changed=False)
    minor = str(entry.next_minor)
    grown = entry.model_copy(
        update={
            "minors": {**entry.minors, minor: _minor_version(minor, deploy)},
            "next_minor": entry.next_minor + 1,
        }
    )
    return Deployed(_described(grown, deploy, minor), minor, changed=True)


def _older_same(entry: AlgorithmEntry, deploy: Deploy) -> MinorVersion | None:
    same = [version for version in entry.minors.values() if is_same(version, deploy)]
    return max(same, key=lambda version: int(version.minor)) if same and deploy.merge else None


def is_same(version: MinorVersion, deploy: Deploy) -> bool:
    """Whether a deploy brings what this minor version has: its very files, or those that its export gives, which name
    this minor version in their pyproject and differ in nothing else."""
    content = deploy.content
    exported = bool(version.unnamed) and (version.unnamed, version.minor) == (content.unnamed, deploy.manifest.minor)
    return version.module == content.module and (version.assets == content.assets or exported)


def _first_deploy(deploy: Deploy, fresh_id: str) -> Deployed:
    manifest, minor = deploy.manifest, deploy.manifest.minor
    entry = AlgorithmEntry(
        algorithm_id=fresh_id,
        project=deploy.project,
        name=manifest.name,
        major=manifest.major,
        minors={minor: _minor_version(minor, deploy)},
        next_minor=int(minor) + 1,
        about=_description(manifest),
        deploys={deploy.deploy_id: minor},
    )
    return Deployed(entry, minor, changed=True)


def _minor_version(minor: str, deploy: Deploy) -> MinorVersion:
    content = deploy.content
    return MinorVersion(
        minor=minor,
        module=content.module,
        assets=content.assets,
        module_bytes=content.module_bytes,
        asset_bytes=content.asset_bytes,
        asset_count=content.asset_count,
        input_schema=deploy.input_schema,
        unnamed=content.unnamed,
        deploy_id=deploy.deploy_id,
        time=deploy.time,
    )


def _described(entry: AlgorithmEntry, deploy: Deploy, minor: str) -> AlgorithmEntry:
    described = entry.model_copy(update={"about": _description(deploy.manifest)})
    return _remembered(described, deploy, minor)


def _remembered(entry: AlgorithmEntry, deploy: Deploy, minor: str) -> AlgorithmEntry:
    deploys = [*entry.deploys.items(), (deploy.deploy_id, minor)][-REMEMBERED_DEPLOYS:]
    return entry.model_copy(update={"deploys": dict(deploys)})


def _description(manifest: Manifest) -> Description:
    return Description.model_validate(manifest.model_dump(include=set(Description.model_fields)))


def removed_from(entry: AlgorithmEntry, minor: str | None, *, regardless: bool) -> AlgorithmEntry:
    """The entry without one minor version, or (None) without any.

    Raises:
        NotFound: `minor_version_not_found`.
        NotAllowed: `algorithm_not_removable`, unless `regardless` of what the algorithm says.
    """
    if minor is not None:
        find_minor(entry, minor)
    if not (entry.about.removable or regardless):
        raise NotAllowed(
            f"The algorithm {entry.name!r} {entry.major} is not removable. Deploy it with removable = true, or have an "
            f'operator remove it with `voxloom rm "{entry.name}" {entry.major}`.',
            code="algorithm_not_removable",
            http_status=400,
            details={"algorithm_id": entry.algorithm_id},
        )
    left = {} if minor is None else {number: kept for number, kept in entry.minors.items() if number != minor}
    return entry.model_copy(update={"minors": left})


def find_minor(entry: AlgorithmEntry, minor: str | None) -> MinorVersion:
    """The minor version, or (None) the latest. Raises NotFound (`minor_version_not_found`)."""
    version = entry.latest if minor is None else entry.minors.get(minor)
    if version is None:
        raise NotFound(
            f"The algorithm {entry.name!r} {entry.major} has no minor version {minor!r}; "
            f"it has {', '.join(_in_order(entry))}.",
            code="minor_version_not_found",
            details={
                "algorithm_id": entry.algorithm_id,
                "algorithm_name": entry.name,
                "algorithm_major_version": entry.major,
                "algorithm_minor_version": minor,
            },
        )
    return version


def _in_order(entry: AlgorithmEntry) -> list[str]:
    return sorted(entry.minors, key=int)


def pin(entry: AlgorithmEntry, minor: str | None) -> AlgorithmPin:
    """Exactly which code a run uses. Raises NotFound (`minor_version_not_found`)."""
    version = find_minor(entry, minor)
    return AlgorithmPin(
        algorithm_id=entry.algorithm_id,
        name=entry.name,
        major=entry.major,
        minor=version.minor,
        module=version.module,
        assets=version.assets,
    )


def record_of(entry: AlgorithmEntry, checkpoints: Sequence[Checkpoint] = ()) -> AlgorithmRecord:
    """The algorithm as REST shows it, with these checkpoints of its; the same ones always give the same record."""
    latest, about = entry.latest.minor, entry.about
    return AlgorithmRecord(
        algorithm_id=entry.algorithm_id,
        algorithm_name=entry.name,
        algorithm_version=entry.major,
        algorithm_minor_versions=_in_order(entry),
        latest_algorithm_minor_version=latest,
        algorithm_minor_version=latest,
        algorithm_type=about.algorithm_type,
        input_schema=entry.latest.input_schema,
        algorithm_tags=about.tags,
        algorithm_description=about.description,
        supported_devices=about.supported_devices,
        default_device=about.default_device,
        additional_parameters=[shown(one) for one in about.additional_parameters],
        training_parameters=[shown(one) for one in about.training_parameters],
        benchmark_outputs=[shown(one) for one in _readable(about.benchmark_outputs)],
        removable=about.removable,
        exportable=about.exportable,
        checkpoints=[one.checkpoint_id for one in checkpoints],
        storage_metrics=_metrics(entry, checkpoints),
        project=entry.project,
    )


def _readable(outputs: list[Any]) -> list[Parameter]:
    """Entries of an earlier version have them as their pyproject does."""
    return read_declarations(outputs, "benchmark_outputs")[0]


def _metrics(entry: AlgorithmEntry, checkpoints: Sequence[Checkpoint]) -> StorageMetrics:
    """Equal modules, equal sets of assets, and equal contents of checkpoints count once."""
    modules = {version.module: version for version in entry.minors.values()}
    sets = {version.assets: version for version in entry.minors.values()}
    module_bytes = sum(version.module_bytes for version in modules.values())
    learnt = {content for one in checkpoints for content in one.assets.values()}
    sizes = {content: size for one in checkpoints for content, size in one.asset_sizes.items()}
    asset_bytes = sum(version.asset_bytes for version in sets.values()) + sum(sizes.values())
    manifest_bytes = sum(len(one.manifest()) for one in checkpoints)
    times = [*(version.time for version in entry.minors.values()), *(one.created_at for one in checkpoints)]
    return StorageMetrics(
        logical_size_bytes=module_bytes + asset_bytes + manifest_bytes,
        module_bytes=module_bytes,
        asset_bytes=asset_bytes,
        checkpoint_manifest_bytes=manifest_bytes,
        module_count=len(modules),
        asset_count=sum(version.asset_count for version in sets.values()) + len(learnt),
        checkpoint_count=len(checkpoints),
        last_recomputed_at=format_time(max(times)),
    )
