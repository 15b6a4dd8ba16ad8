"""A process that writes objects of all kinds into a store without end, and says so of each that is stored.

python -m tests.contract.store_writer FOLDER
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from itertools import count
from pathlib import Path

from shared.objects.base import FileUpload
from shared.objects.local import LocalObjectStore
from tests.contract.object_store_behaviour import pieces


def acknowledge(collection: str, key: str, data: bytes) -> None:
    sys.stdout.write(f"{collection} {key} {hashlib.sha256(data).hexdigest()}\n")
    sys.stdout.flush()


async def write_records(store: LocalObjectStore) -> None:
    for number in count():
        data = os.urandom(500)
        await store.put("execution-store", f"r{number}", data)
        acknowledge("execution-store", f"r{number}", data)
        await asyncio.sleep(0.005)


async def write_streams(store: LocalObjectStore) -> None:
    for number in count():
        data = os.urandom(3_000_000)
        await store.put_stream("data-store", f"s{number}", pieces(data))
        acknowledge("data-store", f"s{number}", data)


async def write_files(store: LocalObjectStore) -> None:
    for number in count():
        data = os.urandom(100_000)
        paths = [store.scratch / f"{number}-{part}" for part in range(3)]
        for path in paths:
            path.write_bytes(data)
        await store.put_files("data-store", [FileUpload(f"f{path.name}", path) for path in paths])
        for path in paths:
            acknowledge("data-store", f"f{path.name}", data)


async def replace_again_and_again(store: LocalObjectStore) -> None:
    for number in count():
        await store.put_stream("data-store", "replaced", pieces(os.urandom(10_000 + number % 100)))


async def main(folder: Path) -> None:
    store = LocalObjectStore(folder)
    await store.open()
    await asyncio.gather(write_records(store), write_streams(store), write_files(store), replace_again_and_again(store))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
