"""A client that others' programs make of the OpenAPI document does the work: no line of ours is in it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests import openapiclient
from tests.acceptance.support import Footing, zipped

PROGRAM = """
import datetime, io, os, sys
from generated import AuthenticatedClient, Client
from generated.api.deploys import post_v1_algorithms
from generated.api.executions import get_v1_executions, get_v1_executions_execution_id, post_v1_executions
from generated.api.files import get_v0_files_file_id, post_v0_files
from generated.models import ExecutionRequest
from generated.types import File

url, algorithm, image, output = sys.argv[1:]
token = os.environ.get("VOXLOOM_TOKEN")
client = AuthenticatedClient(url, token, timeout=120) if token else Client(url, timeout=120)
deployed = post_v1_algorithms.sync(client=client, body=File(open(algorithm, "rb")))
sent = post_v0_files.sync(client=client, body=File(open(image, "rb")))
wanted = ExecutionRequest(algorithm_id=deployed.algorithm_id, input_dataset_ids=[sent.file_id])
begun = post_v1_executions.sync(client=client, body=wanted)
while True:
    record = get_v1_executions_execution_id.sync(begun.execution_id, client=client, wait=30.0)
    if isinstance(record.time_completed, datetime.datetime):
        break
assert isinstance(record.time_started, datetime.datetime), record
assert begun.execution_id in [one.execution_id for one in get_v1_executions.sync(client=client, cursor="")]
with open(output, "wb") as file:
    file.write(get_v0_files_file_id.sync(record.output_dataset_ids[0], client=client).payload.read())
print(record.status)
"""
RUNNER = """from voxloom.runner import Image2ImageRunner


class Runner(Image2ImageRunner):
    def inference(self, data, args):
        return data + 1
"""
PYPROJECT = """[project]
name = "plus_one"
version = "1.0"

[tool.voxloom]
algorithm_type = "Image2Image"
"""


def test_a_client_made_of_the_document_deploys_uploads_runs_and_downloads(
    new_embedded: Callable[..., Footing], tmp_path: Path
) -> None:
    # Given a client that another program has made of what the server says of itself
    api = new_embedded().api()
    folder = openapiclient.generate(api.http.get("/openapi.json").json(), tmp_path)
    (folder / "algorithm.zip").write_bytes(zipped({"Runner.py": RUNNER, "pyproject.toml": PYPROJECT}))
    with h5py.File(folder / "image.h5", "w") as file:
        file["image"] = np.zeros((4, 4), np.float32)
    # When it does a day's work
    said = openapiclient.run(folder, PROGRAM, str(api.http.base_url), "algorithm.zip", "image.h5", "output.h5")
    # Then the output is there
    assert said.split() == ["COMPLETED"]
    with h5py.File(io.BytesIO((folder / "output.h5").read_bytes())) as file:
        np.testing.assert_array_equal(file["image"][()], np.ones((4, 4)))
