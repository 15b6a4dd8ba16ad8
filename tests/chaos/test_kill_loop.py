"""kill -9 of the whole system, again and again, while people submit, stop and deploy."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import httpx

from tests.acceptance.support import TERMINAL, TICKER, Footing, generic, zipped
from tests.chaos.load import NOTING, Notes, Stream, accepted, deploy_noting, end_of_all, statuses, unlike
from tests.chaos.loops import Loops


class People:
    """They note what was accepted, and nothing else."""

    def __init__(self, noting: str, ticker: str, notes: Notes) -> None:
        self._noting = noting
        self._ticker = ticker
        self._notes = str(notes.path)
        self._numbers = itertools.count()
        self._versions = itertools.count(1)
        self.runs: dict[int, str] = {}
        self.tickers: set[str] = set()
        """Accepted, and never known to be stopped."""
        self.stopped: list[str] = []
        self.deployed: list[dict[str, str]] = []

    def submit(self, client: httpx.Client) -> None:
        number = next(self._numbers)
        body = {
            "algorithm_id": self._noting,
            "input_dataset_ids": [],
            "additional_parameters": {"notes": self._notes, "n": number},
        }
        answer = client.post("/api/v0/execute-algorithm", json=body)
        if accepted(answer):
            self.runs[number] = answer.json()["execution_id"]
        time.sleep(0.03)

    def submit_and_stop(self, client: httpx.Client) -> None:
        body = {"algorithm_id": self._ticker, "input_dataset_ids": [], "additional_parameters": {"steps": 100_000}}
        answer = client.post("/api/v0/execute-algorithm", json=body)
        if not accepted(answer):
            return
        run = answer.json()["execution_id"]
        self.tickers.add(run)
        time.sleep(0.1)
        if accepted(client.post(f"/api/v0/executions/{run}/stop")):
            self.tickers.remove(run)
            self.stopped.append(run)

    def deploy(self, client: httpx.Client) -> None:
        name = f"deployed{next(self._versions)}"
        answer = client.post("/api/v1/algorithms", content=zipped(generic(name, NOTING)))
        if accepted(answer):
            self.deployed.append(answer.json())
        time.sleep(0.2)


def test_what_was_accepted_comes_to_its_true_end_however_often_the_system_is_killed(
    new_system: Callable[..., Footing], notes: Notes, loops: Loops
) -> None:
    # Given a system under a stream of submissions, stops and deploys
    footing = new_system(max_lost=loops.kills + 1)
    api = footing.api()
    ticker = api.deployed(generic("ticker", TICKER))
    people = People(deploy_noting(api), ticker, notes)
    # When it is killed again and again
    with Stream(footing, people.submit, people.submit, people.submit_and_stop, people.deploy) as stream:
        for _ in range(loops.kills):
            time.sleep(0.8)
            footing.kill()
            footing.start()
        time.sleep(0.5)
    assert stream.errors == []
    api = footing.api()
    for run in people.tickers:
        assert api.stop(run).status_code in (200, 400)
    for item in every_listed(api.http):
        # Also those whose acceptance nobody has heard of: they would keep the slots.
        if item["algorithm_id"] == ticker and item["status"] not in TERMINAL:
            api.stop(item["execution_id"])
    # Then every stop holds
    stopped = [*people.stopped, *people.tickers]
    assert statuses(end_of_all(api, stopped)) == {"STOPPED": len(stopped)}
    # And every run that was accepted completes
    records = end_of_all(api, people.runs.values())
    assert unlike(records, "COMPLETED") == []
    # And has had its effect: once for every attempt at most
    begun, ended = notes.count("begin"), notes.count("end")
    wrong = {
        number: (begun[number], ended[number], records[run]["attempt"])
        for number, run in people.runs.items()
        if not 1 <= ended[number] <= begun[number] <= records[run]["attempt"]
    }
    assert wrong == {}
    # And every deploy can be run
    for deployed in people.deployed[-3:]:
        parameters = {"notes": str(notes.path), "n": -1}
        assert api.run(deployed["algorithm_id"], additional_parameters=parameters)["status"] == "COMPLETED"
    listed = {item["execution_id"] for item in every_listed(api.http)}
    assert set(people.runs.values()) | set(stopped) <= listed


def every_listed(http: httpx.Client) -> list[dict[str, str]]:
    items: list[dict[str, str]] = []
    query: dict[str, str | int] = {"limit": 1000}
    while True:
        page = http.get("/api/v1/executions", params=query)
        items += page.json()
        if "next" not in page.links:
            return items
        query["cursor"] = httpx.URL(page.links["next"]["url"]).params["cursor"]
