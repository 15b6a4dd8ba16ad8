"""Our own client for the comparison: `python -m benchmarks.peers.voxloom_noop ALGORITHM URL...`. Each run goes to the
next of the gateways: POST, then a long poll until the record says COMPLETED."""

from __future__ import annotations

import itertools
import json
import sys

import aiohttp
import uvloop

from benchmarks.peers.talk import AsyncClient, obey


def main(algorithm: str, *urls: str) -> None:
    loop = uvloop.new_event_loop()
    gateways = itertools.cycle(urls)
    body = json.dumps({"algorithm_id": algorithm, "input_dataset_ids": [], "additional_parameters": {}}).encode()
    headers = {"Content-Type": "application/json"}

    async def connected() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    http = loop.run_until_complete(connected())

    async def run() -> None:
        url = next(gateways)
        async with http.post(f"{url}/api/v0/execute-algorithm", data=body, headers=headers) as answer:
            run_id = (await answer.json())["execution_id"]
        record = {"status": ""}
        while record["status"] not in ("COMPLETED", "FAILED", "STOPPED"):
            async with http.get(f"{url}/api/v1/executions/{run_id}?wait=30") as answer:
                record = await answer.json()
        assert record["status"] == "COMPLETED", record

    obey(AsyncClient(loop, run))
    loop.run_until_complete(http.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
