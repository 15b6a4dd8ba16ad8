"""A request may be as large as a message: what is accepted comes to its end, and what is not is told so at once."""

from __future__ import annotations

from typing import Any

from tests.acceptance.support import Api

LETTERS = 16_740_000
"""So many are too many: less than a body may have, and more than an event may."""


def post(api: Api, algorithm: str, letters: int, token: int) -> Any:
    body = {
        "algorithm_id": algorithm,
        "input_dataset_ids": [],
        "additional_parameters": {"x": "a" * letters},
        "session_token": "t" * token,
    }
    return api.http.post("/api/v0/execute-algorithm", json=body)


def test_requests_are_accepted_up_to_the_limit_and_what_is_accepted_ends(api: Api, noop: str) -> None:
    # Given a request that is told to be too large, by how much, and what to do
    refused = post(api, noop, LETTERS, 100)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (413, "too_large")
    assert str(problem["details"]["largest"]) in problem["detail"]
    assert "file" in problem["detail"]
    # When it is made to fit, to the byte
    excess = problem["details"]["bytes"] - problem["details"]["largest"]
    answers = [post(api, noop, LETTERS - excess, 100 + more) for more in (-1, 0, 1)]
    # Then what fits is accepted and comes to its end, and one byte more is refused
    assert [answer.status_code for answer in answers] == [200, 200, 413]
    assert answers[2].json()["details"]["bytes"] == problem["details"]["largest"] + 1
    runs = [answer.json()["execution_id"] for answer in answers[:2]]
    assert [api.wait(run)["status"] for run in runs] == ["COMPLETED", "COMPLETED"]
    # And all others go on
    assert api.run(noop)["status"] == "COMPLETED"
