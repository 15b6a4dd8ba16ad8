"""SIGTERM in the middle of things, and a second server on the same folder."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.nursery import Child
from tests.acceptance.support import TICKER, Footing, eventually, generic
from tests.chaos.load import Notes, deploy_noting, end_of_all, submit, unlike, wait_for_ends
from tests.chaos.loops import Loops


def test_runs_go_on_after_restarts_and_none_loses_an_attempt_to_them(
    new_system: Callable[..., Footing], notes: Notes, loops: Loops
) -> None:
    # Given many runs and a long one, where a single lost attempt would be the end
    footing = new_system(drain=0.2, grace=0.5, max_lost=1)
    api = footing.api()
    noting, ticker = deploy_noting(api), api.deployed(generic("ticker", TICKER))
    runs = [api.execute(ticker, additional_parameters={"steps": 100})]
    runs += submit(api, noting, notes, range(loops.runs))
    # When the server is stopped and started again and again while they run
    restarts = loops.rounds + 1
    for turn in range(1, restarts + 1):
        wait_for_ends(notes, loops.runs * turn // (restarts + 1))
        assert footing.stop() == 0
        footing.start()
    # Then all complete
    records = end_of_all(footing.api(), runs)
    assert unlike(records, "COMPLETED") == []
    assert set(notes.count("end")) == set(range(loops.runs))


def test_no_second_server_comes_up_beside_one_that_starts_runs_or_drains(
    new_system: Callable[..., Footing],
) -> None:
    # Given two servers that start on one folder at the same moment
    footing = new_system(drain=30.0)
    api = footing.api()
    ticker = api.deployed(generic("ticker", TICKER))
    footing.stop()
    with _second(footing) as first, _second(footing) as second:
        # Then one of them is refused
        assert sorted([first(), second()]) == ["ready", "refused"]
    # And while one runs, and while it drains, so is every other
    api = footing.start().api()
    run = api.execute(ticker, additional_parameters={"steps": 10_000})
    api.wait_for_status(run, "RUNNING")
    with _second(footing) as other:
        assert other() == "refused"
    assert footing.process is not None
    footing.process.signal(signal.SIGTERM)
    with _second(footing) as other:
        assert other() == "refused"
    footing.process.signal(signal.SIGTERM)
    assert footing.process.wait(30) == 0


@contextmanager
def _second(footing: Footing) -> Iterator[Callable[[], str]]:
    """Another server on the same folder; what comes of it."""
    said = footing.folder / f"other-{secrets.token_hex(4)}"
    server = footing.begin(said, said)
    try:
        yield lambda: _outcome(server, said)
    finally:
        server.signal(signal.SIGTERM)
        server.wait(30)


def _outcome(server: Child, said: Path) -> str:
    """What it says first that matters: that it is ready, or why it cannot start."""

    def outcome() -> str | None:
        code, words = server.poll(), said.read_text() if said.exists() else ""
        if "ready at" in words:
            return "ready"
        return "refused" if "in use" in words else None if code is None else f"ended with code {code}"

    return str(eventually(outcome, what="a server that is ready or refused"))
