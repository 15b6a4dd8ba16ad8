"""An attempt as its runner process sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.worker.data import RunFiles
from services.worker.process import RunnerProcess
from services.worker.run_log import RunLog
from services.worker.session_items import SessionItems
from services.worker.training import Learning
from shared.samples import file_ids_in

if TYPE_CHECKING:
    from services.worker.attempt import Attempt


class AttemptLink:
    """What `RunLink` asks for (runlink.py), each from the part of the worker that has it."""

    def __init__(
        self, attempt: Attempt, run_files: RunFiles, log: RunLog, learning: Learning, process: RunnerProcess
    ) -> None:
        self.progress = attempt.on_progress
        self.state = attempt.on_state
        self.logged = log.append
        self.fetch = run_files.fetch
        self.stage = run_files.stage
        self.post = run_files.post
        self.asset = run_files.asset
        self.checkpoint = learning.checkpoint
        self.drop_checkpoint = learning.drop_checkpoint
        assignment = attempt.assignment
        self._token = assignment.work.session_token
        hours = attempt.settings.session_hours
        self._items = SessionItems(attempt.store, assignment.project, self._token, run_files.work, hours)
        self.session_fetch = self._items.fetch
        self.session_store = self._items.store
        self._learning = learning
        self._run_files = run_files
        self._process = process

    async def session_index(self) -> dict[str, str]:
        self._process.sessions.add(self._token)
        return await self._items.index()

    async def samples(self, sample_ids: list[str]) -> list[dict[str, Any]]:
        found = await self._learning.samples(sample_ids)
        self._run_files.allow(one for sample in found for one in file_ids_in(sample["files"]))
        return found
