"""A run's outputs as local files: stacked again where the input was a stack, else as the server keeps them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import RunId, connect, find_run
from voxloom.cli.text import printable, tell
from voxloom.errors import InvalidInput, VoxloomError

if TYPE_CHECKING:
    from voxloom.cli.follow import View
    from voxloom.client import Client
    from voxloom.client._outputs import Progress
    from voxloom.imagemeta import Meta
    from voxloom.models import ExecutionRecord


@dataclass(frozen=True)
class Part:
    """Outputs that belong together, and what to call them."""

    name: str
    ids: list[str]
    stacked: bool


class _NotAlike(Exception):
    """The outputs do not make one array."""


class _OthersMeta(Exception):
    """What is known of the first output's axes and sizes does not hold for all."""


def save(
    ctx: typer.Context,
    run_id: RunId,
    out: Annotated[
        Path,
        typer.Argument(help="A .h5, .npy or .tif file for all of them, as one stack, or a folder.", metavar="OUT"),
    ],
    as_json: AsJson = False,
) -> None:
    """Save the outputs of a run that has COMPLETED."""
    from voxloom.cli.follow import open_view
    from voxloom.client._outputs import describe_end
    from voxloom.models import Status

    check_destination(out)
    with connect(ctx) as client, open_view() as view:
        run = find_run(client, run_id)
        record = run.record()
        if record.status is not Status.COMPLETED:
            raise InvalidInput(f"{printable(describe_end(record))} Only a run that has COMPLETED has outputs.")
        files = run.output_files()
        saved = fetch_outputs(client, record.execution_id, parts_of(files, (), ()), out, view)
        mention_texts(view, record, files)
    if as_json:
        from voxloom.cli.answers import Saved

        show(Saved(execution_id=record.execution_id, saved=[str(path) for path in saved]))
    else:
        tell(saved)


def fetch_outputs(client: Client, run_id: str, parts: Sequence[Part], out: Path, view: View) -> list[Path]:
    """`save_outputs`, which shows how it goes and says what to do where it does not."""
    if not any(part.ids for part in parts):
        view.say(f"Run {run_id} has no output files; `voxloom status {run_id}` shows what its algorithm returned.")
        return []
    try:
        saved = save_outputs(client, parts, out, lambda done, total: view.moved("saving", done, total))
    except (OSError, VoxloomError, KeyboardInterrupt):
        view.say(
            f"Run {run_id} is COMPLETED; its outputs stay on the server. `voxloom save {run_id} OUT` fetches them."
        )
        raise
    if not is_folder(out) and saved != [out]:
        view.say(
            f"The outputs are not one array, which is what {out} could hold: they are in {saved[0].parent} instead."
        )
    return saved


def mention_texts(view: View, record: ExecutionRecord, files: Sequence[str]) -> None:
    if files and (count := len(record.output_dataset_ids) - len(files)):
        view.say(f"{count} of the outputs are texts; `voxloom status {record.execution_id}` shows them.")


def check_destination(out: Path) -> None:
    """Raises InvalidInput for a name that is neither an image file's nor a folder's, before anything is run."""
    from voxloom.imagefiles import require_kind

    if not is_folder(out):
        require_kind(out)
    elif out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file without a suffix we know; name a folder or a .h5, .npy or .tif file.")
    place = next(one for one in (out, *out.absolute().parents) if one.is_dir() or (one != out and one.exists()))
    if not place.is_dir():
        raise InvalidInput(f"{out} cannot be made, as {place} is a file; choose another place.")
    if not os.access(place, os.W_OK):
        raise InvalidInput(f"{out} cannot be made, as you may not write to {place}; choose another place.")


def is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def parts_of(outputs: Sequence[str], counts: Sequence[int | None], inputs: Sequence[Path]) -> list[Part]:
    """Which outputs belong to which input, where their number tells; else each is a part of its own."""
    sizes = [1 if count is None else count for count in counts]
    if sum(sizes) != len(outputs):
        return [Part(f"output_{index}", [one], False) for index, one in enumerate(outputs)]
    parts: list[Part] = []
    at = 0
    for name, size, count in zip(_names(inputs), sizes, counts, strict=True):
        parts.append(Part(name, list(outputs[at : at + size]), count is not None))
        at += size
    return parts


def _names(inputs: Sequence[Path]) -> list[str]:
    """The inputs' names without suffix, numbered where two are the same."""
    stems = [path.stem for path in inputs]
    return [stem if stems.count(stem) == 1 else f"{stem}_{index}" for index, stem in enumerate(stems)]


def save_outputs(client: Client, parts: Sequence[Part], out: Path, moved: Progress) -> list[Path]:
    """Writes the outputs to `out`; what was written.

    A folder gets one .h5 file per part. A file gets everything: the only output as it is, several as one stack; where
    they do not stack, they go into a folder of the same name, so that nothing is lost.
    """
    if not is_folder(out):
        ids = [one for part in parts for one in part.ids]
        return _save_part(client, parts[0] if len(parts) == 1 else Part(out.stem, ids, True), out, moved)
    total, saved, before = sum(len(part.ids) for part in parts), list[Path](), 0
    for part in parts:
        saved += _save_part(client, part, out / f"{part.name}.h5", _from(before, total, moved))
        before += len(part.ids)
    return saved


def _from(before: int, total: int, moved: Progress) -> Progress:
    """What a part tells, as told of the whole."""
    return lambda done, _: moved(before + done, total)


def _save_part(client: Client, part: Part, path: Path, moved: Progress) -> list[Path]:
    try:
        if part.stacked:
            _save_stack(client, part.ids, path, moved)
        else:
            _save_one(client, part.ids[0], path, moved)
    except _NotAlike:
        return _save_apart(client, part.ids, path.with_suffix(""), moved)
    return [path]


def _save_one(client: Client, file_id: str, path: Path, moved: Progress) -> None:
    from voxloom.client._outputs import is_colour
    from voxloom.imagefiles import kind_of, write_image

    if kind_of(path) == "hdf5":
        client.download(file_id, path)
    else:
        name, image, meta = _array(client, file_id)
        write_image(path, image, colour=is_colour(name, image), meta=meta)
    moved(1, 1)


def _save_stack(client: Client, ids: Sequence[str], path: Path, moved: Progress) -> None:
    """One array of all, of which only a few items are in memory at any time."""
    if not ids:
        raise _NotAlike
    name, first, meta = _array(client, ids[0])
    try:
        _write_stack(client, ids, path, moved, (name, first, meta))
    except _OthersMeta:
        _write_stack(client, ids, path, moved, (name, first, None))


def _write_stack(
    client: Client, ids: Sequence[str], path: Path, moved: Progress, begin: tuple[str, Any, Meta | None]
) -> None:
    """`begin`: name, values and meta of the first. Raises _OthersMeta where that does not tell of all."""
    from voxloom.client._outputs import Tally
    from voxloom.client._sio import parallel
    from voxloom.client._sync.files import AT_ONCE
    from voxloom.imagefiles import stack_writer
    from voxloom.imagemeta import follows, stack_of

    name, first, meta = begin
    whole = None if meta is None else stack_of(meta, len(ids))
    with stack_writer(path, (len(ids), *first.shape), first.dtype, name, whole) as target:
        tally = Tally(moved, len(ids))
        target[0] = first
        tally.one_more()

        def fill(index: int) -> None:
            _, item, its = _array(client, ids[index])
            if (item.shape, item.dtype) != (first.shape, first.dtype):
                raise _NotAlike
            if meta is not None and not follows(its, meta, index):
                raise _OthersMeta
            target[index] = item
            tally.one_more()

        parallel(fill, range(1, len(ids)), AT_ONCE)


def _array(client: Client, file_id: str) -> tuple[str, Any, Meta | None]:
    """Name, values and meta of the only dataset of a file."""
    from voxloom.client._outputs import sole_array

    datasets = client.download(file_id)
    sole = None if isinstance(datasets, Path) else sole_array(datasets)
    if sole is None:
        raise _NotAlike
    return *sole, getattr(datasets, "metas", {}).get(sole[0])


def _save_apart(client: Client, ids: Sequence[str], folder: Path, moved: Progress) -> list[Path]:
    paths = client.download_many(ids, folder)
    moved(len(ids), len(ids))
    return paths
