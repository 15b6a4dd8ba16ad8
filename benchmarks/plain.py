"""The yardstick for bytes over HTTP: aiohttp that writes a body to a file and sends it back, and does nothing else.

Run as `python -m benchmarks.plain FILE`; prints its address.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop
from aiohttp import web


def make_app(path: Path) -> web.Application:
    async def put(request: web.Request) -> web.Response:
        with path.open("wb") as file:
            async for piece in request.content.iter_any():
                file.write(piece)
        return web.Response()

    async def get(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    app = web.Application(client_max_size=0)
    app.add_routes([web.put("/", put), web.get("/", get)])
    return app


async def serve(path: Path) -> None:
    import asyncio

    runner = web.AppRunner(make_app(path), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
