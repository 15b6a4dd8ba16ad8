"""What a run may ask of its worker, and how it is answered."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, Protocol

from voxloom.errors import VoxloomError
from voxloom.models import RunError
from voxloom.runner import frames

_log = logging.getLogger("voxloom.worker")


class RunLink(Protocol):
    """What a run may ask of its worker. Everything is called on the loop.

    A VoxloomError out of the awaited ones becomes an exception in the author's code, which may catch it.
    """

    def progress(self, value: float) -> None: ...

    def state(self, state: dict[str, Any]) -> None: ...

    def logged(self, text: str) -> None:
        """Whole lines."""

    async def fetch(self, file_ids: list[str]) -> list[Path]: ...

    async def stage(self, count: int) -> list[tuple[str, Path]]: ...

    async def post(self, file_ids: list[str]) -> None: ...

    async def asset(self, path: str) -> Path: ...

    async def samples(self, sample_ids: list[str]) -> list[dict[str, Any]]: ...

    async def checkpoint(self, assets: dict[str, str], properties: dict[str, Any]) -> str: ...

    async def drop_checkpoint(self, checkpoint_id: str) -> None: ...

    async def session_index(self) -> dict[str, str]: ...

    async def session_fetch(self, key: str) -> Path | None: ...

    async def session_store(self, items: dict[str, str], removed: list[str]) -> dict[str, str]: ...


async def answer(link: RunLink, ask: frames.Ask) -> frames.Answer:
    try:
        return frames.Answer(number=ask.number, value=await _value(link, ask))
    except VoxloomError as error:
        return frames.Answer(number=ask.number, error=_run_error(error))
    except Exception as error:  # noqa: BLE001  # the run must have an answer; ours is the log
        _log.exception("a question of a run (%s) could not be answered", ask.what)
        message = f"The worker could not {ask.what}: {error}"
        return frames.Answer(number=ask.number, error=RunError(type="Error", message=message, code="internal"))


def _run_error(error: VoxloomError) -> RunError:
    return RunError(type=type(error).__name__, message=error.message, code=error.code, retryable=error.retryable)


async def _value(link: RunLink, ask: frames.Ask) -> dict[str, Any]:
    params = ask.params
    match ask.what:
        case "fetch":
            return {"paths": [str(path) for path in await link.fetch(params["file_ids"])]}
        case "stage":
            staged = await link.stage(params["count"])
            return {"files": [{"file_id": file_id, "path": str(path)} for file_id, path in staged]}
        case "post":
            await link.post(params["file_ids"])
            return {}
        case "asset":
            return {"path": str(await link.asset(params["path"]))}
        case "samples" | "checkpoint" | "drop_checkpoint":
            return await _value_in_training(link, ask.what, params)
        case "session_index" | "session_fetch" | "session_store":
            return await _value_of_session(link, ask.what, params)


async def _value_in_training(
    link: RunLink, what: Literal["samples", "checkpoint", "drop_checkpoint"], params: dict[str, Any]
) -> dict[str, Any]:
    match what:
        case "samples":
            return {"samples": await link.samples(params["sample_ids"])}
        case "checkpoint":
            return {"checkpoint_id": await link.checkpoint(params["assets"], params["properties"])}
        case "drop_checkpoint":
            await link.drop_checkpoint(params["checkpoint_id"])
            return {}


async def _value_of_session(
    link: RunLink, what: Literal["session_index", "session_fetch", "session_store"], params: dict[str, Any]
) -> dict[str, Any]:
    match what:
        case "session_index":
            return {"items": await link.session_index()}
        case "session_fetch":
            path = await link.session_fetch(params["key"])
            return {"path": None if path is None else str(path)}
        case "session_store":
            return {"items": await link.session_store(params["items"], params["removed"])}
