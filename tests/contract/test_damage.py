"""Damage to the data folder: a start stops with a sentence that names the file, or goes on with nothing lost.

The table of `docs/operations.md` is made here: `VOXLOOM_WRITE_DOCS=1 pytest tests/contract/test_damage.py`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from shared.bus.embedded import repair as bus_repair
from shared.objects.embedded import backup, folder, manifest
from shared.objects.embedded import repair as store_repair
from shared.objects.embedded.rows import Row
from shared.sealed import inspection, sealfile
from shared.sealed.guard import Guard
from shared.sealed.inspection import Damaged, Found, judge
from shared.sealed.sealfile import Base, Mark, Seal, State
from shared.sealed.wal import Wal
from tests.contract.damage_world import PLACES, World, cut, flip, heard, lost_messages, lost_objects, make_world
from voxloom.errors import Misconfigured

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- damage: made by tests/contract/test_damage.py -->", "<!-- end of damage -->"

BLOB = "objects/objects/…"
FILES = (
    "bus/journal.sqlite",
    "bus/journal.sqlite-wal",
    "bus/journal.sqlite-shm",
    "bus/journal.sqlite.seal",
    "objects/objects.sqlite",
    "objects/objects.sqlite-wal",
    "objects/objects.sqlite-shm",
    "objects/objects.sqlite.seal",
    BLOB,
    "objects/objects.manifest",
    "objects/signing.key",
)
DAMAGES = ("a bit flipped", "cut short", "missing", "an older copy")
UNSEEN = "goes on: not read at a start"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return await make_world(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def trial(tmp_path: Path) -> Callable[[Path], Path]:
    """A fresh copy of a folder, to be damaged."""

    def copied(state: Path) -> Path:
        shutil.rmtree(tmp_path / "trial", ignore_errors=True)
        shutil.copytree(state, tmp_path / "trial")
        return tmp_path / "trial"

    return copied


def place_of(name: str, folder: Path) -> Path:
    if name != BLOB:
        return folder / name
    return min(path for path in (folder / "objects" / "objects").rglob("*") if path.is_file())


def ways(damage: str, name: str, world: World, state: Path) -> Iterator[Callable[[Path], object]]:
    """All that is tried of a kind of damage."""
    path = place_of(name, state)
    size = path.stat().st_size
    older = world.older / path.relative_to(state)
    if damage == "missing":
        yield Path.unlink
    elif damage == "cut short":
        yield partial(cut, size=size // 2)
        yield partial(cut, size=0)
    elif damage == "a bit flipped":
        for share in PLACES:
            yield partial(flip, at=min(int(share * size), size - 1))
    elif name == BLOB:
        yield partial(cut_and_filled, size=size)
    elif older.exists() and older.read_bytes() != path.read_bytes():
        yield partial(shutil.copyfile, older)


def cut_and_filled(path: Path, size: int) -> None:
    """Another file of the same size."""
    cut(path, 0)
    cut(path, size)


async def outcome(name: str, folder: Path, world: World) -> str:
    """How a start went; asserts that it is one of the two that there may be."""
    look = lost_messages if name.startswith("bus/") else lost_objects
    with heard() as lines:
        try:
            lost = await look(folder, world.content)
        except Misconfigured as error:
            stopped = error.message
            lost = None
    if lost is None:
        assert str(folder / (name if name != BLOB else "objects/objects/")) in stopped
        assert stopped.count(". ") == 0
        return "stops"
    if name == BLOB and lost:
        return UNSEEN
    assert lost == []
    return "goes on, says so" if lines else "goes on"


async def table_of(world: World, trial: Callable[[Path], Path]) -> str:
    rows = ["| file | " + " | ".join(DAMAGES) + " |", "|---|" + "---|" * len(DAMAGES)]
    for when, state in (("after a kill", world.killed), ("after a stop", world.stopped)):
        for name in FILES:
            if not (name == BLOB or (state / name).exists()):
                continue
            cells = []
            for damage in DAMAGES:
                seen = set()
                for do in ways(damage, name, world, state):
                    folder = trial(state)
                    do(place_of(name, folder))
                    seen.add(await outcome(name, folder, world))
                cells.append(" or ".join(sorted(seen, reverse=True)) or "–")
            rows.append(f"| `{name}` {when} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


async def test_the_table_of_the_docs_is_what_a_start_does(world: World, trial: Callable[[Path], Path]) -> None:
    made = f"{BEGIN}\n\n{await table_of(world, trial)}\n\n{END}"
    text = DOCUMENT.read_text()
    found = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", text, re.DOTALL)
    assert found is not None
    if os.environ.get("VOXLOOM_WRITE_DOCS"):
        DOCUMENT.write_text(text.replace(found[0], made))
    assert found[0] == made or os.environ.get("VOXLOOM_WRITE_DOCS")


@pytest.mark.parametrize("name", ["bus/journal.sqlite", "objects/objects.sqlite"])
async def test_a_flipped_bit_in_any_page_of_a_database_is_noticed(
    world: World, trial: Callable[[Path], Path], name: str
) -> None:
    path = trial(world.stopped) / name
    data = path.read_bytes()
    for at in (page + offset for page in range(0, len(data), 4096) for offset in (0, 4095)):
        flip(path, at)
        with pytest.raises(Damaged, match=f"page {at // 4096 + 1}\\)"):
            inspection.inspect(path)
        path.write_bytes(data)


@pytest.mark.parametrize("name", ["bus/journal.sqlite", "objects/objects.sqlite"])
async def test_a_flipped_bit_in_any_frame_of_a_log_is_noticed(
    world: World, trial: Callable[[Path], Path], name: str
) -> None:
    database = trial(world.killed) / name
    log = inspection.log_of(database)
    data = log.read_bytes()
    step = 4120 * max(1, len(data) // 4120 // 8)
    for at in (frame + offset for frame in range(32, len(data), step) for offset in (0, 9, 17, 24 + 2000)):
        flip(log, at)
        with pytest.raises(Damaged, match="-wal is damaged"):
            inspection.inspect(database)
        log.write_bytes(data)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
async def test_a_repair_turns_one_flipped_bit_back(world: World, trial: Callable[[Path], Path], share: float) -> None:
    for state, name in ((world.killed, "objects/objects.sqlite-wal"), (world.stopped, "objects/objects.sqlite")):
        folder = trial(state)
        flip(folder / name, int(share * (folder / name).stat().st_size))
        assert "turned back" in " ".join(store_repair.repair(folder / "objects"))
        assert await lost_objects(folder, world.content) == []


async def test_a_repair_without_the_index_takes_the_backup_and_the_manifest(
    world: World, trial: Callable[[Path], Path]
) -> None:
    folder = trial(world.stopped)
    objects = folder / "objects"
    backup.make(objects, objects / "objects.sqlite", 1_800_000_000)
    (objects / "objects.sqlite").unlink()
    said = " ".join(store_repair.repair(objects))
    assert "backup of 2027-01-15" in said
    assert await lost_objects(folder, world.content) == []


async def test_a_backup_that_is_cut_off_leaves_nothing_on_a_full_disk(
    world: World, trial: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = trial(world.stopped) / "objects"
    (objects / "backups").mkdir(exist_ok=True)
    (objects / "backups" / "objects.part").write_bytes(b"left by a kill")
    before = [path for path in (objects / "backups").iterdir() if path.suffix == ".sqlite"]
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        assert backup.make(objects, objects / "objects.sqlite", 1_800_000_000) is None
        assert list((objects / "backups").iterdir()) == before
    monkeypatch.setattr(backup, "_sync", raising(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        backup.make(objects, objects / "objects.sqlite", 1_800_000_000)
    assert list((objects / "backups").iterdir()) == before


async def test_a_repair_names_large_objects_by_the_manifest_where_there_is_no_backup(
    world: World, trial: Callable[[Path], Path]
) -> None:
    folder = trial(world.stopped)
    (folder / "objects" / "objects.sqlite").unlink()
    assert f"{len(world.content.large)} of them came from the manifest" in " ".join(
        store_repair.repair(folder / "objects")
    )
    assert set(await lost_objects(folder, world.content)) & set(world.content.large) <= set(world.content.small)
    assert await lost_objects(folder, replace(world.content, small={})) == []


async def test_a_repair_gives_up_a_large_object_whose_file_is_gone_and_names_it(
    world: World, trial: Callable[[Path], Path]
) -> None:
    folder = trial(world.killed)
    place_of(BLOB, folder).unlink()
    assert "1 objects are lost: data-store/" in " ".join(store_repair.repair(folder / "objects"))
    assert len(await lost_objects(folder, world.content)) == 1


async def test_a_repair_of_the_bus_keeps_what_comes_before_the_damage(
    world: World, trial: Callable[[Path], Path]
) -> None:
    folder = trial(world.killed)
    log = folder / "bus" / "journal.sqlite-wal"
    cut(log, log.stat().st_size // 2)
    said = bus_repair.repair(folder / "bus")
    with closing(sqlite3.connect(folder / "bus" / "journal.sqlite")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM segments").fetchone()
    assert 0 < count < world.content.messages
    assert f"with {count} groups" in said[0]


async def test_a_repair_leaves_alone_what_is_not_damaged(world: World, trial: Callable[[Path], Path]) -> None:
    folder = trial(world.killed)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [*bus_repair.repair(folder / "bus"), *store_repair.repair(folder / "objects")] == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


async def test_a_repair_is_refused_while_a_server_uses_the_folder(world: World, trial: Callable[[Path], Path]) -> None:
    objects = trial(world.killed) / "objects"
    with folder.locked(objects), pytest.raises(Misconfigured, match="open"):
        store_repair.repair(objects)


async def test_damaged_lines_of_the_manifest_are_left_out(world: World, trial: Callable[[Path], Path]) -> None:
    objects = trial(world.killed) / "objects"
    whole = len(list(manifest.read(objects)))
    flip(objects / manifest.NAME, 40)
    assert len(list(manifest.read(objects))) == whole - 1


async def test_a_line_of_the_manifest_that_was_cut_off_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row("data-store", b"%d" % n, 1, "e", n, "{}", "{}", None, f"ab/{n}") for n in range(4)]
    made = manifest.Manifest(tmp_path)
    made.open([], 0)
    made.add(rows[:1])
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:40]))
        made.add(rows[1:2])
    made.add(rows[2:3])
    made.close()
    cut(tmp_path / manifest.NAME, (tmp_path / manifest.NAME).stat().st_size - 1)  # As by a power cut.
    made.open([], 0)
    made.add(rows[3:])
    made.close()
    assert [row.key for row in manifest.read(tmp_path)] == [b"0", b"2", b"3"]


async def test_a_folder_of_the_version_before_seals_goes_on(world: World, trial: Callable[[Path], Path]) -> None:
    folder = trial(world.killed)
    for path in (*folder.rglob("*.seal"), folder / "objects" / manifest.NAME):
        path.unlink()
    assert await lost_objects(folder, world.content) + await lost_messages(folder, world.content) == []


async def test_large_objects_without_an_index_stop_the_start(world: World, trial: Callable[[Path], Path]) -> None:
    folder = trial(world.killed)
    for path in (folder / "objects").glob("objects.sqlite*"):
        path.unlink()
    with pytest.raises(Misconfigured, match=r"objects\.sqlite is missing"):
        await lost_objects(folder, world.content)
    assert place_of(BLOB, folder).exists()


@pytest.mark.parametrize("length", [0, 76, 2048, 2048 + 24])
async def test_a_first_start_that_was_cut_off_while_it_made_the_seal_is_no_loss(tmp_path: Path, length: int) -> None:
    made = sealfile.pack_base(Base(State.OPENING)).ljust(2048, b"\0") + sealfile.pack_mark(Mark())
    for head in (made, bytes(2048) + made[2048:]):
        inspection.seal_of(tmp_path / "x.sqlite").write_bytes(head[:length])
        assert inspection.inspect(tmp_path / "x.sqlite").is_new


@pytest.mark.parametrize("name", ["bus/journal.sqlite", "objects/objects.sqlite"])
async def test_a_damaged_seal_does_not_hide_that_its_database_is_missing(
    world: World, trial: Callable[[Path], Path], name: str
) -> None:
    for state in (world.killed, world.stopped):
        database = trial(state) / name
        for path in (database, inspection.log_of(database)):
            path.unlink(missing_ok=True)
        flip(inspection.seal_of(database), 5)
        with pytest.raises(Damaged, match="is missing"):
            inspection.inspect(database)


@pytest.mark.parametrize("ends", ["kill", "kill after more", "stop"])
async def test_a_seal_that_a_full_disk_kept_from_growing_does_not_stop_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    guard, connection = sealed(tmp_path / "x.sqlite")
    fill(guard, connection, 300)
    guard.checkpoint(connection)
    fill(guard, connection, 3)
    with monkeypatch.context() as full:
        full.setattr(sealfile.SealFile, "write_sums", raising(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OSError, match="full"):
            guard.checkpoint(connection)
        if ends == "stop":
            guard.close(connection)
    if ends != "stop":
        fill(guard, connection, 3)  # The log has begun anew: the pages of before are in the database alone.
    if ends == "kill after more":
        guard.checkpoint(connection)
        fill(guard, connection, 3)
    assert inspection.inspect(tmp_path / "x.sqlite").sums is (ends == "kill after more")
    if ends != "stop":
        guard.close(connection)


def sealed(database: Path) -> tuple[Guard, sqlite3.Connection]:
    guard = Guard(database)
    guard.inspect()
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (body BLOB)")
    guard.begin(connection)
    return guard, connection


def fill(guard: Guard, connection: sqlite3.Connection, rows: int) -> None:
    for _ in range(rows):
        connection.execute("INSERT INTO t VALUES (randomblob(3000))")
        guard.committed(connection)


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


A, B = (7, 1), (8, 2)
MOVED = Base(State.OPEN, 4096, 5, Mark(A, 9))


@pytest.mark.parametrize(
    ("base", "mark", "log", "same_boot", "verdict"),
    [
        (MOVED, Mark(A, 9), Wal(99, A, 4096, 9), True, "goes on"),
        (MOVED, Mark(A, 9), Wal(), True, "goes on"),
        (MOVED, Mark(A, 9), Wal(99, A, 4096, 4), True, "sets the log aside"),
        (MOVED, Mark(A, 12), Wal(99, A, 4096, 11, 1), True, "stops"),
        (MOVED, Mark(A, 12), Wal(), True, "stops"),
        (MOVED, Mark(A, 12), Wal(99, B, 4096, 1), True, "goes on"),
        (MOVED, Mark(B, 3), Wal(99, A, 4096, 9), True, "stops"),
        (MOVED, Mark(A, 12), Wal(99, A, 4096, 13, 3), True, "goes on"),
        (MOVED, Mark(A, 12), Wal(99, A, 4096, 13, 1), False, "goes on"),
        (replace(MOVED, moved=Mark()), Mark(A, 12), Wal(99, A, 4096, 13, 3), False, "stops"),
        (replace(MOVED, state=State.CLOSED), Mark(A, 9), Wal(99, B, 4096, 1), True, "stops"),
        (replace(MOVED, state=State.CLOSED), Mark(A, 9), Wal(), True, "goes on"),
        (replace(MOVED, state=State.OPENING), Mark(A, 9), Wal(99, A, 4096, 3), True, "stops"),
        (replace(MOVED, state=State.OPENING), Mark(A, 9), Wal(), True, "looks into all"),
        (None, Mark(A, 9), Wal(99, A, 4096, 9), True, "looks into all"),
        (None, Mark(A, 9), Wal(99, A, 4096, 9, 2), True, "stops"),
    ],
)
async def test_what_the_seal_and_the_log_say_of_each_other_decides(
    base: Base | None, mark: Mark, log: Wal, same_boot: bool, verdict: str
) -> None:
    found = Found(4096, Seal(base, mark, dict.fromkeys(range(1, 6), 0)), log, same_boot)
    try:
        seen = judge(found, "x.sqlite")
        said = "looks into all" if not seen.sums else "sets the log aside" if seen.log_aside else "goes on"
    except Damaged:
        said = "stops"
    assert said == verdict


async def test_a_torn_seal_is_known_as_such() -> None:
    data = bytearray(sealfile.pack_base(MOVED).ljust(2048, b"\0") + sealfile.pack_mark(Mark(A, 9)).ljust(2048, b"\0"))
    data += sealfile.pack_block(0, range(5))
    assert sealfile.parse(bytes(data)) == Seal(MOVED, Mark(A, 9), dict(zip(range(1, 6), range(5), strict=True)))
    data[5] ^= 1
    data[2050] ^= 1
    data[4100] ^= 1
    assert sealfile.parse(bytes(data)) == Seal(None, None, {})
