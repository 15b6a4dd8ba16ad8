"""Stored bytes do not change, and where a disk has changed them nobody computes with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.acceptance.support import PLUS_ONE, Api, Footing, algorithm

# Opens every file of its outputs as soon as it is there, and writes to it once it has been posted.
KEEPER = """
def preprocess(self, input_data, args):
    return []

def inference(self, data, args):
    import pathlib, threading
    import numpy as np
    from voxloom.runner.io_schemas import VolumeSchema
    kept, over = {}, threading.Event()
    def watch():
        while not over.is_set():
            for path in (pathlib.Path.cwd().parent / "out").iterdir():
                if path.name not in kept:
                    kept[path.name] = path.open("r+b", buffering=0)
    watching = threading.Thread(target=watch)
    watching.start()
    ids = self.post_data([{"volume": np.zeros((128, 128, 128), np.float32)} for _ in range(3)], VolumeSchema)
    over.set()
    watching.join()
    for file in kept.values():
        file.seek(1_000_000)
        file.write(b"X" * 1000)
    print("wrote to", sorted(kept) and "some")
    return ids

def postprocess(self, data, args):
    return data
"""


def test_an_algorithm_that_keeps_its_output_open_does_not_change_what_was_stored(api: Api) -> None:
    record = api.run(api.deployed(algorithm("keeper", KEEPER)))
    assert "wrote to some" in record["log"], record
    outputs = [api.download(file_id)["volume"] for file_id in record["output_dataset_ids"]]
    assert [np.count_nonzero(output) for output in outputs] == [0, 0, 0]


def test_a_run_on_a_damaged_file_fails_once_and_says_which_file_it_is(
    new_embedded: Callable[..., Footing], volume: NDArray[np.float32]
) -> None:
    # Given a file of which a bit flips while the server is away
    system = new_embedded()
    file_id = system.api().upload(volume=volume)
    system.stop()
    (blob,) = (path for path in (system.folder / "data/objects/objects").rglob("*") if path.is_file())
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)

    # When something is run on it
    api = system.start().api()
    record = api.run(api.deployed(algorithm("plus_one", PLUS_ONE)), [file_id])

    # Then it fails for that, and the logs say so
    error = record["error"]
    assert (record["status"], error["code"], error["type"]) == ("FAILED", "object_damaged", "Damaged")
    told = f"'files/{file_id}' in data-store is damaged"
    assert [told in text for text in (error["message"], record["log"], system.log.read_text())] == [True] * 3
