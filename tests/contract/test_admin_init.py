"""`voxloom admin init`: the first admin of a store, and only that one."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services import admin
from services.admin import TOKEN_FILE, FirstAdmin, another_token, first_admin
from shared.audit.reading import Wanted, read
from shared.control.bootstrap import DAYS
from shared.control.directory import Directory
from shared.control.objects import ADMINS, MODE, Admins, ControlObject, Principal, Token, Unreadable
from shared.control.store import ControlStore
from shared.objects.base import ANYWAY, Condition
from shared.objects.local import LocalObjectStore
from tests.s3server import S3Address
from voxloom.errors import Conflict, InvalidInput, Misconfigured, NotFound, StoreUnavailable
from voxloom.values import utc_now

TRIES = 5
"""How often two are let race."""


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no voxloom.toml
    for name in [name for name in os.environ if name.startswith("VOXLOOM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlStore]:
    store = LocalObjectStore(tmp_path / "data" / "objects")
    await store.open()
    yield ControlStore(store)
    await store.close()


async def init(control: ControlStore, file: Path, principal: str = "root") -> FirstAdmin:
    return await first_admin(control, principal, file, "closed")


async def directory_of(control: ControlStore) -> Directory:
    found = await control.read_many(await control.etags())
    return Directory({key: one for key, one in found.items() if one is not None})


# --- what is made ---------------------------------------------------------------------------------------------------


async def test_the_token_lets_an_admin_in(control: ControlStore, tmp_path: Path) -> None:
    made = await init(control, tmp_path / TOKEN_FILE)
    caller = (await directory_of(control)).caller(made.file.read_text().strip(), None, utc_now())
    assert (caller.principal, caller.project) == ("root", "default")
    assert caller.rights == {"read", "run", "deploy", "admin"}


async def test_the_token_is_for_its_owners_eyes_and_for_a_year(control: ControlStore, tmp_path: Path) -> None:
    made = await init(control, tmp_path / TOKEN_FILE)
    (token,) = (await directory_of(control)).tokens()
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert (token.expires_at - token.created_at).days == DAYS


async def test_the_store_does_not_serve_an_open_server_any_more(control: ControlStore, tmp_path: Path) -> None:
    await init(control, tmp_path / TOKEN_FILE)
    assert await control.read(MODE) is not None


def test_the_token_of_a_server_on_one_machine_is_in_its_data_folder(tmp_path: Path) -> None:
    made = admin.init(principal="root", data=tmp_path / "data", store=None, out=None)
    assert made.file == tmp_path / "data" / TOKEN_FILE
    assert made.file.read_text().startswith("vox_")


# --- what is refused, and what is left then -------------------------------------------------------------------------


async def everything(control: ControlStore) -> dict[str, str]:
    return await control.etags()


async def test_there_is_one_first_admin(control: ControlStore, tmp_path: Path) -> None:
    # Given a store with an admin
    await init(control, tmp_path / "first")
    before = await everything(control)
    # When somebody else wants to be the first
    with pytest.raises(Conflict, match="has an admin already: 'root'"):
        await init(control, tmp_path / "second", "eve")
    # Then nothing of it is left
    assert (await everything(control), (tmp_path / "second").exists()) == (before, False)


@pytest.mark.parametrize("names", [("root", "root"), ("root", "eve")])
async def test_of_two_at_once_one_wins_and_the_other_leaves_nothing(
    tmp_path: Path, control: ControlStore, names: tuple[str, str]
) -> None:
    for turn in range(TRIES):
        await control.remove(*await everything(control))
        files = [tmp_path / f"{turn}-{number}" for number in range(2)]
        # When two want to be the first at the same moment
        tries = (init(control, file, name) for file, name in zip(files, names, strict=True))
        done = await asyncio.gather(*tries, return_exceptions=True)
        # Then one of them is, with the only token
        (won,) = [one for one in done if isinstance(one, FirstAdmin)]
        (lost,) = [one for one in done if isinstance(one, Conflict)]
        assert (lost.code, [file.exists() for file in files].count(True)) == ("admin_exists", 1)
        directory = await directory_of(control)
        caller = directory.caller(won.file.read_text().strip(), None, utc_now())
        assert (caller.principal, len(list(directory.tokens()))) == (won.principal_id, 1)
        assert [one.id for one in directory.principals()] == [won.principal_id]


async def test_an_admin_that_cannot_be_read_is_one(control: ControlStore, tmp_path: Path) -> None:
    await control._store.put("control-store", ADMINS, b'{"format": 99}')
    with pytest.raises(Conflict, match="cannot be read"):
        await init(control, tmp_path / TOKEN_FILE)
    assert isinstance(await control.read(ADMINS), Unreadable)


async def test_a_file_that_is_there_stays_and_nothing_is_written(control: ControlStore, tmp_path: Path) -> None:
    file = tmp_path / TOKEN_FILE
    file.write_text("of old")
    with pytest.raises(Conflict, match=r"There is a .* already, .*--out"):
        await init(control, file)
    assert (file.read_text(), await everything(control)) == ("of old", {})


@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_an_existing_file_is_refused_before_there_is_a_store(tmp_path: Path, what: str) -> None:
    file = tmp_path / "mine"
    file.write_text("of old") if what == "a file" else file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="There is a"):
        admin.init(principal="root", data=tmp_path / "data", store=None, out=file)
    assert not (tmp_path / "data").exists()


def test_a_file_that_cannot_be_written_leaves_no_admin(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        admin.init(principal="root", data=tmp_path / "data", store=None, out=tmp_path / "nowhere" / "token")
    assert admin.init(principal="root", data=tmp_path / "data", store=None, out=None).file.exists()


@pytest.mark.usefixtures("control")
def test_a_folder_that_a_server_uses_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"Another process has the object store in .* open; stop it"):
        admin.init(principal="root", data=tmp_path / "data", store=None, out=None)
    assert not (tmp_path / "data" / TOKEN_FILE).exists()


@pytest.mark.parametrize("name", ["Root", "", "a b", "-a", "local", "system", "a" * 41, "../x", "root\n"])
def test_what_can_be_no_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="can be no id of an admin"):
        admin.init(principal=name, data=tmp_path / "data", store=None, out=None)
    assert not (tmp_path / "data").exists()


async def test_who_may_not_use_the_server_does_not_become_its_admin(control: ControlStore, tmp_path: Path) -> None:
    await control.put(Principal(id="root", disabled=True, created_at=utc_now(), created_by="root"))
    with pytest.raises(Conflict, match="--principal"):
        await init(control, tmp_path / TOKEN_FILE)
    assert (await control.read(ADMINS), (tmp_path / TOKEN_FILE).exists()) == (None, False)


# --- a store that many machines share -------------------------------------------------------------------------------


@pytest.fixture
def shared_store(living_store: S3Address, s3_keys: None) -> str:
    return living_store.url("layout=bucket")


def test_the_token_of_a_server_on_many_machines_is_where_it_was_asked_for(shared_store: str, tmp_path: Path) -> None:
    made = admin.init(principal="root", data=tmp_path / "data", store=shared_store, out=None)
    assert made.file == tmp_path / TOKEN_FILE
    with pytest.raises(Conflict, match="has an admin already"):
        admin.init(principal="eve", data=tmp_path / "data", store=shared_store, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


async def test_of_two_machines_at_once_one_wins(shared_store: str, tmp_path: Path) -> None:
    # When it is done on two machines at the same moment
    def on(name: str) -> FirstAdmin:
        return admin.init(principal="root", data=tmp_path / name, store=shared_store, out=tmp_path / f"{name}.token")

    done = await asyncio.gather(*(asyncio.to_thread(on, name) for name in "ab"), return_exceptions=True)
    # Then one of them has the only token
    (won,) = [one for one in done if isinstance(one, FirstAdmin)]
    assert [one.code for one in done if isinstance(one, Conflict)] == ["admin_exists"]
    assert list(tmp_path.glob("*.token")) == [won.file]


# --- what comes between ---------------------------------------------------------------------------------------------


class Held(ControlStore):
    """It waits before one key is written, or after that."""

    def __init__(self, control: ControlStore, key: str, *, after: bool = False) -> None:
        super().__init__(control._store)
        self._key, self._after = key, after
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, one: ControlObject, condition: Condition = ANYWAY) -> None:
        held = one.key.startswith(self._key)
        if held and not self._after:
            await self._wait()
        await super().put(one, condition)
        if held and self._after:
            await self._wait()

    async def _wait(self) -> None:
        self.reached.set()
        await self.go_on.wait()


@pytest.mark.parametrize("key", ["principals/", "projects/", "members/", "tokens/"])
@pytest.mark.parametrize("after", [False, True])
async def test_who_is_interrupted_may_try_again(control: ControlStore, tmp_path: Path, key: str, after: bool) -> None:
    # Given a try that is interrupted half way
    held = Held(control, key, after=after)
    file = tmp_path / TOKEN_FILE
    first = asyncio.create_task(init(held, file))
    await held.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not file.exists()
    # When it is done again
    made = await init(control, file)
    # Then there is an admin, and no token but theirs
    directory = await directory_of(control)
    assert [one.id for one in directory.tokens()] == [made.file.read_text().split("_")[1]]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("times", [1, 3])
async def test_the_last_word_is_said_to_its_end(control: ControlStore, tmp_path: Path, after: bool, times: int) -> None:
    held = Held(control, ADMINS, after=after)
    doing = asyncio.create_task(init(held, tmp_path / TOKEN_FILE))
    await held.reached.wait()
    for _ in range(times):
        doing.cancel()
        await asyncio.sleep(0)
    held.go_on.set()
    assert (await doing).file.exists()
    assert isinstance(await control.read(ADMINS), Admins)


class Silent(ControlStore):
    """The answer to its last word gets lost."""

    async def put(self, one: ControlObject, condition: Condition = ANYWAY) -> None:
        await super().put(one, condition)
        if isinstance(one, Admins):
            raise StoreUnavailable("The store does not answer; try again.")


async def test_where_nobody_knows_whether_it_was_done_the_token_is_kept(control: ControlStore, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="It is not known"):
        await init(Silent(control._store), tmp_path / TOKEN_FILE)
    token = (await directory_of(control)).proven_by((tmp_path / TOKEN_FILE).read_text().strip(), utc_now())
    assert isinstance(token, Token)


# --- another token --------------------------------------------------------------------------------------------------


async def test_an_admin_whose_tokens_are_gone_gets_another_one(control: ControlStore, tmp_path: Path) -> None:
    first = await init(control, tmp_path / "first")
    await control.remove(f"tokens/{first.file.read_text().split('_')[1]}")
    again = await another_token(control, "root", tmp_path / "second", "closed")
    caller = (await directory_of(control)).caller(again.file.read_text().strip(), None, utc_now())
    assert caller.rights == {"read", "run", "deploy", "admin"}
    told = (await read(control.objects, Wanted(10, lambda _: True))).entries
    assert [(one.action, one.subject, one.outcome) for one in told] == [("token.renew", "root", "done")]


async def test_nobody_else_gets_one(control: ControlStore, tmp_path: Path) -> None:
    await init(control, tmp_path / "first")
    before = await control.etags()
    with pytest.raises(NotFound, match="those are root"):
        await another_token(control, "anna", tmp_path / "second", "closed")
    assert (await control.etags(), (tmp_path / "second").exists()) == (before, False)
