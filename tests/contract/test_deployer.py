"""Deploys and removals, on the embedded bus and store."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import py_compile
import tomllib
import zipfile
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from messages.deploys import (
    AlgorithmDeleted,
    AlgorithmDeleteRefused,
    AlgorithmDeleteRequested,
    DeployCompleted,
    DeployFailed,
    DeployRequested,
    DeployStarted,
)
from services.deployer import descriptions, limited_process
from services.deployer import service as deployer_module
from services.deployer.contents import Contents
from services.deployer.crash_guard import Tries
from services.deployer.service import Deployer
from shared import checkpoints
from shared.algorithms import ASSETS, MODULES, asset_index, fetch_module, load_by_id, record_of
from shared.environment import scrubbed
from shared.forkserver import Line
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from tests import forking
from tests.contract.platform_support import Heard, open_platform, running
from tests.unit.training_samples import checkpoint_of
from voxloom.errors import NotFound, StoreUnavailable
from voxloom.ids import new_id
from voxloom.models import DeployOverrides, utc_now
from voxloom.unpack import Algorithm, unpack_zip

RUNNER = """
from voxloom import Runner as Base
import helper

class Runner(Base):
    def preprocess(self, input_data, args): return input_data
    def inference(self, data, args): return data
    def postprocess(self, data, args): return data["input_dataset_ids"]
"""
PYPROJECT = """
[project]
name = "echo"
version = "1.0"
[tool.voxloom]
description = "Gives back what it is given."
tags = ["test"]
removable = true
"""
GOOD = {"Runner.py": RUNNER, "helper.py": "", "pyproject.toml": PYPROJECT, "files/weights.pt": "w" * 200_000}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[tuple[Platform, Heard]]:
    async with open_platform(tmp_path / "data", check_timeout=60.0) as (platform, heard):
        yield platform, heard


@pytest.fixture
async def deployer(system: tuple[Platform, Heard]) -> AsyncIterator[Deployer]:
    async with running(Deployer, system[0]) as service:
        yield service


def without_check(files: dict[str, str]) -> dict[str, str]:
    return {**files, "pyproject.toml": files["pyproject.toml"] + "check_importable = false\n"}


QUICK = without_check(GOOD)
"""Deploys without a process to try it in."""
PLAIN = "0" * 64


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return target.getvalue()


async def request(platform: Platform, data: bytes, overrides: DeployOverrides | None = None) -> DeployRequested:
    """What a gateway publishes, its zip in the store; not published yet."""
    deploy_id = new_id()
    key = f"sources/{deploy_id}"
    await platform.store.put("deploy-store", key, data)
    return DeployRequested(subject=deploy_id, source_key=key, path="echo.zip", overrides=overrides or DeployOverrides())


async def deploy(
    system: tuple[Platform, Heard], files: dict[str, str] | bytes, overrides: DeployOverrides | None = None
) -> DeployCompleted | DeployFailed:
    platform, heard = system
    event = await request(platform, files if isinstance(files, bytes) else zipped(files), overrides)
    await platform.bus.publish(event)
    return await heard.first(DeployCompleted, DeployFailed, subject=event.subject)


async def deploy_well(
    system: tuple[Platform, Heard], files: dict[str, str], overrides: DeployOverrides | None = None
) -> DeployCompleted:
    outcome = await deploy(system, files, overrides)
    assert isinstance(outcome, DeployCompleted), outcome
    return outcome


async def deploy_badly(system: tuple[Platform, Heard], files: dict[str, str] | bytes) -> DeployFailed:
    outcome = await deploy(system, files)
    assert isinstance(outcome, DeployFailed), outcome
    return outcome


async def keys(platform: Platform, collection: str) -> set[str]:
    return {item.key for item in (await platform.store.list(collection)).items}


# --- deploys ----------------------------------------------------------------------------------------------


async def test_an_algorithm_is_deployed(system: tuple[Platform, Heard], deployer: Deployer, tmp_path: Path) -> None:
    platform, heard = system

    done = await deploy_well(system, GOOD)
    record = record_of(await load_by_id(platform.store, done.algorithm_id))

    assert (done.algorithm_name, done.algorithm_major_version, done.algorithm_minor_version) == ("echo", "1", "0")
    assert (done.changed, done.warnings, record.algorithm_tags) == (True, [], ["test"])
    assert [event.subject for event in heard.of(DeployStarted)] == [done.subject]


async def test_module_and_assets_can_be_fetched(
    system: tuple[Platform, Heard], deployer: Deployer, tmp_path: Path
) -> None:
    platform, _ = system

    done = await deploy_well(system, QUICK)
    version = (await load_by_id(platform.store, done.algorithm_id)).latest
    index = await asset_index(platform.store, version.assets)
    await fetch_module(platform.store, version.module, tmp_path / "module")

    assert (tmp_path / "module/Runner.py").read_text() == RUNNER
    assert set(index) == {"pyproject.toml", "files/weights.pt"}
    assert await platform.store.get(ASSETS, index["files/weights.pt"]) == b"w" * 200_000


async def test_what_was_deployed_is_removed_from_where_it_waited(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    platform, _ = system

    await deploy_well(system, QUICK)
    await deployer.stop()

    assert [key for key in await keys(platform, "deploy-store") if key.startswith("sources/")] == []
    assert list(platform.store.scratch.iterdir()) == []


async def test_the_same_again_adds_nothing_and_a_change_adds_a_minor(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    first = await deploy_well(system, QUICK)
    same = await deploy_well(system, QUICK)
    changed = await deploy_well(system, {**QUICK, "helper.py": "x = 1"})

    assert [done.algorithm_minor_version for done in (first, same, changed)] == ["0", "0", "1"]
    assert [done.changed for done in (first, same, changed)] == [True, False, True]
    assert len({done.algorithm_id for done in (first, same, changed)}) == 1


async def test_deploys_at_the_same_time_give_one_id(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    done = await asyncio.gather(*(deploy_well(system, {**QUICK, "helper.py": f"x = {number}"}) for number in range(8)))

    assert len({one.algorithm_id for one in done}) == 1
    assert sorted(one.algorithm_minor_version for one in done) == [str(number) for number in range(8)]


async def test_overrides_count(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    overrides = DeployOverrides(algorithm_name="other", algorithm_major_version="3", exportable=False)

    done = await deploy_well(system, QUICK, overrides)
    record = record_of(await load_by_id(system[0].store, done.algorithm_id))

    assert (record.algorithm_name, record.algorithm_version, record.exportable) == ("other", "3", False)


async def test_a_deploy_that_is_delivered_again_ends_as_it_did(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    platform, heard = system
    event = await request(platform, zipped(QUICK))
    await deployer.handle([event])
    await deploy_well(system, {**QUICK, "helper.py": "x = 1"})

    await deployer.handle([event])
    ends = await heard.some(2, DeployCompleted, subject=event.subject)

    assert ends[0] == ends[1]
    assert list((await load_by_id(platform.store, ends[0].algorithm_id)).minors) == ["0", "1"]


# --- deploys that fail ------------------------------------------------------------------------------------


def fault(runner: str) -> dict[str, str]:
    return {**GOOD, "Runner.py": runner}


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (b"no zip", "invalid_deployment_zip"),
        ({"pyproject.toml": PYPROJECT}, "algorithm_runner_not_found"),
        ({"Runner.py": RUNNER}, "invalid_pyproject"),
        ({**GOOD, "pyproject.toml": "[project"}, "invalid_pyproject"),
        (fault("import numpy as np"), "algorithm_not_importable"),
        (fault("class Runner: pass"), "algorithm_not_importable"),
        (fault("import a_library_that_is_not_there"), "algorithm_not_importable"),
        (fault("class Runner(:"), "algorithm_not_importable"),
        (fault(RUNNER.replace("def inference", "def infer")), "algorithm_not_importable"),
        (fault(RUNNER + "    def __init__(self, size): pass"), "algorithm_not_importable"),
        (fault("import sys; sys.exit(0)"), "algorithm_not_importable"),
        (fault("import os; os._exit(0)"), "algorithm_not_importable"),
        (fault("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), "algorithm_not_importable"),
    ],
)
async def test_an_authors_mistake_fails_the_deploy_at_once(
    system: tuple[Platform, Heard], deployer: Deployer, files: dict[str, str] | bytes, code: str
) -> None:
    failed = await deploy_badly(system, files)

    assert failed.error.code == code
    assert len(failed.log) > 20
    assert await keys(system[0], "algorithm-store") <= {"unreferenced"}


async def test_the_log_has_what_was_printed_and_the_traceback_without_our_paths(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    failed = await deploy_badly(system, {**GOOD, "helper.py": "print('so far')\nsecret = 'hunter2'\n1 / 0"})

    assert "ZeroDivisionError" in failed.error.message
    assert 'File "helper.py", line 3' in failed.log
    assert ["so far" in failed.log, "hunter2" in failed.log, str(system[0].settings.data) in failed.log] == [
        True,
        False,
        False,
    ]


async def test_an_algorithm_that_hangs_at_import_is_given_up_with_all_it_has_started(tmp_path: Path) -> None:
    hang = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    async with (
        open_platform(tmp_path / "data", check_timeout=3.0) as system,
        running(Deployer, system[0]),
    ):
        failed = await deploy_badly(system, fault(hang))

    assert "longer than 3 s" in failed.error.message
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of libraries that the server's Python has."""
    place = tmp_path / "installed"
    place.mkdir()
    monkeypatch.setattr(
        limited_process, "scrubbed", lambda environment: {**scrubbed(environment), "PYTHONPATH": str(place)}
    )
    monkeypatch.setattr(Line, "open", forking.USUAL)
    return place


async def test_the_time_that_libraries_take_does_not_count(tmp_path: Path, installed: Path) -> None:
    (installed / "slow_library.py").write_text("import time; time.sleep(3)")
    async with open_platform(tmp_path / "data", check_timeout=2.0) as system, running(Deployer, system[0]):
        done = await deploy_well(system, {**GOOD, "helper.py": "import slow_library"})
        failed = await deploy_badly(system, {**GOOD, "helper.py": "import slow_library, time\ntime.sleep(600)"})

    assert done.changed
    assert "longer than 2 s, beside the time that libraries took (slow_library 3." in failed.error.message
    assert "`check_timeout`" in failed.error.message
    assert 'File "helper.py", line 2' in failed.log


async def test_dependencies_that_are_not_here_are_named(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    wanted = PYPROJECT.replace("[tool", 'dependencies = ["numpy", "not-here-at-all>=1"]\n[tool')
    done = await deploy_well(system, {**GOOD, "pyproject.toml": wanted})
    failed = await deploy_badly(system, {**GOOD, "pyproject.toml": wanted, "helper.py": "import not_here_at_all"})

    assert "not-here-at-all>=1 (not installed)" in done.warnings[-1]
    assert "not-here-at-all>=1 (not installed)" in failed.error.message


async def test_a_pyproject_that_takes_for_ever_is_refused_by_the_process_that_reads_it(
    system: tuple[Platform, Heard], deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tomllib, "loads", None)  # In this process, nothing of anybody's is parsed.
    endless = QUICK["pyproject.toml"] + "a" + ".a" * 20_000 + " = 1"

    failed = await deploy_badly(system, {**QUICK, "pyproject.toml": endless})
    await deploy_well(system, QUICK)

    assert (failed.error.code, "dotted parts" in failed.error.message) == ("invalid_pyproject", True)


async def test_a_pyproject_too_large_for_the_memory_of_its_process_is_refused(
    system: tuple[Platform, Heard], deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "MEMORY", 1)

    failed = await deploy_badly(system, QUICK)

    assert (failed.error.code, "more memory" in failed.error.message) == ("invalid_pyproject", True)


async def test_a_pyproject_that_takes_longer_than_its_process_has_is_refused(
    system: tuple[Platform, Heard], deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one that nobody reads to its end
    def endless(*arguments: Any) -> Algorithm:
        algorithm = unpack(*arguments)
        place = algorithm.assets["pyproject.toml"].place
        place.unlink()
        os.mkfifo(place)
        return algorithm

    unpack = deployer_module._unpack
    monkeypatch.setattr(deployer_module, "_unpack", endless)
    monkeypatch.setattr(descriptions, "SECS", 0.1)

    failed = await deploy_badly(system, QUICK)

    assert (failed.error.code, "longer than 0.1 s" in failed.error.message) == ("invalid_pyproject", True)


async def test_an_algorithm_that_changes_itself_while_it_is_tried_is_refused(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    code = "from pathlib import Path; (Path(__file__).parent / 'files/weights.pt').write_text('other')"

    failed = await deploy_badly(system, {**GOOD, "helper.py": code})

    assert "changes its own files" in failed.error.message


async def test_a_deploy_that_ends_its_process_each_time_is_given_up(
    system: tuple[Platform, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a deploy that two processes have begun, which did not come to say how it went
    platform, heard = system
    event = await request(platform, zipped(QUICK))
    await platform.store.put("deploy-store", f"tries/{event.subject}", orjson.dumps([new_id(), new_id()]))
    # When a third one gets it
    async with running(Deployer, platform) as deployer:
        monkeypatch.setattr(deployer, "_build", None)
        await deployer.handle([event])
    # Then it is not tried again
    assert (await heard.first(DeployFailed, subject=event.subject)).error.code == "deploy_given_up"


async def broken_off(tries: Tries) -> bool | None:
    deadly = None
    with contextlib.suppress(StoreUnavailable):
        async with tries.one_more("deploy") as deadly:
            raise StoreUnavailable("away")
    return deadly


async def test_what_a_process_lives_through_does_not_count_as_its_end(system: tuple[Platform, Heard]) -> None:
    platform, _ = system
    deadly = [await broken_off(Tries(platform.store, new_id())) for _ in range(5)]
    assert deadly == [False] * 5
    assert await keys(platform, "deploy-store") == set()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_algorithm_sees_no_settings_of_the_server(
    system: tuple[Platform, Heard], deployer: Deployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXLOOM_TOKEN", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    failed = await deploy_badly(system, fault("import os\nraise ValueError(dict(os.environ))"))

    assert "hunter2" not in failed.log


async def test_a_zip_that_is_gone_fails_the_deploy(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    platform, heard = system

    await platform.bus.publish(DeployRequested(subject="d", source_key="sources/none", path="x"))

    assert (await heard.first(DeployFailed, subject="d")).error.code == "deployment_zip_not_found"


async def test_a_deploy_of_something_that_is_no_zip_of_a_client_takes_nothing_away(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    platform, heard = system
    await platform.store.put("deploy-store", "outcomes/e", b"kept")
    for odd in ("outcomes/e", "../e", "x" * 5000, ""):
        await platform.bus.publish(DeployRequested(subject="d", source_key=odd, path="x"))
    await platform.bus.publish(DeployRequested(subject="after", source_key="sources/none", path="x"))
    await heard.first(DeployFailed, subject="after")
    assert await platform.store.get("deploy-store", "outcomes/e") == b"kept"
    assert [event.subject for event in heard.of(DeployFailed)] == ["after"]


# --- removals ---------------------------------------------------------------------------------------------


async def ask_to_remove(
    system: tuple[Platform, Heard], algorithm_id: str, minor: str | None = None, *, regardless: bool = False
) -> AlgorithmDeleted | AlgorithmDeleteRefused:
    platform, heard = system
    known = len(heard.of(AlgorithmDeleted, AlgorithmDeleteRefused))
    event = AlgorithmDeleteRequested(subject=algorithm_id, minor=minor, regardless=regardless)
    await platform.bus.publish(event)
    answers: list[AlgorithmDeleted | AlgorithmDeleteRefused] = await heard.some(
        known + 1, AlgorithmDeleted, AlgorithmDeleteRefused
    )
    assert answers[-1].request_id == event.id
    return answers[-1]


async def test_a_minor_is_removed_and_its_siblings_keep_what_they_share(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    platform, _ = system
    done = await deploy_well(system, QUICK)
    await deploy_well(system, {**QUICK, "helper.py": "x = 1"})

    assert isinstance(await ask_to_remove(system, done.algorithm_id, "0"), AlgorithmDeleted)
    await deployer.sweep(utc_now())
    await deployer.sweep(utc_now() + timedelta(hours=25))

    version = (await load_by_id(platform.store, done.algorithm_id)).latest
    assert await keys(platform, MODULES) == {version.module}
    assert set((await asset_index(platform.store, version.assets)).values()) <= await keys(platform, ASSETS)


async def test_an_algorithm_is_removed_whole(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    done = await deploy_well(system, QUICK)

    await ask_to_remove(system, done.algorithm_id)

    with pytest.raises(NotFound):
        await load_by_id(system[0].store, done.algorithm_id)


@pytest.mark.parametrize(("minor", "code"), [("7", "minor_version_not_found"), (None, "algorithm_not_removable")])
async def test_what_cannot_be_removed_is_refused(
    system: tuple[Platform, Heard], deployer: Deployer, minor: str | None, code: str
) -> None:
    done = await deploy_well(system, QUICK, DeployOverrides(removable=False))

    refused = await ask_to_remove(system, done.algorithm_id, minor)

    assert isinstance(refused, AlgorithmDeleteRefused)
    assert refused.error.code == code


async def test_an_unknown_algorithm_is_refused(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    refused = await ask_to_remove(system, new_id())

    assert isinstance(refused, AlgorithmDeleteRefused)
    assert refused.error.code == "algorithm_not_found"


async def test_an_operator_removes_what_is_not_removable(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    done = await deploy_well(system, QUICK, DeployOverrides(removable=False))

    assert isinstance(await ask_to_remove(system, done.algorithm_id, regardless=True), AlgorithmDeleted)


async def test_a_removal_that_is_delivered_again_is_answered_as_before(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    _, heard = system
    done = await deploy_well(system, QUICK)
    event = AlgorithmDeleteRequested(subject=done.algorithm_id)
    await deployer.handle([event])

    await deployer.handle([event])

    assert len(await heard.some(2, AlgorithmDeleted)) == 2


# --- what nobody needs any more ---------------------------------------------------------------------------


async def removed_algorithm(system: tuple[Platform, Heard]) -> None:
    done = await deploy_well(system, QUICK)
    await ask_to_remove(system, done.algorithm_id)


async def test_content_goes_a_day_after_the_last_reference(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    platform, _ = system
    await removed_algorithm(system)

    await deployer.sweep(utc_now() + timedelta(hours=100))
    kept = await keys(platform, MODULES)
    await deployer.sweep(utc_now() + timedelta(hours=125))

    assert len(kept) == 1
    assert (await keys(platform, MODULES), await keys(platform, ASSETS)) == (set(), set())


async def test_assets_of_a_checkpoint_stay_as_long_as_it_does(
    system: tuple[Platform, Heard], deployer: Deployer
) -> None:
    platform, _ = system
    content = "c" * 64
    await platform.store.put(ASSETS, content, b"learnt")
    checkpoint = checkpoint_of({"files/weights": content})
    await checkpoints.save(platform.store, checkpoint)

    for hours in (0, 100, 200):
        await deployer.sweep(utc_now() + timedelta(hours=hours))
    kept = await keys(platform, ASSETS)
    await checkpoints.remove(platform.store, checkpoint)
    for hours in (300, 400):
        await deployer.sweep(utc_now() + timedelta(hours=hours))

    assert (content in kept, content in await keys(platform, ASSETS)) == (True, False)


@pytest.mark.parametrize(("again", "left"), [(True, 1), (False, 0)])
async def test_content_that_is_put_again_just_before_it_goes_stays(tmp_path: Path, again: bool, left: int) -> None:
    now = utc_now()
    clock = [now.timestamp() - 100_000.0]
    store = LocalObjectStore(tmp_path / "objects", clock=lambda: clock[0])
    await store.open()
    contents = Contents(store)
    await contents.put(unpacked(tmp_path / "first"), PLAIN, tmp_path / "first")
    await contents.sweep(now - timedelta(hours=25))
    clock[0] = now.timestamp()

    if again:
        await contents.put(unpacked(tmp_path / "second"), PLAIN, tmp_path / "second")
    await contents.sweep(now)

    assert len((await store.list(MODULES)).items) == left
    await store.close()


def unpacked(folder: Path) -> Algorithm:
    (folder / "files").mkdir(parents=True)
    (folder / "source.zip").write_bytes(zipped(QUICK))
    return unpack_zip(folder / "source.zip", folder / "files")


async def test_content_of_a_deploy_under_way_stays(system: tuple[Platform, Heard], deployer: Deployer) -> None:
    platform, _ = system
    await platform.store.put(MODULES, "under-way", b"")

    await deployer.sweep(utc_now())
    await deployer.sweep(utc_now() + timedelta(hours=23))

    assert await keys(platform, MODULES) == {"under-way"}


async def test_a_zip_of_compiled_modules_alone_is_tried_and_deployed(
    system: tuple[Platform, Heard], deployer: Deployer, tmp_path: Path
) -> None:
    files = {"pyproject.toml": PYPROJECT.encode()}
    for name, text in (("Runner", RUNNER.replace("import helper", "from .helper import name")), ("helper", "name = 1")):
        (tmp_path / f"{name}.py").write_text(text)
        compiled = py_compile.compile(str(tmp_path / f"{name}.py"), str(tmp_path / f"{name}.pyc"), doraise=True)
        files[f"{name}.pyc"] = Path(str(compiled)).read_bytes()
    assert isinstance(await deploy(system, zipped(files)), DeployCompleted)
