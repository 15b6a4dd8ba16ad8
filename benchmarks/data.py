"""Data: how fast bytes go in and out, and what a run adds to reading, computing and writing.

Each figure and its yardstick are measured in turn, several times over, and the medians are compared: the speed of a
disk swings. Before each measurement the disk is given time to write what earlier ones have left. All that is measured
here makes new files. Ours are on the disk when they are answered for; a yardstick's name says whether its are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.system import STACK_PLUS_ONE, VOLUME_PLUS_ONE, System

MIB = 1 << 20
SIZE = 1 << 30
ROUNDS = 5
AT_ONCE = 8

WITH_ASSET = """
    def load_assets(self):
        self.weights = self.fetch_asset("files/weights.bin").getbuffer()

    def preprocess(self, input_data, args):
        return []

    def inference(self, data, args):
        assert len(self.weights) == 1 << 30
        return data

    def postprocess(self, data, args):
        return data
"""

Contender = Callable[[], Awaitable[float]]
"""Does its work and returns how many seconds of it count."""


async def measure(system: System) -> list[Figure]:
    with tempfile.TemporaryDirectory(dir=system.data.parent) as name:
        folder = Path(name)
        return [
            *await _gigabyte(system, folder),
            *await _volume(system, folder),
            *await _slices(system, folder),
            *await _pictures(system, folder),
            await _asset(system, folder),
        ]


async def in_turn(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> dict[str, float]:
    """The median of the seconds that each takes. The first round is for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            await asyncio.to_thread(os.sync)
            took = await contender()
            if number:
                seconds[name].append(took)
    return {name: median(some) for name, some in seconds.items()}


# --- 1 GiB up and down ------------------------------------------------------------------------------------


async def _gigabyte(system: System, folder: Path) -> list[Figure]:
    source = folder / "big.h5"
    _write(source, volume=np.random.default_rng(0).integers(0, 255, (1024, 1024, 1024), np.uint8))
    await _settle(system)
    memory = system.memory()
    async with _plain(folder) as url:
        took = await in_turn(
            {
                "up": lambda: _up_and_away(system, source),
                "up, fsync": lambda: _up_and_away_plain(system.http, url, source, "?fsync=1"),
                "up, no fsync": lambda: _up_and_away_plain(system.http, url, source),
                **await _downloads(system, url, source),
            }
        )
    growth = (system.peak_memory() - memory) / MIB
    speed = {name: SIZE / MIB / seconds for name, seconds in took.items()}
    synced, cached, plain_down = speed["up, fsync"], speed["up, no fsync"], speed["down, plain"]
    return [
        Figure("upload of 1 GiB, on disk", speed["up"], "MB/s", 0.7 * synced, False, "plain aiohttp, fsync", synced),
        Figure("the same, beside one that does not wait for the disk", speed["up"], "MB/s", 0.7 * cached, False,
               "plain aiohttp, no fsync", cached),
        Figure("download of 1 GiB", speed["down"], "MB/s", 0.7 * plain_down, False, "plain aiohttp, sendfile",
               plain_down),
        Figure("growth of the server's memory meanwhile", growth, "MiB", 64),
    ]  # fmt: skip


async def _settle(system: System) -> None:
    """Lets the server do everything once that it remembers afterwards."""
    small = system.data.parent / "small.h5"
    _write(small, image=np.zeros((64, 64)))
    file_id = await _upload(system, small)
    await _download(system.http, f"{system.url}/api/v0/files/{file_id}")
    system.forget_peak()


async def _up_and_away(system: System, source: Path) -> float:
    begun = time.perf_counter()
    file_id = await _upload(system, source)
    took = time.perf_counter() - begun
    await _delete(system.http, f"{system.url}/api/v0/files/{file_id}")
    return took


async def _up_and_away_plain(http: aiohttp.ClientSession, url: str, source: Path, query: str = "") -> float:
    begun = time.perf_counter()
    name = await _put_plain(http, url, source, query)
    took = time.perf_counter() - begun
    await _delete(http, url + name)
    return took


async def _downloads(system: System, url: str, source: Path) -> dict[str, Contender]:
    ours = f"{system.url}/api/v0/files/{await _upload(system, source)}"
    plain = url + await _put_plain(system.http, url, source)
    return {"down": lambda: _download(system.http, ours), "down, plain": lambda: _download(system.http, plain)}


async def _put_plain(http: aiohttp.ClientSession, url: str, source: Path, query: str = "") -> str:
    async with http.put(url + query, data=_pieces(source), headers=_length(source)) as answer:
        assert answer.status == 200
        return await answer.text()


@contextlib.asynccontextmanager
async def _plain(folder: Path) -> AsyncIterator[str]:
    """The address of a server that does nothing else, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.plain", str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


# --- runs with data ---------------------------------------------------------------------------------------


async def _volume(system: System, folder: Path) -> list[Figure]:
    data = np.random.default_rng(0).random((256, 256, 256), dtype=np.float32)
    algorithm = await system.deploy("volume_plus_one", VOLUME_PLUS_ONE)
    source = folder / "volume.h5"
    _write(source, volume=data)
    file_id = await _upload(system, source)
    numbers = count()

    def plain(*, sync: bool) -> None:
        with h5py.File(source) as file:
            volume = file["volume"][()]
        target = folder / f"plus{next(numbers)}.h5"
        _write(target, volume=volume + 1)
        if sync:
            _sync(target)

    took = await in_turn(
        {
            "ours": lambda: _timed(system.run(algorithm, [file_id])),
            "fsync": lambda: _timed(asyncio.to_thread(plain, sync=True)),
            "no fsync": lambda: _timed(asyncio.to_thread(plain, sync=False)),
        },
        2 * ROUNDS,
    )
    name, ms = "256³ float32 + 1, execute", {key: seconds * 1e3 for key, seconds in took.items()}
    return [
        Figure(name, ms["ours"], "ms", 1.5 * ms[how], True, f"h5py in one process, {how}", ms[how])
        for how in ("fsync", "no fsync")
    ]


async def _slices(system: System, folder: Path, number: int = 256, side: int = 2048) -> list[Figure]:
    rng = np.random.default_rng(0)
    algorithm = await system.deploy("stack_plus_one", STACK_PLUS_ONE, base="Image2ImageRunner")
    sources = [folder / f"slice{at}.h5" for at in range(number)]
    for path in sources:
        _write(path, image=rng.integers(0, 60000, (side, side), np.uint16))

    async def ours() -> float:
        begun = time.perf_counter()
        uploads = await _bounded([_upload(system, path) for path in sources])
        record = await system.run(algorithm, uploads)
        urls = [f"{system.url}/api/v0/files/{file_id}" for file_id in record["output_dataset_ids"]]
        await _bounded([_download(system.http, url) for url in urls])
        took = time.perf_counter() - begun
        files = [*uploads, *record["output_dataset_ids"]]
        await _bounded([_delete(system.http, f"{system.url}/api/v0/files/{file_id}") for file_id in files])
        return took

    def plain(*, sync: bool) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            begun = time.perf_counter()
            stack = np.stack([_read(path, "image") for path in sources]) + 1
            targets = [Path(name) / f"{at}.h5" for at in range(number)]
            for target, image in zip(targets, stack, strict=True):
                _write(target, image=image)
                if sync:
                    _sync(target)
            return time.perf_counter() - begun

    took = await in_turn(
        {
            "ours": ours,
            "fsync": lambda: asyncio.to_thread(plain, sync=True),
            "no fsync": lambda: asyncio.to_thread(plain, sync=False),
        },
        3,
    )
    name = "256 slices of 2048² uint16: up, + 1, down"
    return [
        Figure(name, took["ours"], "s", 2.5 * took[how], True, f"h5py in one process, {how}", took[how])
        for how in ("fsync", "no fsync")
    ]


async def _pictures(system: System, folder: Path, side: int = 512, chunk: int = 64) -> list[Figure]:
    """Slices that no request has asked for before, of a volume that is in the page cache."""
    source = folder / "chunked.h5"
    data = np.random.default_rng(0).random((side, side, side), dtype=np.float32)
    with h5py.File(source, "w") as file:
        file.create_dataset("volume", data=data, chunks=(chunk, chunk, chunk))
    url = f"{system.url}/api/v1/files/{await _upload(system, source)}/slice"

    def plain(axis: int, index: int) -> None:
        with h5py.File(source) as file:
            np.asarray(file["volume"][(slice(None),) * axis + (index,)])

    figures = []
    for axis in range(3):
        at = range(7, side, side // 40)
        ours = [await _download(system.http, f"{url}?axis={axis}&index={index}") for index in at]
        beside = [await _timed(asyncio.to_thread(plain, axis, index)) for index in at]
        name = f"slice of {side}³ float32 in chunks of {chunk}³ as PNG, axis {axis}, p95"
        slowest, yardstick = quantiles(ours, n=20)[-1] * 1e3, quantiles(beside, n=20)[-1] * 1e3
        figures.append(Figure(name, slowest, "ms", 100, True, "h5py in one process, no PNG", yardstick))
    return figures


async def _asset(system: System, folder: Path) -> Figure:
    """Of an algorithm that was just deployed: nothing of it is on the worker, and no process of it runs."""
    weights = folder / "weights.bin"
    weights.write_bytes(np.random.default_rng(0).bytes(SIZE))
    numbers = count()

    async def cold() -> float:
        algorithm = await system.deploy(f"with_asset{next(numbers)}", WITH_ASSET, files={"files/weights.bin": weights})
        await asyncio.to_thread(os.sync)
        return await _timed(system.run(algorithm))

    def plain() -> None:
        weights.read_bytes()

    took = await in_turn({"cold": cold, "read": lambda: _timed(asyncio.to_thread(plain))}, 3)
    name = "cold start with an asset of 1 GiB → COMPLETED"
    return Figure(name, took["cold"], "s", 2.0, True, "reading the file into memory", took["read"])


# --- the means --------------------------------------------------------------------------------------------


async def _bounded(work: list[Any]) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(task: Any) -> Any:
        async with gate:
            return await task

    return await asyncio.gather(*(one(task) for task in work))


async def _upload(system: System, path: Path) -> str:
    return await system.upload(_pieces(path), headers=_length(path))


def _length(path: Path) -> dict[str, str]:
    return {"Content-Length": str(path.stat().st_size)}


async def _download(http: aiohttp.ClientSession, url: str) -> float:
    begun = time.perf_counter()
    async with http.get(url) as answer:
        assert answer.status == 200
        async for _ in answer.content.iter_any():
            pass
    return time.perf_counter() - begun


async def _delete(http: aiohttp.ClientSession, url: str) -> None:
    async with http.delete(url) as answer:
        assert answer.status == 200


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            yield piece


async def _timed(work: Awaitable[Any]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _write(path: Path, **datasets: NDArray[Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _read(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path) as file:
        return np.asarray(file[name][()])
