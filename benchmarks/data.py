"""Data: how fast bytes go in and out, and what a run adds to reading, computing and writing."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.system import STACK_PLUS_ONE, VOLUME_PLUS_ONE, System

MIB = 1 << 20
SIZE = 1 << 30
ROUNDS = 3


async def measure(system: System) -> list[Figure]:
    with tempfile.TemporaryDirectory(dir=system.data.parent) as name:
        folder = Path(name)
        return [*await _gigabyte(system, folder), await _volume(system, folder), await _slices(system, folder)]


async def _gigabyte(system: System, folder: Path) -> list[Figure]:
    source = folder / "big.h5"
    _write(source, volume=np.random.default_rng(0).integers(0, 255, (1024, 1024, 1024), np.uint8))
    memory = system.memory()
    ups, downs = [], []
    file_id = ""
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        file_id = await system.upload(_pieces(source))
        ups.append(time.perf_counter() - begun)
        downs.append(await _download(system.http, f"{system.url}/api/v0/files/{file_id}"))
    growth = (system.peak_memory() - memory) / MIB
    plain_up, plain_down = await _plain(source, folder)
    up, down = SIZE / MIB / min(ups), SIZE / MIB / min(downs)
    return [
        Figure("upload of 1 GiB", up, "MB/s", 0.7 * plain_up, False, "plain aiohttp to disk", plain_up),
        Figure("download of 1 GiB", down, "MB/s", 0.7 * plain_down, False, "plain aiohttp from disk", plain_down),
        Figure("growth of the server's memory meanwhile", growth, "MiB", 64),
    ]


async def _plain(source: Path, folder: Path) -> tuple[float, float]:
    """MB/s up and down of a server that does nothing else, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        "python", "-m", "benchmarks.plain", str(folder / "plain.bin"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    ups, downs = [], []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            async with http.put(url, data=_pieces(source)) as answer:
                assert answer.status == 200
            ups.append(time.perf_counter() - begun)
            downs.append(await _download(http, url))
    process.terminate()
    await process.wait()
    return SIZE / MIB / min(ups), SIZE / MIB / min(downs)


async def _volume(system: System, folder: Path) -> Figure:
    data = np.random.default_rng(0).random((256, 256, 256), dtype=np.float32)
    algorithm = await system.deploy("volume_plus_one", VOLUME_PLUS_ONE)
    source, target = folder / "volume.h5", folder / "plus.h5"
    _write(source, volume=data)
    file_id = await system.upload(_pieces(source))
    await system.run(algorithm, [file_id])
    ours = [await _timed(system.run(algorithm, [file_id])) for _ in range(5)]

    def plain() -> None:
        with h5py.File(source) as file:
            volume = file["volume"][()]
        _write(target, volume=volume + 1)

    alone = [_timed_call(plain) for _ in range(5)]
    return Figure(
        "256³ float32 + 1, execute", min(ours) * 1e3, "ms", 1.5 * min(alone) * 1e3, True,
        "h5py in one process", min(alone) * 1e3,
    )  # fmt: skip


async def _slices(system: System, folder: Path, count: int = 256, side: int = 2048) -> Figure:
    rng = np.random.default_rng(0)
    algorithm = await system.deploy("stack_plus_one", STACK_PLUS_ONE, base="Image2ImageRunner")
    sources = [folder / f"slice{number}.h5" for number in range(count)]
    for path in sources:
        _write(path, image=rng.integers(0, 60000, (side, side), np.uint16))
    await system.run(algorithm, [await system.upload(_pieces(sources[0]))])

    async def everything() -> None:
        uploads = await _bounded(system.upload(_pieces(path)) for path in sources)
        record = await system.run(algorithm, uploads)
        urls = [f"{system.url}/api/v0/files/{file_id}" for file_id in record["output_dataset_ids"]]
        await _bounded(_download(system.http, url) for url in urls)

    def plain() -> None:
        stack = np.stack([_read(path, "image") for path in sources]) + 1
        for number, image in enumerate(stack):
            _write(folder / f"out{number}.h5", image=image)

    ours, alone = await _timed(everything()), _timed_call(plain)
    return Figure(
        "256 slices of 2048² uint16: up, + 1, down", ours, "s", 2.5 * alone, True, "h5py in one process", alone
    )


async def _bounded(work: Any, at_once: int = 8) -> list[Any]:
    gate = asyncio.Semaphore(at_once)

    async def one(task: Any) -> Any:
        async with gate:
            return await task

    return await asyncio.gather(*(one(task) for task in work))


async def _download(http: aiohttp.ClientSession, url: str) -> float:
    begun = time.perf_counter()
    async with http.get(url) as answer:
        assert answer.status == 200
        async for _ in answer.content.iter_chunked(MIB):
            pass
    return time.perf_counter() - begun


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


async def _timed(work: Any) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _timed_call(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _write(path: Path, **datasets: NDArray[Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data


def _read(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path) as file:
        return np.asarray(file[name][()])
