"""The yardstick for bytes over HTTP: aiohttp that writes a body to a new file and sends it back, and does nothing else.

Run as `python -m benchmarks.plain FOLDER`; prints its address. It runs on asyncio's own loop, where aiohttp sends files
by sendfile and is faster with bodies than on others. `PUT /?fsync=1` answers when the bytes are on the disk, `PUT /` as
soon as they are in the page cache. Both answer with the file's name, which GET and DELETE take.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from aiohttp import web


def make_app(folder: Path) -> web.Application:
    numbers = count()

    async def put(request: web.Request) -> web.Response:
        name = str(next(numbers))
        with (folder / name).open("xb", buffering=0) as file:
            async for piece in request.content.iter_any():
                file.write(piece)
            if "fsync" in request.query:
                os.fsync(file.fileno())
        return web.Response(text=name)

    async def get(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / request.match_info["name"])

    async def delete(request: web.Request) -> web.Response:
        (folder / request.match_info["name"]).unlink()
        return web.Response()

    app = web.Application(client_max_size=0)
    app.add_routes([web.put("/", put), web.get("/{name}", get), web.delete("/{name}", delete)])
    return app


async def serve(folder: Path) -> None:
    runner = web.AppRunner(make_app(folder), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
