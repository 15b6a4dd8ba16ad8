"""What a run may touch on this node: the algorithm's code and assets, its inputs, the files it makes.

Below the worker's scratch folder, on the store's own filesystem where there is one, so that files are linked and moved
instead of copied:

    cache/assets/<hash>       one asset of a project
    cache/trees/<hash>/       an algorithm's folder with modules and assets, as it was deployed, or with what a
                              checkpoint has in its place; shared by all its processes of one project
    runs/<random>/            of one attempt: `work` (working directory and TMPDIR), `in`, `out`

Runs can write what lies here, so nothing of it is given to runs of another project, nor to any after a new start.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from messages.runs import AlgorithmPin
from services.worker.folders import Folders
from services.worker.tree_files import Asset, add_assets, settle
from services.worker.trees import Trees
from shared import algorithms, files
from shared.newest import Newest
from shared.objects.base import ObjectStore
from voxloom.contents import digest_of
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import new_id

_MAX_INDEXES = 256
_MAX_STAGED = 1_000_000
_AT_ONCE = 256
"""Assets that are fetched together."""
EMPTY: Mapping[str, str] = MappingProxyType({})
_HASH = re.compile(r"[0-9a-f]{16,128}")


class Materials:
    """One per worker. Code and assets are fetched once each, also when many runs ask at the same time."""

    def __init__(self, store: ObjectStore, scratch: Path) -> None:
        self._store = store
        self._cache = scratch / "cache"
        self._assets = self._cache / "assets"
        self._folders = Folders(scratch / "runs")
        self.trees = Trees(self._cache / "trees")
        self._indexes: Newest[str, algorithms.AssetIndex] = Newest(_MAX_INDEXES)
        self._present: set[Path] = set()
        self._marks: dict[Path, tuple[int, ...] | None] = {}
        """Of the assets: what shows that nobody has written to one since it was put there."""
        self._fetching: dict[Path, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Makes its folders, and removes what runs of an earlier life have left."""
        await self._folders.open()
        await asyncio.to_thread(shutil.rmtree, self._cache, ignore_errors=True)
        await asyncio.to_thread(self.trees.open)
        await asyncio.to_thread(self._assets.mkdir, parents=True, exist_ok=True)

    async def close(self) -> None:
        for task in list(self._fetching.values()):
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        await self._folders.close()

    async def tree(self, project: str, algorithm: AlgorithmPin, overlay: Mapping[str, str] = EMPTY) -> Path:
        """The algorithm's folder for runs of the project; `overlay` has other contents for some of its assets. Raises
        NotFound if the store has something of it no more."""
        generation = self.trees.generation(project, _checked_hash(algorithm.module))
        parts = {"module": generation, "assets": algorithm.assets}
        name = digest_of({**parts, **{f"/{path}": content for path, content in overlay.items()}})
        target = self.trees.root / name
        await self._once(target, lambda: self._grow(algorithm, overlay, target, generation))
        return target

    async def _grow(self, algorithm: AlgorithmPin, overlay: Mapping[str, str], target: Path, generation: str) -> None:
        """It appears complete or not at all."""
        index = await self._index(algorithm.assets)
        contents = {path: overlay.get(path, content) for path, content in index.contents.items()}
        work = target.with_name(f".{target.name}")
        try:
            await asyncio.to_thread(_renew, work)
            await algorithms.fetch_module(self._store, algorithm.module, work / "tree")
            places = await self._place(set(contents.values()), work)
            assets = [Asset(path, places[one], path in index.executable) for path, one in contents.items()]
            await asyncio.to_thread(add_assets, assets, work / "tree")
            await asyncio.to_thread((work / "tree").rename, target)
            await asyncio.to_thread(self.trees.remember, target.name, generation)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _place(self, contents: Collection[str], folder: Path) -> dict[str, Path]:
        places = {content: folder / _checked_hash(content) for content in contents}
        ordered = list(places)
        for start in range(0, len(ordered), _AT_ONCE):
            some = {content: places[content] for content in ordered[start : start + _AT_ONCE]}
            placed = await self._store.checkout_many(algorithms.ASSETS, some)
            if gone := some.keys() - placed.keys():
                raise NotFound(
                    f"The store has no asset {min(gone)} any more; deploy the algorithm again.", code="object_not_found"
                )
        return places

    async def has_asset(self, algorithm: AlgorithmPin, path: str) -> bool:
        return path in (await self._index(algorithm.assets)).contents

    async def asset(self, project: str, algorithm: AlgorithmPin, path: str, overlay: Mapping[str, str] = EMPTY) -> Path:
        """The local file of an asset, not to be written to; `overlay` has other contents for some of them. Raises
        NotFound (`asset_path_not_found`)."""
        content = overlay.get(path) or (await self._index(algorithm.assets)).contents.get(path)
        if content is None:
            raise NotFound(
                f"The algorithm {algorithm.name} {algorithm.major}.{algorithm.minor} has no asset {path!r}.",
                code="asset_path_not_found",
            )
        target = self._assets / digest_of({"project": project, "content": _checked_hash(content)})
        if target in self._present and await asyncio.to_thread(_mark_of, target) != self._marks.get(target):
            self._present.discard(target)  # Some run has changed it.
        await self._once(target, lambda: self._fetch_asset(content, target))
        return target

    async def _fetch_asset(self, content: str, target: Path) -> None:
        work = target.with_name(f".{target.name}")
        try:
            await asyncio.to_thread(work.unlink, missing_ok=True)
            await algorithms.fetch_asset(self._store, content, work)
            await asyncio.to_thread(settle, work, target)
            self._marks[target] = await asyncio.to_thread(_mark_of, target)
        finally:
            await asyncio.to_thread(work.unlink, missing_ok=True)

    async def begin(
        self,
        *,
        algorithm: AlgorithmPin,
        project: str,
        run: str,
        attempt: int,
        inputs: Iterable[str],
        settled_of: files.SettledOf,
    ) -> RunFiles:
        """The files of one attempt; to be given back with `end`."""
        folder = await self._folders.take()
        return RunFiles(self, self._store, folder, algorithm, project, run, attempt, frozenset(inputs), settled_of)

    def end(self, run_files: RunFiles) -> None:
        """Nothing reads the attempt's local files any more: they are removed, by and by."""
        self._folders.give_back(run_files.folder)

    async def _index(self, assets: str) -> algorithms.AssetIndex:
        index = self._indexes.get(assets)
        if index is None:
            index = self._indexes[assets] = await algorithms.load_index(self._store, assets)
        return index

    async def _once(self, target: Path, fetch: Callable[[], Coroutine[None, None, None]]) -> None:
        if target in self._present:
            return
        task = self._fetching.get(target)
        if task is None:
            task = asyncio.create_task(fetch(), name=f"worker.fetch.{target.name}")
            self._fetching[target] = task
            task.add_done_callback(lambda done: self._on_fetched(target, done))
        await asyncio.shield(task)

    def _on_fetched(self, target: Path, task: asyncio.Task[None]) -> None:
        del self._fetching[target]
        if not task.cancelled() and task.exception() is None:
            self._present.add(target)


class RunFiles:
    """What one attempt reads and writes. It may read its inputs, what it has posted, and what else is visible in its
    project; it may post what it was given ids for."""

    def __init__(
        self,
        materials: Materials,
        store: ObjectStore,
        folder: Path,
        algorithm: AlgorithmPin,
        project: str,
        run: str,
        attempt: int,
        inputs: Collection[str],
        settled_of: files.SettledOf,
    ) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.posted: list[str] = []
        self._materials = materials
        self._store = store
        self._algorithm = algorithm
        self._project = project
        self._run = run
        self._attempt = attempt
        self._settled_of = settled_of
        self._overlay = EMPTY
        self._allowed = set(inputs)
        self._placed: dict[str, Path] = {}
        self._staged: dict[str, Path] = {}
        self._posts = 0
        self._fetching = asyncio.Lock()

    def lay_over(self, assets: Mapping[str, str]) -> None:
        """From now on these assets have the contents of those names."""
        self._overlay = assets

    def allow(self, file_ids: Iterable[str]) -> None:
        """These it may read, too: they are in its samples."""
        self._allowed.update(file_ids)

    async def fetch(self, file_ids: Sequence[str]) -> list[Path]:
        """Local files, in order; each is placed once a run. Raises NotFound (`file_not_found`)."""
        async with self._fetching:
            new = [file_id for file_id in dict.fromkeys(file_ids) if file_id not in self._placed]
            await self._check_visible([file_id for file_id in new if file_id not in self._allowed])
            targets = {file_id: self.folder / "in" / str(len(self._placed) + at) for at, file_id in enumerate(new)}
            await self._place(targets)
            self._placed.update(targets)
        return [self._placed[file_id] for file_id in file_ids]

    async def stage(self, count: int) -> list[tuple[str, Path]]:
        """New ids with the paths to write them to."""
        if not 0 <= count <= _MAX_STAGED:
            raise InvalidInput(f"{count} files cannot be made at once; make at most {_MAX_STAGED}.")
        fresh = [new_id() for _ in range(count)]
        staged = {file_id: self.folder / "out" / file_id for file_id in fresh}
        self._staged.update(staged)
        return list(staged.items())

    async def post(self, file_ids: Sequence[str]) -> None:
        """Keeps files that were written. Raises InvalidInput for what was not staged, or is not there."""
        chosen = {file_id: self._staged[file_id] for file_id in file_ids if file_id in self._staged}
        if len(chosen) != len(file_ids):
            raise InvalidInput("Only files that this run has staged can be posted, each once.", code="file_not_staged")
        await asyncio.to_thread(_check_written, list(chosen.values()))
        for file_id in file_ids:
            del self._staged[file_id]
        self._posts += 1
        await files.post(
            self._store,
            project=self._project,
            run=self._run,
            attempt=self._attempt,
            number=self._posts,
            files=list(chosen.items()),
        )
        self._allowed.update(file_ids)
        self.posted.extend(file_ids)

    async def tree(self) -> Path:
        """The algorithm's folder, as this run is to see it."""
        return await self._materials.tree(self._project, self._algorithm, self._overlay)

    async def asset(self, path: str) -> Path:
        return await self._materials.asset(self._project, self._algorithm, path, self._overlay)

    async def _check_visible(self, file_ids: Sequence[str]) -> None:
        visible = await files.find_visible(self._store, file_ids, self._settled_of) if file_ids else {}
        for file_id in file_ids:
            if file_id not in visible or visible[file_id].project != self._project:
                raise files.file_not_found(file_id)

    async def _place(self, targets: Mapping[str, Path]) -> None:
        wanted = {files.bytes_key(file_id): target for file_id, target in targets.items()}
        placed = await self._store.checkout_many(files.COLLECTION, wanted)
        for file_id in targets:
            if files.bytes_key(file_id) not in placed:
                raise files.file_not_found(file_id)


def _mark_of(path: Path) -> tuple[int, ...] | None:
    """Blocks. None: it is gone."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns


def _renew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _check_written(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            regular = stat.S_ISREG(path.lstat().st_mode)
        except FileNotFoundError:
            regular = False
        if not regular:
            raise InvalidInput(
                "A staged file has to be written, as a plain file, before it is posted.", code="file_missing"
            )


def _checked_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise InvalidInput(f"{text!r} is not the name of any content.")
    return text
