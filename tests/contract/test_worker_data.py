"""What a run may touch on its worker's node, on a real store."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest

from messages.runs import AlgorithmPin
from services.worker.data import EMPTY, Materials, RunFiles
from shared import algorithms, files
from shared.objects.base import ABSENT, FileUpload
from shared.objects.local import LocalObjectStore
from voxloom.contents import marked
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.models import Status, utc_now


class Node:
    """A store, the worker's materials on it, and how runs stand."""

    def __init__(self, store: LocalObjectStore) -> None:
        self.store = store
        self.materials = Materials(store, store.scratch)
        self.settled: dict[str, files.Settled] = {}
        self.pin = AlgorithmPin(algorithm_id="i", name="n", major="1", minor="0", module="0" * 64, assets="0" * 64)

    async def settled_of(self, run: str) -> files.Settled | None:
        return self.settled.get(run)

    async def tree(self, pin: AlgorithmPin, overlay: Mapping[str, str] = EMPTY, *, project: str = "default") -> Path:
        return await self.materials.tree(project, pin, overlay)

    async def begin(self, *inputs: str, project: str = "default") -> RunFiles:
        return await self.materials.begin(
            algorithm=self.pin,
            project=project,
            run=new_id(),
            attempt=1,
            inputs=inputs,
            settled_of=self.settled_of,
        )

    async def uploaded(self, data: bytes = b"data", *, project: str = "default", committed: bool = True) -> str:
        file_id = new_id()
        await self._store_bytes(file_id, data, {"project": project})
        if committed:
            entry = files.FileEntry(
                file_id=file_id, project=project, size=len(data), etag="e", time=utc_now(), datasets=[]
            )
            await files.commit(self.store, entry)
        return file_id

    async def made_by(self, run: str, attempt: int = 1) -> str:
        file_id = new_id()
        metadata = {"project": "default", "run": run, "attempt": str(attempt)}
        await self._store_bytes(file_id, b"made", metadata)
        return file_id

    async def _store_bytes(self, file_id: str, data: bytes, metadata: dict[str, str]) -> None:
        source = self.store.scratch / file_id
        source.write_bytes(data)
        upload = FileUpload(files.bytes_key(file_id), source, metadata)
        await self.store.put_files(files.COLLECTION, [upload])

    async def deploy(
        self, modules: dict[str, str], assets: dict[str, bytes], executable: Collection[str] = ()
    ) -> AlgorithmPin:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in modules.items():
                archive.writestr(name, text)
        module = hashlib.sha256(packed.getvalue()).hexdigest()
        await self.store.put(algorithms.MODULES, module, packed.getvalue())
        contents = {path: hashlib.sha256(data).hexdigest() for path, data in assets.items()}
        for path, data in assets.items():
            await self.store.put(algorithms.ASSETS, contents[path], data)
        marks = {path: marked(content, executable=path in executable) for path, content in contents.items()}
        index, packed_index = algorithms.pack_index(marks)
        await self.store.put(algorithms.ASSETS, algorithms.index_key(index), packed_index, condition=ABSENT)
        self.pin = self.pin.model_copy(update={"module": module, "assets": index})
        return self.pin


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    store = LocalObjectStore(tmp_path)
    await store.open()
    node = Node(store)
    await node.materials.open()
    yield node
    await node.materials.close()
    await store.close()


# --- code and assets --------------------------------------------------------------------------------------


async def test_a_module_lies_in_a_folder_of_its_own(node: Node) -> None:
    pin = await node.deploy({"Runner.py": "x = 1\n", "pkg/sub.py": "y = 2\n"}, {})
    folder = await node.tree(pin)
    assert (folder / "pkg" / "sub.py").read_text() == "y = 2\n"


async def test_many_runs_that_start_at_once_put_a_folder_together_once(node: Node) -> None:
    pin = await node.deploy({"Runner.py": ""}, {"files/w": b"w"})
    folders = await asyncio.gather(*(node.tree(pin) for _ in range(20)))
    assert len(set(folders)) == 1
    assert list(folders[0].parent.iterdir()) == [folders[0]]


async def test_a_folder_has_modules_and_assets_with_their_modes(node: Node) -> None:
    pin = await node.deploy({"Runner.py": "", "pkg/sub.py": ""}, {"pkg/data/w": b"w", "bin/tool": b"#!"}, {"bin/tool"})
    folder = await node.tree(pin)
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(found) == {"Runner.py", "pkg/sub.py", "pkg/data/w", "bin/tool"}
    assert [path for path, place in found.items() if os.access(place, os.X_OK)] == ["bin/tool"]


async def test_what_an_algorithm_writes_into_its_folder_the_store_does_not_have(node: Node) -> None:
    pin = await node.deploy({"Runner.py": ""}, {"files/w": b"w"})
    (await node.tree(pin) / "files/w").write_bytes(b"spoilt")
    assert (await (await node.begin()).asset("files/w")).read_bytes() == b"w"


async def test_a_checkpoint_has_a_folder_of_its_own_with_its_assets(node: Node) -> None:
    pin = await node.deploy({"Runner.py": ""}, {"files/a": b"a", "files/b": b"b"})
    learnt = hashlib.sha256(b"learnt").hexdigest()
    await node.store.put(algorithms.ASSETS, learnt, b"learnt")
    plain, other = (
        await node.tree(pin),
        await node.tree(pin, {"files/a": learnt, "no/asset": learnt}),
    )
    read = [[(folder / "files" / name).read_bytes() for name in "ab"] for folder in (plain, other)]
    assert read == [[b"a", b"b"], [b"learnt", b"b"]]
    assert not (other / "no").exists()


async def test_a_folder_of_which_the_store_has_lost_something_is_not_half_there(node: Node) -> None:
    pin = await node.deploy({"Runner.py": ""}, {"files/a": b"a"})
    content = hashlib.sha256(b"a").hexdigest()
    await node.store.delete(algorithms.ASSETS, content)
    with pytest.raises(NotFound):
        await node.tree(pin)
    await node.store.put(algorithms.ASSETS, content, b"a")
    assert (await node.tree(pin) / "files/a").exists()


async def test_a_module_that_is_gone_is_not_found_and_asked_for_again(node: Node) -> None:
    with pytest.raises(NotFound):
        await node.tree(node.pin)
    pin = await node.deploy({"Runner.py": ""}, {})
    assert (await node.tree(pin) / "Runner.py").exists()


async def test_a_hash_that_is_none_is_refused(node: Node) -> None:
    with pytest.raises(InvalidInput):
        await node.tree(node.pin.model_copy(update={"module": "../../etc"}))


async def test_an_asset_is_found_by_its_path(node: Node) -> None:
    await node.deploy({"Runner.py": ""}, {"files/weights.bin": b"w"})
    run = await node.begin()
    assert (await run.asset("files/weights.bin")).read_bytes() == b"w"


@pytest.mark.parametrize("path", ["weights.bin", "../weights.bin", "/etc/passwd", ""])
async def test_a_path_that_is_no_asset_is_refused_by_its_code(node: Node, path: str) -> None:
    await node.deploy({"Runner.py": ""}, {"files/weights.bin": b"w"})
    run = await node.begin()
    with pytest.raises(NotFound) as caught:
        await run.asset(path)
    assert caught.value.code == "asset_path_not_found"


# --- files ------------------------------------------------------------------------------------------------


async def test_inputs_come_in_the_order_asked_for(node: Node) -> None:
    first, second = await node.uploaded(b"1"), await node.uploaded(b"2")
    run = await node.begin(first, second)
    paths = await run.fetch([second, first, second])
    assert [path.read_bytes() for path in paths] == [b"2", b"1", b"2"]


async def test_a_file_fetched_twice_is_placed_once(node: Node) -> None:
    file_id = await node.uploaded()
    run = await node.begin(file_id)
    assert await run.fetch([file_id]) == await run.fetch([file_id])


async def test_threads_that_fetch_the_same_file_at_once_all_find_it(node: Node) -> None:
    file_ids = [await node.uploaded(bytes([n])) for n in range(8)]
    run = await node.begin(*file_ids)
    answers = await asyncio.gather(*(run.fetch(file_ids) for _ in range(8)))
    assert all(path.exists() for paths in answers for path in paths)


async def test_a_visible_file_of_the_project_may_be_fetched(node: Node) -> None:
    file_id = await node.uploaded()
    assert len(await (await node.begin()).fetch([file_id])) == 1


async def test_the_file_of_a_completed_run_may_be_fetched(node: Node) -> None:
    file_id = await node.made_by("r")
    node.settled["r"] = files.Settled(Status.COMPLETED, 1)
    assert len(await (await node.begin()).fetch([file_id])) == 1


async def refused(run: RunFiles, file_id: str) -> str:
    with pytest.raises(NotFound) as caught:
        await run.fetch([file_id])
    return caught.value.code


async def test_an_unknown_file_is_not_found(node: Node) -> None:
    assert await refused(await node.begin(), "nothing") == "file_not_found"


async def test_an_input_that_has_expired_is_not_found(node: Node) -> None:
    file_id = new_id()
    assert await refused(await node.begin(file_id), file_id) == "file_not_found"


async def test_a_file_of_another_project_is_as_good_as_none(node: Node) -> None:
    file_id = await node.uploaded(project="lab")
    assert await refused(await node.begin(), file_id) == "file_not_found"


async def test_an_upload_that_nobody_has_looked_at_is_not_found(node: Node) -> None:
    file_id = await node.uploaded(committed=False)
    assert await refused(await node.begin(), file_id) == "file_not_found"


@pytest.mark.parametrize(
    "settled",
    [
        files.Settled(Status.RUNNING, 1),
        files.Settled(Status.FAILED, 1),
        files.Settled(Status.COMPLETED, 2),
    ],
    ids=["runs still", "failed", "completed with another attempt"],
)
async def test_what_another_run_has_not_brought_to_its_end_is_not_found(node: Node, settled: files.Settled) -> None:
    file_id = await node.made_by("r")
    node.settled["r"] = settled
    assert await refused(await node.begin(), file_id) == "file_not_found"


async def test_after_a_refusal_the_other_files_can_be_fetched(node: Node) -> None:
    file_id = await node.uploaded(b"good")
    run = await node.begin(file_id)
    await refused(run, "nothing")
    assert [path.read_bytes() for path in await run.fetch([file_id])] == [b"good"]


async def test_a_name_that_looks_like_a_path_leads_nowhere(node: Node) -> None:
    assert await refused(await node.begin("../../x"), "../../x") == "file_not_found"


async def test_what_was_posted_can_be_fetched_by_the_same_run_alone(node: Node) -> None:
    run, other = await node.begin(), await node.begin()
    [(file_id, path)] = await run.stage(1)
    path.write_bytes(b"new")
    await run.post([file_id])
    node.settled[(await files.locate(node.store, file_id)).run or ""] = files.Settled(Status.RUNNING, 1)
    assert [path.read_bytes() for path in await run.fetch([file_id])] == [b"new"]
    assert await refused(other, file_id) == "file_not_found"


async def test_every_post_leaves_its_own_note_for_the_sweeper(node: Node) -> None:
    run = await node.begin()
    for _ in range(2):
        [(file_id, path)] = await run.stage(1)
        path.write_bytes(b"x")
        await run.post([file_id])
    page = await node.store.list(files.COLLECTION, prefix="staged/")
    assert (len(page.items), len(run.posted)) == (2, 2)


async def test_only_what_was_staged_can_be_posted_once(node: Node) -> None:
    run = await node.begin()
    [(file_id, path)] = await run.stage(1)
    path.write_bytes(b"x")
    await run.post([file_id])
    for refused_ids in ([file_id], ["mine"], [file_id, file_id]):
        with pytest.raises(InvalidInput, match="staged"):
            await run.post(refused_ids)


async def test_what_is_no_plain_file_cannot_be_posted(node: Node, tmp_path: Path) -> None:
    run = await node.begin()
    (missing, _), (linked, link) = await run.stage(2)
    link.symlink_to("/etc/passwd")
    for file_id in (missing, linked):
        with pytest.raises(InvalidInput, match="plain file"):
            await run.post([file_id])


async def test_the_folder_of_a_run_goes_when_it_is_over_and_the_files_stay(node: Node) -> None:
    run = await node.begin()
    [(file_id, path)] = await run.stage(1)
    path.write_bytes(b"kept")
    (run.work / "left over").mkdir()
    await run.post([file_id])
    node.materials.end(run)
    async with asyncio.timeout(30):
        while run.folder.exists():
            await asyncio.sleep(0.01)
    assert await node.store.get(files.COLLECTION, files.bytes_key(file_id)) == b"kept"


async def test_every_run_has_a_new_folder(node: Node) -> None:
    runs = [await node.begin() for _ in range(40)]
    assert len({run.folder for run in runs}) == 40
    assert all(run.work.is_dir() for run in runs)


async def test_what_an_earlier_life_has_left_is_removed(node: Node) -> None:
    run = await node.begin()
    again = Materials(node.store, node.store.scratch)
    await again.open()
    assert not run.folder.exists()
    await again.close()
