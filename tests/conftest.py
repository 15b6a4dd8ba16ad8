"""What tests of every kind stand on."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import typer.main
import typer.testing

from tests import forking, readerforks, s3sessions, seaweed
from tests.acceptance.nursery import Nursery
from tests.brokers import MISSING, Broker, is_installed
from tests.certificates import certificates_once
from tests.chaos.loops import pytest_addoption as pytest_addoption  # here, since pytest reads no deeper for options
from tests.s3server import S3Server
from tests.seaweed import Seaweed, SeaweedAddress
from tests.sharing import Keeper, end_shared, end_with_group, facts_of, quick_folder

pytest.register_assert_rewrite("tests.contract")  # its behaviour classes, too, say what was compared

# The tests start some hundred processes of ours: each would compile all of its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


httpx._transports.default.create_ssl_context = certificates_once(httpx.create_ssl_context)  # type: ignore[attr-defined]
# CliRunner builds all commands for each that it runs.
typer.testing._get_command = functools.cache(typer.main.get_command)  # type: ignore[attr-defined]

s3sessions.install()

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

pytest_plugins = ["tests.cputime", "tests.logs", "tests.closed"]
LOAD_TORCH = {"test_compox_names", "test_devices", "test_unet_segmentation"}
"""Which takes four seconds in each process that does."""
KEEPER = pytest.StashKey[Keeper]()
ADDRESS = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """The first process keeps the servers that all share; xdist's others are told where to ask."""
    told = getattr(config, "workerinput", None)
    if told is None:
        if folder := quick_folder():
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)
        config.stash[KEEPER] = Keeper({"broker": start_broker, "s3": start_s3, "seaweed": start_seaweed})
        config.stash[ADDRESS] = config.stash[KEEPER].address
    else:
        config.stash[ADDRESS] = told["keeper"]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["keeper"] = node.config.stash[ADDRESS]


def pytest_unconfigure(config: pytest.Config) -> None:
    if KEEPER in config.stash:
        config.stash[KEEPER].close()


def start_broker(folder: Path) -> Broker:
    return _broker(folder).start()


def start_s3(folder: Path) -> S3Server:
    folder.mkdir()
    return S3Server(folder / "server.log").start()


def start_seaweed(folder: Path) -> Seaweed:
    if not seaweed.is_installed():
        raise RuntimeError(seaweed.MISSING)
    return Seaweed(folder).start()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: the garbage collector need not look at it over and over."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests go to one process together, where several run them: those of a file, of the acceptance tests all that
    share a system, those that share a broker that they may kill, and those that load what is slow to load."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group_of(item)))


@pytest.hookimpl(trylast=True)  # after what only this test had, or its file
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A system that nobody uses any more uses some of the processor."""
    grouped = item.config.getoption("loadgroup", default=False) or hasattr(item.config, "workerinput")
    if grouped and nextitem is not None and _group_of(item) != _group_of(nextitem):
        end_shared(item.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Ungrouped, every process would start every system, and nobody would know why it takes so long."""
    grouped = session.config.getoption("loadgroup", default=False)
    if grouped and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist does not see the groups of the tests: is pytest newer than it knows?")
    forking.install()  # here, since only processes that run tests have them
    readerforks.install()


def _group_of(item: pytest.Item) -> str:
    if "beaten_broker" in getattr(item, "fixturenames", ()):
        return "a broker that may be killed"
    if item.path.stem in LOAD_TORCH:
        return "those that load PyTorch"
    callspec = getattr(item, "callspec", None)
    footing = callspec.params.get("make_footing") if callspec else None
    if footing is None:
        return item.path.stem
    names = getattr(item, "fixturenames", ())
    return f"{footing} of their own" if "new_system" in names or "mortal" in names else footing


@pytest.fixture(scope="session")
def s3_server(pytestconfig: pytest.Config) -> S3Server:
    """An S3 server that all tests share; each takes buckets of its own (`url`). Its keys are `s3server.KEYS`."""
    return S3Server.elsewhere(facts_of("s3", pytestconfig.stash[ADDRESS]))


@pytest.fixture(scope="session")
def living_store(pytestconfig: pytest.Config) -> SeaweedAddress:
    """An S3 server as others have them, for what stands on a store that is well; `s3_server` is for faults and for what
    this one does otherwise than AWS. All tests share it, and its keys are the same."""
    return SeaweedAddress(facts_of("seaweed", pytestconfig.stash[ADDRESS])["endpoint"])


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Broker:
    """A RabbitMQ that all tests share; each takes a vhost of its own (`new_vhost`) and leaves it alive."""
    return Broker.elsewhere(facts_of("broker", pytestconfig.stash[ADDRESS]))


@pytest.fixture(scope="session")
def beaten_broker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Broker]:
    broker = _broker(tmp_path_factory.mktemp("beaten"))
    end_with_group(pytestconfig, broker.kill)
    yield broker
    broker.kill()


@pytest.fixture
def own_broker(beaten_broker: Broker) -> Iterator[Broker]:
    """One that the test may kill, freeze or starve; it takes a vhost of its own all the same."""
    if not beaten_broker.running:
        beaten_broker.start()
    yield beaten_broker
    if beaten_broker.running:
        beaten_broker.thaw()


def _broker(folder: Path) -> Broker:
    if not is_installed():
        raise RuntimeError(MISSING)
    return Broker(folder)


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3.log").start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.close()
