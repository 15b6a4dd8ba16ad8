"""Clients that go on while the system comes and goes, and what authors' code says of itself outside the system."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx

from tests.acceptance.support import TERMINAL, Api, Footing, eventually, generic

# One line at each beginning and each end, written at once, as only the author's code can know them.
NOTING = """
def note(word):
    with open(args["notes"], "ab", buffering=0) as notes:
        notes.write(f"{word} {args['n']}\\n".encode())

note("begin")
time.sleep(float(args.get("seconds", 0.02)))
note("end")
"""

AT_ONCE = 8
"""Runs whose end is waited for at the same time."""


class Notes:
    def __init__(self, path: Path) -> None:
        self.path = path

    def count(self, word: str) -> Counter[int]:
        """How often each run has noted that word."""
        if not self.path.exists():
            return Counter()
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return Counter(int(line[1]) for line in lines if line[0] == word)


def deploy_noting(api: Api, name: str = "noting", **more: str) -> str:
    return api.deployed(generic(name, NOTING, **more))


def submit(api: Api, algorithm_id: str, notes: Notes, numbers: Iterable[int], seconds: float = 0.02) -> list[str]:
    return [
        api.execute(algorithm_id, additional_parameters={"notes": str(notes.path), "n": number, "seconds": seconds})
        for number in numbers
    ]


def wait_for_ends(notes: Notes, count: int, numbers: range | None = None) -> None:
    """Until so many have ended, of these or of all."""

    def ended() -> set[int]:
        found = set(notes.count("end"))
        return found if numbers is None else found & set(numbers)

    eventually(lambda: len(ended()) >= count, what=f"{count} ends")


def end_of_all(api: Api, runs: Collection[str]) -> dict[str, dict[str, Any]]:
    """The records once all have ended; those that have not after a very long time as they are."""
    deadline = time.monotonic() + 240.0 + len(runs)

    def wait(run: str) -> tuple[str, dict[str, Any]]:
        while True:
            left = deadline - time.monotonic()
            own = idle.get()
            try:
                record = own.http.get(f"/api/v1/executions/{run}", params={"wait": max(0.0, min(10.0, left))}).json()
            finally:
                idle.put(own)
            if record["status"] in TERMINAL or left <= 0:
                return run, record

    # One for each thread: httpcore may close a connection that another thread has just been given.
    idle = SimpleQueue[Api]()
    with ExitStack() as exits, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            own = api.footing.new_api()
            exits.callback(own.close)
            idle.put(own)
        return dict(pool.map(wait, runs))


def statuses(records: dict[str, dict[str, Any]]) -> Counter[str]:
    return Counter(record["status"] for record in records.values())


def unlike(records: dict[str, dict[str, Any]], status: str) -> list[tuple[str, Any, Any]]:
    """What is not as it should be, with the reason."""
    return [
        (record["status"], record["attempt"], record["error"])
        for record in records.values()
        if record["status"] != status
    ]


class Stream:
    """Threads that do one thing each, again and again. A request without an answer is not known to be accepted."""

    def __init__(self, footing: Footing, *work: Callable[[httpx.Client], None]) -> None:
        self._footing = footing
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._keep_at, args=[one]) for one in work]
        self.errors: list[Exception] = []

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _keep_at(self, work: Callable[[httpx.Client], None]) -> None:
        while not self._over.is_set():
            url = self._footing.url
            with httpx.Client(base_url=url, timeout=10.0) as client:
                self._until_it_is_gone(work, client, url)
            self._over.wait(0.02)

    def _until_it_is_gone(self, work: Callable[[httpx.Client], None], client: httpx.Client, url: str) -> None:
        while not self._over.is_set() and self._footing.url == url:
            try:
                work(client)
            except httpx.TransportError:
                return
            except Exception as error:
                self.errors.append(error)
                raise


def accepted(answer: httpx.Response, *, refusals: Sequence[int] = (503,)) -> bool:
    """Whether it was; anything but a clear yes or a clear no is a fault."""
    assert answer.status_code == 200 or answer.status_code in refusals, (answer.status_code, answer.text)
    return answer.status_code == 200
