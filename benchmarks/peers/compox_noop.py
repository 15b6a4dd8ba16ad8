"""The client for Compox: `python -m benchmarks.peers.compox_noop ALGORITHM URL`, in our environment. Compox can be
asked how a run is, and cannot be waited for."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import uvloop

from benchmarks.peers.talk import AsyncClient, obey

PAUSE_SECS = 0.005
"""Between two questions."""


def main(algorithm: str, url: str) -> None:
    loop = uvloop.new_event_loop()
    body = json.dumps({"algorithm_id": algorithm, "input_dataset_ids": [], "additional_parameters": {}}).encode()
    headers = {"Content-Type": "application/json"}

    async def connected() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    http = loop.run_until_complete(connected())

    async def run() -> None:
        async with http.post(f"{url}/api/v0/execute-algorithm", data=body, headers=headers) as answer:
            run_id = (await answer.json())["execution_id"]
        while True:
            async with http.get(f"{url}/api/v0/executions/{run_id}") as answer:
                record = await answer.json()
            if record["status"] in ("COMPLETED", "FAILED", "STOPPED"):
                break
            await asyncio.sleep(PAUSE_SECS)
        assert record["status"] == "COMPLETED", record

    obey(AsyncClient(loop, run))
    loop.run_until_complete(http.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
