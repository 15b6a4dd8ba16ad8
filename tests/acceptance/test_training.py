"""Trainings: from samples to checkpoints, and what executions and further trainings make of those."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Api, Footing, eventually
from voxloom import Client

# Learns the mean of its images; an execution gives back what was learnt.
LEARNER = """
import time
from pathlib import Path

import numpy as np
from voxloom import Runner as Base
from voxloom.runner import ImageSchema


class Runner(Base):
    def load_assets(self):
        self.learnt = float(self.fetch_asset("files/mean.txt").getvalue())
        assert float((Path(__file__).parent / "files/mean.txt").read_text()) == self.learnt

    def preprocess(self, input_data, args):
        return self.fetch_data(input_data["input_dataset_ids"], ImageSchema)

    def inference(self, data, args):
        return [{"image": np.full_like(item["image"], self.learnt)} for item in data]

    def postprocess(self, data, args):
        return self.post_data(data, ImageSchema)

    def train(self, training_data, args):
        dataset = self.get_training_dataset(training_data)
        local = self.download_dataset_to_temp_store(dataset, {"image": ImageSchema})
        loaded = self.load_dataset_from_temp_store(local)
        images = [item["image"] for sample in loaded for entry in sample for item in entry["image"]]
        mean = float(np.mean([image.mean() for image in images]))
        saved = []
        for epoch in range(args["epochs"]):
            self.set_state({"epoch": epoch, "began_with": np.float32(self.learnt)})
            learnt = {"files/mean.txt": str(mean + epoch).encode()}
            saved.append(self.save_checkpoint(learnt, {"mean": mean, "epoch": epoch}))
            time.sleep(args["pause"])
        for one in saved[:-1] if args["only_last"] else []:
            self.delete_checkpoint(one)

    def benchmark(self, args):
        return {"learnt": np.float64(self.learnt), "args": args}
"""
PYPROJECT = """
[project]
name = "learner"
version = "1.0"

[tool.voxloom]
algorithm_type = "Generic"

[[tool.voxloom.training_parameters]]
name = "epochs"
config = { type = "int", default = 2 }

[[tool.voxloom.training_parameters]]
name = "pause"
config = { type = "float", default = 0.0 }

[[tool.voxloom.training_parameters]]
name = "only_last"
config = { type = "bool", default = false }
"""
Systems = Callable[..., Footing]


def deployed(api: Api) -> str:
    files = {"Runner.py": LEARNER, "pyproject.toml": PYPROJECT, "files/mean.txt": "0"}
    return api.deployed(files)


def sample_of(api: Api, value: float) -> str:
    file_id = api.upload(image=np.full((4, 4), value, np.float32))
    body = {"files": [{"image": [file_id]}], "tags": [" Cells "]}
    return str(posted(api, "sample", body)["sample_id"])


def posted(api: Api, what: str, body: dict[str, Any]) -> Any:
    answer = api.http.post(f"/api/v0/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def got(api: Api, path: str, **query: Any) -> Any:
    answer = api.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def train(api: Api, algorithm_id: str, sample_ids: list[str], **more: Any) -> str:
    body = {"algorithm_id": algorithm_id, "training_data": sample_ids, **more}
    return str(posted(api, "train-algorithm", body)["training_id"])


def end_of(api: Api, training: str) -> Any:
    return api.wait(training, among="trainings")


@pytest.fixture(scope="session")
def learner(system: Footing) -> str:
    return deployed(system.api())


def test_what_a_training_has_learnt_is_what_an_execution_with_its_checkpoint_uses(api: Api, learner: str) -> None:
    # Given a training on two samples
    samples = [sample_of(api, 2.0), sample_of(api, 4.0)]
    record = end_of(api, train(api, learner, samples, tags=["Good"], additional_parameters={"epochs": 2}))
    assert (record["status"], record["training_data"], record["tags"]) == ("COMPLETED", samples, ["Good"]), record[
        "log"
    ]
    assert record["state"] == {"epoch": 1, "began_with": 0.0}
    # When an image goes through the algorithm, with its first checkpoint, and without any
    first, second = record["output_checkpoint_ids"]
    image = api.upload(image=np.zeros((2, 2), np.float32))
    trained, untrained = (
        api.wait(api.execute(learner, [image], checkpoint_id=checkpoint))["output_dataset_ids"][0]
        for checkpoint in (first, None)
    )
    # Then the one gives what was learnt, the other what was there before
    assert [api.download(one)["image"][0, 0] for one in (trained, untrained)] == [3.0, 0.0]
    told = got(api, f"/api/v0/checkpoint/{second}")
    assert (told["training_id"], told["properties"], told["tags"]) == (
        record["training_id"],
        {"mean": 3.0, "epoch": 1},
        ["Good"],
    )


def test_a_training_goes_on_from_a_checkpoint(api: Api, learner: str) -> None:
    sample = sample_of(api, 6.0)
    (checkpoint,) = end_of(api, train(api, learner, [sample], additional_parameters={"epochs": 1}))[
        "output_checkpoint_ids"
    ]
    record = end_of(api, train(api, learner, [sample], checkpoint_id=checkpoint))
    assert (record["state"]["began_with"], record["checkpoint_id"]) == (6.0, checkpoint)
    last = got(api, f"/api/v0/checkpoint/{record['output_checkpoint_ids'][-1]}")
    assert last["parent_checkpoint_id"] == checkpoint


def test_an_algorithm_counts_its_checkpoints_as_long_as_they_are_there(api: Api, learner: str) -> None:
    # Given a training that saves three checkpoints and takes two of them back
    before = got(api, f"/api/v1/algorithms/{learner}")
    facts = {"epochs": 3, "only_last": True}
    record = end_of(api, train(api, learner, [sample_of(api, 1234.0)], additional_parameters=facts))
    (checkpoint,) = record["output_checkpoint_ids"]
    # Then the algorithm tells of one more, and of the bytes of "1236.0"
    told = got(api, f"/api/v1/algorithms/{learner}")
    assert set(told["checkpoints"]) - set(before["checkpoints"]) == {checkpoint}
    assert [grown(told, before, name) for name in ("checkpoint_count", "asset_count", "asset_bytes")] == [1, 1, 6]
    # And when that is deleted, all is as it was
    assert api.http.delete(f"/api/v0/checkpoint/{checkpoint}").status_code == 200
    assert got(api, f"/api/v1/algorithms/{learner}") == before


def grown(after: Any, before: Any, name: str) -> int:
    return int(after["storage_metrics"][name] - before["storage_metrics"][name])


def test_a_stopped_training_keeps_what_it_has_saved_and_can_be_continued(api: Api, learner: str) -> None:
    # Given a training that was stopped after its first checkpoints
    long = {"epochs": 1000, "pause": 0.05}
    training = train(api, learner, [sample_of(api, 5.0)], additional_parameters=long)
    eventually(lambda: len(got(api, f"/api/v0/training/{training}")["output_checkpoint_ids"]) >= 2, what="checkpoints")
    assert got(api, f"/api/v0/training/{training}")["state"]["epoch"] >= 0
    assert api.http.post(f"/api/v0/training/{training}/stop").status_code == 200
    stopped = end_of(api, training)
    assert (stopped["status"], len(stopped["output_checkpoint_ids"]) >= 2) == ("STOPPED", True)
    # When it is continued
    again = api.http.post(f"/api/v1/trainings/{training}/continue").json()["training_id"]
    eventually(lambda: got(api, f"/api/v0/training/{again}")["state"].get("began_with"), what="its state")
    # Then it begins with the last one
    assert got(api, f"/api/v0/training/{again}")["checkpoint_id"] == stopped["output_checkpoint_ids"][-1]
    api.http.post(f"/api/v0/training/{again}/stop")
    assert end_of(api, again)["state"]["began_with"] >= 5.0


def test_a_benchmark_gives_its_data(api: Api, learner: str) -> None:
    body = {"algorithm_id": learner, "additional_parameters": {"size": 3}}
    benchmark = posted(api, "benchmark-algorithm", body)["benchmark_id"]
    record = api.wait(benchmark, among="benchmarks")
    assert (record["status"], record["data"]) == ("COMPLETED", {"learnt": 0.0, "args": {"size": 3}})


def test_the_client_trains_and_runs_with_what_was_learnt(system: Footing, learner: str) -> None:
    with Client(system.url) as client:
        sample = client.sample([{"image": np.full((3, 4, 4), 9.0, np.float32)}], tags=["from the client"])
        training = client.train("learner", sample, {"epochs": np.int64(1)}, tags=["mine"])
        (checkpoint,) = training.result(30)
        assert [one.checkpoint_id for one in client.checkpoints(tags=["mine"])] == [checkpoint]
        (output,) = client.submit("learner", np.zeros((2, 2), np.float32), checkpoint=checkpoint).result(30)
        assert (output[0, 0], client.samples(tags=["from the client"])[0].sample_id) == (9.0, sample)
        client.delete_checkpoint(checkpoint)
        client.delete_sample(sample)
        assert client.checkpoints(tags=["mine"]) == []


def test_the_command_line_trains_and_tells_what_it_got(
    system: Footing, learner: str, nursery: Nursery, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", np.full((2, 4, 4), 8.0, np.float32))
    np.save(tmp_path / "image.npy", np.zeros((4, 4), np.float32))
    environment = {**os.environ, "VOXLOOM_URL": system.url, "NO_COLOR": "1"}

    def voxloom(*words: str) -> subprocess.CompletedProcess[str]:
        return nursery.run(*words, environment=environment, cwd=tmp_path)

    trained = voxloom("train", "learner", "-d", "image=scan.npy", "-p", "epochs=1", "--tag", "typed")
    checkpoint = trained.stdout.strip()
    assert (trained.returncode, checkpoint in voxloom("checkpoints").stdout) == (0, True), trained.stderr
    ran = voxloom("run", "learner", "image.npy", "--checkpoint", checkpoint, "-o", "out.npy")
    assert (ran.returncode, np.load(tmp_path / "out.npy").max()) == (0, 8.0), ran.stderr
    refused = voxloom("train", "learner")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_a_file_of_a_sample_is_deleted_only_after_the_sample(api: Api) -> None:
    sample = sample_of(api, 1.0)
    (file_id,) = got(api, f"/api/v0/sample/{sample}")["files"][0]["image"]
    refused = api.http.delete(f"/api/v0/files/{file_id}")
    assert (refused.status_code, refused.json()["details"]["sample_ids"]) == (409, [sample])
    assert api.http.delete(f"/api/v0/sample/{sample}").json() == {"detail": "Sample deleted successfully"}
    assert api.http.delete(f"/api/v0/files/{file_id}").status_code == 200


def test_a_training_that_is_lost_goes_on_from_its_newest_checkpoint(new_system: Systems) -> None:
    footing = new_system()
    api = footing.api()
    training = train(api, deployed(api), [sample_of(api, 7.0)], additional_parameters={"epochs": 40, "pause": 0.05})
    eventually(lambda: got(api, f"/api/v0/training/{training}")["output_checkpoint_ids"], what="a checkpoint")
    footing.kill()
    record = end_of(footing.start().api(), training)
    assert (record["status"], record["attempt"], record["state"]["began_with"] >= 7.0) == ("COMPLETED", 2, True)
    assert len(record["output_checkpoint_ids"]) > 40


UNET = Path(__file__).parents[2] / "algorithms" / "unet_segmentation"


def test_the_network_that_ships_learns_on_the_server(new_embedded: Systems) -> None:
    # Given the network, bright squares and their masks
    api = new_embedded().api()
    files = [path for pattern in ("*.py", "*.toml", "files/*") for path in UNET.glob(pattern)]
    unet = str(api.deployed({str(path.relative_to(UNET)): path.read_text() for path in files}))
    image = np.kron(np.indices((8, 8)).sum(axis=0) % 3 == 0, np.full((8, 8), 200)).astype(np.uint8)
    image_id, mask_id = api.upload(image=image), api.upload(mask=(image > 0).astype(np.uint8))
    sample = posted(api, "sample", {"files": [{"image": [image_id], "mask": [mask_id]}], "tags": []})["sample_id"]
    # When it has learnt for a moment, and runs with what it has learnt
    learning = {"epochs": 10, "tile": 16, "width": 4, "depth": 2}
    ended = end_of(api, train(api, unet, [sample], additional_parameters=learning))
    assert ended["status"] == "COMPLETED", ended["log"]
    (checkpoint,) = ended["output_checkpoint_ids"]
    record = api.run(unet, [image_id], checkpoint_id=checkpoint)
    # Then it finds the squares
    found = api.download(record["output_dataset_ids"][0])["mask"]
    assert np.mean((found > 0) == (image > 0)) > 0.9
