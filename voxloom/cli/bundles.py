"""`voxloom bundle`: algorithms in one file, to hand them to somebody."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxloom.cli.json_output import AsJson, show
from voxloom.cli.session import connect
from voxloom.cli.text import printable, show_table
from voxloom.errors import InvalidInput, Unavailable, VoxloomError

if TYPE_CHECKING:
    from voxloom.bundles import Item, Keys, Packed
    from voxloom.client import Client

KeyFile = Annotated[Path | None, typer.Option("--key-file", help="The file with the key.", show_default=False)]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase.", show_default=False)
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.", show_default=False)]

bundle = typer.Typer(no_args_is_help=True, help="Put algorithms into one file, look into it, put them on a server.")


def _warn(text: str) -> None:
    typer.echo(f"Warning: {printable(text)}", err=True)


def _keys(key_file: Path | None, passphrase_file: Path | None, *, least: int = 1) -> Keys:
    from voxloom.bundles import read_keys

    return read_keys(key_file, passphrase_file, _warn, least=least)


@bundle.command()
def keygen(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a key, in a file that only you can read."""
    from voxloom.bundles import make_key_file

    make_key_file(path)
    if as_json:
        from voxloom.cli.answers import FileMade

        show(FileMade(file=str(path)))
        return
    typer.echo(f"Made {path}. Whoever has it can open what is encrypted with it; without it nobody can.")


@bundle.command()
def build(
    out: Annotated[Path, typer.Argument(metavar="OUT.vxb", help="The bundle to write.", show_default=False)],
    sources: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Algorithms: folders or zips.", show_default=False)
    ],
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Put algorithms into one file; with a key or a passphrase, it is encrypted."""
    from voxloom import bundles
    from voxloom.bundles.keys import LEAST_PASSPHRASE

    if key_file and passphrase_file:
        raise InvalidInput("A bundle has a key or a passphrase; give one of the two files.")
    keys = _keys(key_file, passphrase_file, least=LEAST_PASSPHRASE)
    packed = bundles.build(out, sources, keys.key or keys.passphrase)
    for one in packed:
        for warning in one.warnings:
            _warn(f"{one.name}: {warning}")
    if as_json:
        from voxloom.cli.answers import BundleMade

        show(BundleMade(file=str(out), encrypted=bool(key_file or passphrase_file), algorithms=list(packed)))
        return
    names = ", ".join(f"{one.name} {one.version}" for one in packed)
    typer.echo(printable(f"Made {out} with {names}{'' if key_file or passphrase_file else ', not encrypted'}."))


@bundle.command()
def inspect(
    file: File, key_file: KeyFile = None, passphrase_file: PassphraseFile = None, as_json: AsJson = False
) -> None:
    """Read a bundle to its end, and show what is in it."""
    from voxloom.bundles import open_bundle, protection_of
    from voxloom.bundles.keys import locked

    keys, protection = _keys(key_file, passphrase_file), protection_of(file)
    about = {"bytes": file.stat().st_size, "protection": protection.name.lower(), "algorithms": None}
    try:
        keys.for_(protection)
    except InvalidInput:
        said = printable(f"{file} {locked(protection)}; what is in it cannot be seen without.")
        typer.echo(json.dumps(about, indent=2) if as_json else said)
        return
    with open_bundle(file, keys) as opened, tempfile.TemporaryDirectory(prefix="voxloom-") as folder:
        items = list(opened.items(Path(folder)))
    if as_json:
        typer.echo(json.dumps({**about, "algorithms": [_as_json(one) for one in items]}, indent=2))
        return
    heads = ("ALGORITHM", "VERSION", "TYPE", "FILES", "BYTES", "MODULE", "ASSETS")
    show_table(heads, [_row(one) for one in items], flexible="ALGORITHM")


def _as_json(item: Item) -> dict[str, object]:
    if item.packed is None:
        return {"error": str(item.fault)}
    return item.packed.model_dump(mode="json")


def _row(item: Item) -> tuple[str, ...]:
    one = item.packed
    if one is None:
        return (f"cannot be used: {item.fault}", *[""] * 6)
    return (one.name, one.version, one.algorithm_type, str(one.files), str(one.bytes), one.module[:16], one.assets[:16])


@bundle.command("import")
def import_(
    ctx: typer.Context,
    file: File,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a bundle's algorithms on the server; what it has already stays as it is."""
    from voxloom.bundles import open_bundle

    outcomes: list[dict[str, str]] = []
    failed = True
    try:
        with open_bundle(file, _keys(key_file, passphrase_file)) as opened, connect(ctx) as client:
            opened.check()  # Nothing is deployed of what is damaged further behind.
            with tempfile.TemporaryDirectory(prefix="voxloom-") as folder:
                for item in opened.items(Path(folder)):
                    outcomes.append(_deploy(client, item))  # noqa: PERF401 - what came before an error is shown
        failed = False
    except VoxloomError as error:
        error.details["outcomes"] = outcomes
        raise
    finally:
        if not (failed and as_json):  # then the problem has it
            _show(outcomes, as_json=as_json)
    if any(one["outcome"] == "refused" for one in outcomes):
        raise typer.Exit(1)


def _deploy(client: Client, item: Item) -> dict[str, str]:
    if item.packed is None:
        return _outcome(f"number {item.number + 1}", "", "refused", "", str(item.fault))
    packed: Packed = item.packed
    try:
        record = client.deploy(item.archive, merge=True)
    except Unavailable:
        raise
    except VoxloomError as error:
        return _outcome(packed.name, packed.version, "refused", "", error.message)
    if record.algorithm_id is None:
        return _outcome(packed.name, packed.version, "goes on", "", f"the deploy is {record.deploy_id}")
    version = f"{record.algorithm_major_version}.{record.algorithm_minor_version}"
    outcome = "there already" if record.changed is False else "added"
    return _outcome(packed.name, version, outcome, record.algorithm_id, "")


def _outcome(name: str, version: str, outcome: str, algorithm_id: str, why: str) -> dict[str, str]:
    return {"algorithm": name, "version": version, "outcome": outcome, "algorithm_id": algorithm_id, "why": why}


def _show(outcomes: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcomes, indent=2))
    elif outcomes:
        rows = [tuple(" ".join(value.split()) for value in one.values()) for one in outcomes]
        show_table(("ALGORITHM", "VERSION", "OUTCOME", "ID", "WHY"), rows, flexible="WHY")
