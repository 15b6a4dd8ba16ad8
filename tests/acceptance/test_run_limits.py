"""Runs that take longer, or give more, than they may, on every footing."""

from __future__ import annotations

import numpy as np

from tests.acceptance.support import Api, generic
from voxloom import Client

ENDLESS = "while True: pass"
LIMITED = '[tool.voxloom.limits]\nwall_time = "1 s"\n'


def test_an_endless_loop_fails_by_the_limit_of_its_algorithm_and_its_slot_serves_the_next(api: Api, noop: str) -> None:
    # Given an algorithm that says how long it may take, and never ends
    endless = api.deployed(generic("endless", ENDLESS, toml=LIMITED))
    # When it runs in every slot that there is
    runs = [api.execute(endless) for _ in range(2)]
    # Then each has failed by that limit, and others run in every slot
    records = [api.wait(run) for run in runs]
    assert {record["status"] for record in records} == {"FAILED"}
    assert {record["error"]["code"] for record in records} == {"limit_exceeded"}
    assert all("wall_time allows (1 s)" in record["error"]["message"] for record in records)
    assert {api.wait(run)["status"] for run in [api.execute(noop) for _ in range(2)]} == {"COMPLETED"}


def test_outputs_that_are_no_files_stay_as_text_and_lead_nowhere(api: Api) -> None:
    texts = api.deployed(generic("texts", "return args['outputs']"))
    said = ["../../x", "entries/..", "a remark"]
    record = api.run(texts, additional_parameters={"outputs": said})
    assert (record["status"], record["output_dataset_ids"]) == ("COMPLETED", said)
    assert [api.http.get(f"/api/v1/files/{name}").status_code for name in ("..%2F..%2Fx", "a%20remark")] == [404, 404]


def test_the_client_tells_texts_among_outputs_from_files(api: Api) -> None:
    api.deployed(generic("remarks", "return [*data, 'a remark', '', '../../x']"))
    with Client(api.footing.url) as client:
        run = client.submit("remarks", [np.arange(6.0).reshape(2, 3)])
        array, *texts = run.result(60.0)
        assert (array.tolist(), texts) == ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], ["a remark", "", "../../x"])
        assert run.output_files() == run.record().output_dataset_ids[:1]


def test_outputs_without_measure_are_how_a_run_fails(api: Api) -> None:
    texts = api.deployed(generic("texts", "return args['outputs'] * 100_000"))
    record = api.run(texts, additional_parameters={"outputs": ["x"]})
    assert (record["status"], record["error"]["code"], record["output_dataset_ids"]) == (
        "FAILED",
        "invalid_outputs",
        [],
    )
