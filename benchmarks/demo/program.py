"""Starts Voxloom, deploys both algorithms that ship, denoises a stack of micrographs, segments what came out, leaves
the results and a picture in demo-output/, and shuts the server down.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.demo.data import micrograph_stack, stack_from
from benchmarks.demo.picture import rows_to_show, side_by_side
from benchmarks.demo.server import STOP_SIGNALS, ServerTrouble, running_server
from voxloom import Client
from voxloom.client import LogUpdate, ProgressUpdate, Run, StatusUpdate
from voxloom.errors import VoxloomError
from voxloom.imagefiles import Array, write_datasets

ALGORITHMS = Path(__file__).parents[2] / "algorithms"
DENOISE: dict[str, Any] = {"sigma": 1.5}
SEGMENT: dict[str, Any] = {"method": "otsu", "per_slice": False, "min_size": 64}
LOG_LINES_SHOWN = 12

console = Console(highlight=False)


@dataclass(frozen=True)
class Results:
    denoised: Array
    masks: Array


class Steps:
    """What was done, and how long each step took."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.add(name, time.monotonic() - begun)

    def add(self, name: str, seconds: float) -> None:
        self._seconds[name] = seconds

    def table(self) -> Table:
        table = Table("step", box=None, header_style="bold")
        table.add_column("seconds", justify="right")
        for name, seconds in self._seconds.items():
            table.add_row(name, f"{seconds:.2f}")
        table.add_row("all", f"{sum(self._seconds.values()):.2f}", style="bold")
        return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.demo", description="Run both ready-made algorithms on a stack."
    )
    parser.add_argument("--data", type=Path, help="a .h5, .npy or .tif file with an image (H, W) or a stack (N, H, W)")
    parser.add_argument("--dataset", help="which one to take, where a .h5 file has several")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for results")
    options = parser.parse_args(arguments)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupted)
    try:
        _demo(options.data, options.dataset, options.output)
    except (VoxloomError, ServerTrouble, OSError) as error:
        console.print(_sentence_of(error), style="red", markup=False, soft_wrap=True)
        return 1
    except Interrupted as interruption:
        console.print("Interrupted; the server is shut down.")
        return 128 + interruption.number
    return 0


def _sentence_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error)


class Interrupted(BaseException):
    """A signal asked this program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _demo(data: Path | None, dataset: str | None, output: Path) -> None:
    stack = micrograph_stack() if data is None else stack_from(data, dataset)
    output.mkdir(parents=True, exist_ok=True)
    _say(f"{len(stack)} slices of {stack.shape[1]} x {stack.shape[2]} pixels, {stack.dtype}, from {_origin(data)}")
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="voxloom-demo-") as folder:
        results = _on_a_server(stack, Path(folder), output / "server.log", steps)
    with steps.step("write results"):
        _write(stack, results, output)
    console.print()
    console.print(steps.table())
    _say(f"\nThe results are in {output}/: gaussian_denoise.h5, threshold_segmentation.h5, side-by-side.png")


def _origin(data: Path | None) -> str:
    return "a micrograph of colonic glands that scikit-image carries" if data is None else str(data)


def _on_a_server(stack: Array, folder: Path, log: Path, steps: Steps) -> Results:
    begun = time.monotonic()
    with running_server(folder, log, drain=1.0) as server:
        steps.add("start the server", time.monotonic() - begun)
        _say(f"The server is ready at {server.url}")
        with Client(server.url) as client:
            results = _denoise_and_segment(client, stack, steps)
        begun = time.monotonic()
    steps.add("shut the server down", time.monotonic() - begun)
    return results


def _denoise_and_segment(client: Client, stack: Array, steps: Steps) -> Results:
    for folder in ("gaussian_denoise", "threshold_segmentation"):
        with steps.step(f"deploy {folder}"):
            client.deploy(ALGORITHMS / folder)
    with steps.step("gaussian_denoise: upload, submit"):
        denoise = client.submit("gaussian_denoise", stack, DENOISE)
    denoised, file_ids = _finish(denoise, "gaussian_denoise", steps)
    with steps.step("threshold_segmentation: submit"):
        # The outputs of one run are the inputs of the next: by their ids, without leaving the server.
        segment = client.submit("threshold_segmentation", file_ids, SEGMENT)
    masks, _ = _finish(segment, "threshold_segmentation", steps)
    return Results(denoised, masks)


def _finish(run: Run, name: str, steps: Steps) -> tuple[Array, list[str]]:
    """The outputs as one stack, and the ids of their files. Raises RunFailed."""
    with steps.step(f"{name}: run"):
        _follow(run, name)
        record = run.wait()
    with steps.step(f"{name}: download"):
        outputs = run.result()
    return np.stack(outputs), record.output_dataset_ids


def _follow(run: Run, name: str) -> None:
    """Shows the run until it ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    lines = 0
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(f"{name:<22} PENDING  ", total=1.0)
        for update in run.watch():
            match update:
                case StatusUpdate(record=record):
                    bars.update(bar, description=f"{name:<22} {record.status:<9}", completed=record.progress)
                case ProgressUpdate(progress=progress):
                    bars.update(bar, completed=progress)
                case LogUpdate(text=text):
                    lines = _show_log(bars.console, text, lines)


def _show_log(to: Console, text: str, shown: int) -> int:
    """Prints the first lines of a log, so that a long stack does not flood the screen; how many were shown."""
    for line in text.splitlines():
        if shown < LOG_LINES_SHOWN:
            to.print(f"  {line}", style="dim", markup=False, soft_wrap=True)
        shown += 1
    return shown


def _write(stack: Array, results: Results, output: Path) -> None:
    write_datasets(output / "gaussian_denoise.h5", {"image": results.denoised})
    write_datasets(output / "threshold_segmentation.h5", {"mask": results.masks})
    columns = {"input": stack, "gaussian_denoise": results.denoised}
    picture = side_by_side(columns, (stack, results.masks), rows_to_show(len(stack)))
    picture.save(output / "side-by-side.png")


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
