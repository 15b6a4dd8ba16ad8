"""Processes that use an S3 store until they are done or killed.

python -m tests.contract.s3_process check-out|stream-in|move-in|fetch URL FOLDER NUMBER
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from shared.objects.base import CHUNK, FileUpload
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import DATA

KEY = "k"
ONE_BUCKET = "layout=bucket"
"""It is opened the quickest."""
S3_KEY = f"{DATA}/{KEY}"
"""What the key is in one bucket."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def check_out(store: S3ObjectStore, folder: Path, tasks: int) -> None:
    """Once it is told to: checks the object out, so many times at once, and says where to."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    targets = [folder / f"target-{os.getpid()}-{number}" for number in range(tasks)]
    await asyncio.gather(*(store.checkout(DATA, KEY, target) for target in targets))
    for target in targets:
        say(str(target))


async def stream_in(store: S3ObjectStore, folder: Path, size: int) -> None:
    await store.put_stream(DATA, KEY, _pieces(size))


async def move_in(store: S3ObjectStore, folder: Path, size: int) -> None:
    path = store.scratch / "file"
    with path.open("wb") as file:
        file.truncate(size)
    await store.put_files(DATA, [FileUpload(KEY, path)])


async def fetch(store: S3ObjectStore, folder: Path, size: int) -> None:
    """The object's bytes come into a file and as a stream."""
    info = await store.checkout(DATA, KEY, folder / "target")
    got = sum([len(piece) async for piece in store.stream(DATA, KEY)])
    assert info.size == got == size


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for at in range(0, size, CHUNK):
        yield bytes(min(CHUNK, size - at))
        await asyncio.sleep(0)


def memory(name: str) -> int:
    """Bytes: VmRSS are those of now, VmHWM those there were at most."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


async def main(what: str, url: str, folder: Path, number: int) -> None:
    """Says at the end by how many bytes the process has grown at most."""
    works = {"check-out": check_out, "stream-in": stream_in, "move-in": move_in, "fetch": fetch}
    store = S3ObjectStore(S3Place.from_url(url), folder)
    await store.open()
    before = memory("VmRSS")
    await works[what](store, folder, number)
    say(str(memory("VmHWM") - before))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
