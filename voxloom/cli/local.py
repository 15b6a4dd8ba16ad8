"""`voxloom new`, `check` and `debug`: algorithms on this machine, without a server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxloom.cli.text import printable

if TYPE_CHECKING:
    from voxloom.testing import Outputs


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
    typer.echo(f"Made {name}/ with {', '.join(files)}.")
    typer.echo(f"Next: cd {name}; pytest; voxloom deploy .")


def check(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|ZIP", help="An algorithm.", show_default=False)],
) -> None:
    """Say what a deploy would say: whether it can be read and imported, and what to mend."""
    from voxloom.checking import check as look
    from voxloom.errors import InvalidInput

    try:
        manifest = look(source, warn=lambda text: typer.echo(f"Warning: {printable(text)}", err=True))
    except InvalidInput as error:
        raise InvalidInput(printable(error.message), code=error.code) from None
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
) -> None:
    """Run an algorithm in this process on local files, without a server: breakpoints and profilers work."""
    from voxloom import testing
    from voxloom.cli.values import parse_parameters
    from voxloom.errors import InvalidInput
    from voxloom.manifest import read_folder

    if not (folder / "Runner.py").is_file():
        raise InvalidInput(f"There is no Runner.py in {folder}; name the folder of an algorithm.")
    declared = read_folder(folder).additional_parameters if (folder / "pyproject.toml").is_file() else []
    args = parse_parameters(parameter or [], declared)
    given = list(files or [])
    outputs = testing.run(folder, given[0] if len(given) == 1 else given, args, device=device)
    for level, text in outputs.log:
        typer.echo(printable(f"{level} {text}"), err=True)
    _tell(outputs, out)


def _tell(outputs: Outputs, out: Path | None) -> None:
    from voxloom.imagefiles import write_datasets

    for number, output in enumerate(outputs):
        typer.echo(f"output {number}: " + ", ".join(f"{name} {_shape(value)}" for name, value in output.items()))
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_datasets(out / f"{number}.h5", output)
    if not outputs:
        typer.echo(f"outputs: {outputs.ids}")


def _shape(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if hasattr(value, "shape") else repr(value)[:80]
