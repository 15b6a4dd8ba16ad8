"""`voxloom new`, `check` and `debug`: algorithms on this machine, without a server."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.text import printable

if TYPE_CHECKING:
    from voxloom.client._inputs import Wanted
    from voxloom.manifest import Manifest
    from voxloom.testing import Outputs


Axes = Annotated[
    str | None, typer.Option(help="The axes of .tif and .npy inputs where they do not say: zyx, syx (colours).")
]


class Kind(StrEnum):
    """As `models.AlgorithmType`."""

    Image2Image = "Image2Image"
    Image2Segmentation = "Image2Segmentation"
    Image2MultiRegionSegmentation = "Image2MultiRegionSegmentation"
    Image2Alignment = "Image2Alignment"
    Image2Embedding = "Image2Embedding"
    Segmentation2Segmentation = "Segmentation2Segmentation"
    Generic = "Generic"
    Undefined = "Undefined"


def new(
    name: Annotated[str, typer.Argument(help="The algorithm's name, and its folder's.", show_default=False)],
    kind: Annotated[Kind, typer.Option("--type", help="What it takes and gives.")] = Kind.Image2Image,
    trainable: Annotated[bool, typer.Option("--trainable", help="It can learn, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a new algorithm, which deploys as it is and passes its own test."""
    from voxloom.errors import InvalidInput
    from voxloom.templates import files_of

    files = files_of(name, kind.value, trainable=trainable)
    folder = Path(name)
    try:
        folder.mkdir()
    except FileExistsError:
        raise InvalidInput(
            f"There is a {name} here already; choose another name, or another folder to be in."
        ) from None
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    if as_json:
        from voxloom.cli.answers import Made

        show(Made(name=name, algorithm_type=kind.value, folder=str(folder), files=list(files)))
        return
    typer.echo(f"Made {name}/ with {', '.join(files)}.")
    typer.echo(f"Next: cd {name}; python -m unittest; voxloom deploy .")


def check(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|ZIP", help="An algorithm.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say what a deploy would say: whether it can be read and imported, and what to mend."""
    from voxloom.checking import check as look
    from voxloom.errors import InvalidInput

    try:
        manifest = look(source, warn=lambda text: typer.echo(f"Warning: {printable(text)}", err=True))
    except InvalidInput as error:
        raise InvalidInput(printable(error.message), code=error.code) from None
    if as_json:
        from voxloom.cli.answers import Checked

        version, warnings = f"{manifest.major}.{manifest.minor}", manifest.warnings
        show(Checked(name=manifest.name, version=version, algorithm_type=manifest.algorithm_type, warnings=warnings))
        return
    told = f"{manifest.name} {manifest.major}.{manifest.minor} ({manifest.algorithm_type})"
    typer.echo(f"{printable(told)} can be deployed.")


def debug(
    folder: Annotated[Path, typer.Argument(help="An algorithm's folder.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Inputs: .h5, .npy or .tif.", show_default=False)
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A folder for the outputs.")] = None,
    device: Annotated[str, typer.Option(help="What `self.device` says.")] = "cpu",
    dataset: Annotated[
        str | None, typer.Option(help="The dataset to take from .h5 inputs; else what to call .npy and .tif.")
    ] = None,
    axes: Axes = None,
    as_json: AsJson = False,
) -> None:
    """Run an algorithm in this process on local files, without a server: breakpoints and profilers work.

    Files are taken apart as `voxloom run` does it: a volume for an Image2... algorithm slice by slice.
    """
    from voxloom import testing
    from voxloom.cli.values import parse_parameters
    from voxloom.client._inputs import Wanted
    from voxloom.errors import InvalidInput
    from voxloom.imagefiles import kind_of
    from voxloom.manifest import read_folder

    if not (folder / "Runner.py").is_file():
        raise InvalidInput(f"There is no Runner.py in {folder}; name the folder of an algorithm.")
    if out is not None and not out.is_dir() and kind_of(out) is not None:
        raise InvalidInput(f"-o takes a folder here, and {out} is the name of a file; outputs become OUT/0.h5, …")
    manifest = read_folder(folder) if (folder / "pyproject.toml").is_file() else None
    args = parse_parameters(parameter or [], manifest.additional_parameters if manifest else [])
    with _told_of_its_errors(folder):
        wanted = Wanted(_kind_of(folder, manifest), dataset, axes)
    # What the algorithm prints must not stand among the JSON.
    printed = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="voxloom-debug-") as scratch, printed, _told_of_its_errors(folder):
        outputs = testing.run(folder, _as_sent(list(files or []), wanted, Path(scratch)), args, device=device)
    saved = _save(outputs, out)
    if as_json:
        _show(outputs, saved)
        return
    for level, text in outputs.log:
        typer.echo(printable(f"{level} {text}"), err=True)
    _tell(outputs)


@contextlib.contextmanager
def _told_of_its_errors(folder: Path) -> Iterator[None]:
    """What an algorithm raises is told as in the log of its run: with the lines of its own files."""
    from voxloom.errors import RunFailed, VoxloomError
    from voxloom.runner.output import author_traceback

    try:
        yield
    except VoxloomError:
        raise
    except Exception as error:
        home = str(folder.resolve())
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, OSError) and not any(frame.filename.startswith(home) for frame in frames):
            raise  # one of ours, such as a full disk
        trace = author_traceback(error, home)
        raise RunFailed(f"The algorithm has failed.\n{printable(trace)}", code="algorithm_error") from error


def _kind_of(folder: Path, manifest: Manifest | None) -> str:
    """What the manifest says, or else the class."""
    from voxloom import testing

    if manifest is not None and manifest.algorithm_type != Kind.Undefined.value:
        return manifest.algorithm_type
    with testing.imported(folder) as runner:
        return runner.algorithm_type


def _as_sent(files: list[Path], wanted: Wanted, scratch: Path) -> list[Path]:
    """HDF5 files as `voxloom run` would send them."""
    from voxloom.client._inputs import Item, WholeFile, as_list, plan_inputs
    from voxloom.imagefiles import read_item, write_datasets

    sent: list[Path] = []
    with plan_inputs(as_list(files), wanted) as plan:
        for number, upload in enumerate(plan.uploads):
            if isinstance(upload, WholeFile):
                sent.append(upload.path)
            elif isinstance(upload, Item):
                metas = {} if (meta := upload.meta) is None else {upload.dataset: meta}
                sent.append(scratch / f"{number}.h5")
                write_datasets(sent[-1], {upload.dataset: read_item(upload.source, upload.index)}, metas)
    return sent


def _save(outputs: Outputs, out: Path | None) -> list[Path]:
    """One file for each; none without a folder for them."""
    from voxloom.imagefiles import write_datasets

    if out is None:
        return []
    out.mkdir(parents=True, exist_ok=True)
    places = [out / f"{number}.h5" for number in range(len(outputs))]
    for place, output in zip(places, outputs, strict=True):
        write_datasets(place, output)
    return places


def _show(outputs: Outputs, saved: Sequence[Path]) -> None:
    from voxloom.cli.answers import Array, Debugged, DebugOutput, LogEntry

    places: list[str | None] = [str(path) for path in saved]
    places += [None] * (len(outputs) - len(saved))
    told = [
        DebugOutput(
            datasets={
                name: Array(dtype=str(value.dtype), shape=list(value.shape))
                if hasattr(value, "shape")
                else repr(value)[:80]
                for name, value in output.items()
            },
            file=place,
        )
        for output, place in zip(outputs, places, strict=True)
    ]
    log = [LogEntry(level=level, text=text) for level, text in outputs.log]
    show(Debugged(outputs=told, ids=outputs.ids, log=log))


def _tell(outputs: Outputs) -> None:
    for number, output in enumerate(outputs):
        typer.echo(f"output {number}: " + ", ".join(f"{name} {_shape(value)}" for name, value in output.items()))
    if not outputs:
        typer.echo(f"outputs: {outputs.ids}")


def _shape(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if hasattr(value, "shape") else repr(value)[:80]
