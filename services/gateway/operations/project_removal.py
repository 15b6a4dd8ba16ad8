"""A project is taken away, with all that it owns.

First nobody is let in for it any more: its object says `removing`, which gateways of earlier versions cannot read, so
that they give no right by it, either. Then its tokens and members go, its runs end, and its things are removed. Last
its object says `removed`, for good: nobody gets its id again. Each step may be done again, so whoever was interrupted
asks once more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from messages.base import DEFAULT_PROJECT
from services.gateway.context import Context
from services.gateway.operations import project_things
from services.gateway.operations.control import change, directory_of, not_found, take_away, tell
from services.gateway.operations.project_things import owner_of, tokens_for
from shared.caller import Caller
from shared.control.directory import Directory
from shared.control.objects import KINDS, RESERVED, Project, ProjectState
from voxloom.errors import Conflict, Unavailable

PAUSE_SECS = 0.2
COUNT_SECS = 5.0
"""How long whoever has waited so long already waits for figures."""
SETTLE_SECS = 1.0
"""How long what was under way at other gateways may take to be heard of."""
_KINDS = "|".join(word for word, kind in KINDS.items() if "project" in kind.model_fields)
_OF_PROJECT = re.compile(rf"(?:{_KINDS})/([a-z0-9-]+)(?:/.*)?")
"""Keys of what is kept of a project, also of what cannot be read."""


async def remove(context: Context, caller: Caller, project_id: str, *, everything: bool) -> None:
    """Raises NotFound (`project_not_found`), Conflict (`project_needed`, `project_not_empty` with counts), Unavailable
    (`project_removal_unfinished`: ask again)."""
    directory = directory_of(context)
    known = directory.kept_project(project_id)
    _check_removable(project_id)
    if known is None or (known.state == "removed" and not everything):
        raise not_found("project", project_id)
    owner = owner_of(caller, project_id)
    if not everything:
        await _check_empty(context, owner)
    if known.state == "there":
        await _close(context, project_id, "removing")
    if not everything:
        await _remove_empty(context, owner, reopen=known.state == "there")
        return
    await _sweep(context, owner)
    await _take_control(context, project_id)
    await _close(context, project_id, "removed")


def _check_removable(project_id: str) -> None:
    if project_id == DEFAULT_PROJECT or project_id in RESERVED:
        raise Conflict(
            f"The project {project_id!r} stays: what says of itself no project belongs to it. Take its members out, "
            "and delete what it owns.",
            code="project_needed",
            details={"project_id": project_id},
        )


async def _check_empty(context: Context, owner: Caller) -> None:
    counts = (await project_things.holdings(context, owner)).model_dump()
    if any(counts.values()):
        raise Conflict(
            f"The project {owner.project!r} still owns {said(counts)}. Remove those first; or remove it with all of "
            "them (`?all=true`, `voxloom admin project rm --all`), which nobody can undo.",
            code="project_not_empty",
            details={"project_id": owner.project, "counts": counts},
        )


def said(counts: Mapping[str, int]) -> str:
    """`2 files, 1 algorithms`."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


async def _remove_empty(context: Context, owner: Caller, *, reopen: bool) -> None:
    """What somebody has put in while it was closed keeps it. `reopen`: it was open before; what somebody else was
    removing stays closed."""
    try:
        await asyncio.sleep(SETTLE_SECS)
        await _check_empty(context, owner)
    except BaseException:
        if reopen:
            await _close(context, owner.project, "there")
        raise
    await _take_control(context, owner.project)
    await _close(context, owner.project, "removed")


async def _sweep(context: Context, owner: Caller) -> None:
    """Raises Unavailable where it takes longer than a request may."""
    await _take_control(context, owner.project)
    try:
        async with asyncio.timeout(context.settings.answer_timeout):
            await _until_nothing_is_left(context, owner)
    except TimeoutError:
        raise await _unfinished(context, owner) from None
    except Unavailable as error:
        if error.code != "answer_timeout":
            raise
        raise await _unfinished(context, owner) from error


async def _unfinished(context: Context, owner: Caller) -> Unavailable:
    try:
        async with asyncio.timeout(COUNT_SECS):
            counts = (await project_things.holdings(context, owner)).model_dump()
    except (TimeoutError, Unavailable):
        counts = {}  # Nobody knows yet; that takes its time, too.
    left = said(counts)
    return Unavailable(
        f"The project {owner.project!r} is being removed{f', and still owns {left}' if left else ''}. Ask again, until "
        "it is done.",
        code="project_removal_unfinished",
        details={"project_id": owner.project, "counts": counts},
    )


async def _until_nothing_is_left(context: Context, owner: Caller) -> None:
    settled = False
    while True:
        if await project_things.remove_some(context, owner):
            settled = False
            await asyncio.sleep(PAUSE_SECS)
        elif settled:
            return
        else:
            settled = True
            await asyncio.sleep(SETTLE_SECS)


async def _close(context: Context, project_id: str, state: ProjectState) -> None:
    def make(old: Project | None) -> Project | None:
        if old is None or old.state == "removed":
            return old
        return old.in_state(state)

    key = f"projects/{project_id}"
    await change(context, key, Project, make)
    await tell(context, key)


async def _take_control(context: Context, project_id: str) -> None:
    """Its members, its tokens, and what else is kept of it."""
    keys = keys_of(directory_of(context), project_id)
    await take_away(context, *keys)
    if keys:
        await tell(context, *keys)


def keys_of(directory: Directory, project_id: str) -> list[str]:
    mine = (match for key in directory.objects if (match := _OF_PROJECT.fullmatch(key)) is not None)
    tokens = [one.key for one in tokens_for(directory.tokens(), project_id)]
    return [*(match[0] for match in mine if match[1] == project_id), *tokens]
