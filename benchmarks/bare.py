"""The yardstick for small answers: aiohttp that answers every GET with the same JSON, and does nothing else.

Run as `python -m benchmarks.bare`: takes the body from its input, prints its address.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def serve(body: bytes) -> None:
    async def get(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/", get)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.stdin.buffer.read()))
