"""What compose.yaml says fits the code, and itself. Nothing here starts a container."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # it ships no types

from services.gateway.service import SHUTDOWN_SECS
from services.system import GOODBYE_SECS, KINDS, STOP_SECS
from shared.objects.cloud.connection import Connection
from shared.objects.cloud.place import S3Place
from shared.objects.cloud.presigning import Presigner
from shared.settings import Settings, load_settings
from tests.unit import compose_file
from tests.unit.compose_file import COMPOSE, CORE, OPS_PORT, RACK, ROOT, ours, seconds, services

SCHEMA = json.loads((ROOT / "tests" / "compose" / "compose-spec.json").read_text())
EXAMPLE = ROOT / ".env.example"
OURS = sorted(ours())
ALL = sorted(services())


def has_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


def environment_of(name: str) -> dict[str, str]:
    found: dict[str, str] = services()[name]["environment"]
    return found


def settings_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a container, as its process would load them."""
    for variable, value in environment_of(name).items():
        monkeypatch.setenv(variable, value)
    return load_settings()


@pytest.mark.parametrize("path", [COMPOSE, RACK], ids=lambda path: path.name)
def test_the_file_keeps_to_the_specification(path: Path) -> None:
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(compose_file.load(path))] == []


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed; the schema is checked without it")
@pytest.mark.parametrize("more", [[], ["-f", str(RACK)]], ids=["one host", "rack"])
def test_docker_compose_reads_the_file(more: list[str]) -> None:
    profiles = [flag for name in ("cpu", "gpu", "monitoring", "pair") for flag in ("--profile", name)]
    command = ["docker", "compose", "-f", str(COMPOSE), *more, *profiles, "config", "--quiet"]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


# --- which containers there are -------------------------------------------------------------------------------


def test_without_a_profile_everything_but_workers_starts() -> None:
    assert {name for name, one in services().items() if "profiles" not in one} == {"broker", "store", *CORE}


@pytest.mark.parametrize(
    ("profile", "adds"),
    [
        ("cpu", {"worker"}),
        ("gpu", {"worker-gpu"}),
        ("monitoring", {"prometheus", "grafana"}),
        ("pair", {"gateway-2", "proxy"}),
    ],
)
def test_a_profile_adds_containers(profile: str, adds: set[str]) -> None:
    assert {name for name, one in services().items() if profile in one.get("profiles", [])} == adds


def test_every_container_of_ours_runs_a_service_that_there_is() -> None:
    commands = {name: one["command"] for name, one in ours().items()}
    assert {name: verb for name, (verb, *_) in commands.items() if verb != "serve"} == {}
    assert {kind for _, *kinds in commands.values() for kind in kinds} == set(KINDS)


@pytest.mark.parametrize("name", ALL)
def test_a_container_depends_on_those_that_start_with_it(name: str) -> None:
    mine = set(services()[name].get("profiles", []))
    for needed in services()[name].get("depends_on", {}):
        theirs = set(services()[needed].get("profiles", []))
        assert not theirs or (mine and mine <= theirs)


@pytest.mark.parametrize("name", ALL)
def test_a_container_that_is_waited_for_says_how_it_is(name: str) -> None:
    conditions = {one["condition"] for one in services()[name].get("depends_on", {}).values()}
    assert conditions <= {"service_healthy"}
    assert services()[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", ALL)
def test_a_container_comes_back_and_is_given_time_to_stop(name: str) -> None:
    assert services()[name]["restart"] == "unless-stopped"
    assert seconds(services()[name]["stop_grace_period"]) > 10


@pytest.mark.parametrize("name", ALL)
def test_an_image_of_others_is_pinned_to_a_release_that_never_changes(name: str) -> None:
    image, _, tag = services()[name]["image"].partition(":")
    parts = 2 if image == "chrislusf/seaweedfs" else 3  # whose releases have two
    assert name in OURS or re.fullmatch(rf"v?\d+(\.\d+){{{parts - 1}}}(-[a-z]+)?", tag)


@pytest.mark.parametrize("path", [COMPOSE, RACK], ids=lambda path: path.name)
def test_volumes_networks_and_files_are_there(path: Path) -> None:
    declared = compose_file.load()
    for one in services(path).values():
        assert set(one.get("networks", [])) <= set(declared["networks"])
        for source in (text.partition(":")[0] for text in one.get("volumes", []) if ":" in text):
            assert (ROOT / source).exists() if source.startswith(".") else source in declared["volumes"]


def test_what_goes_on_top_for_a_rack_is_about_containers_that_there_are() -> None:
    assert set(services(RACK)) <= set(services())


# --- what they are told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_a_container_sets_only_settings_that_there_are(name: str) -> None:
    told = {one.removeprefix("VOXLOOM_").lower() for one in environment_of(name) if one.startswith("VOXLOOM_")}
    assert told - set(Settings.model_fields) == set()


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_container_can_be_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(name, monkeypatch)
    assert settings.ops_port == OPS_PORT
    assert S3Place.from_url(settings.store).endpoint is not None


def test_broker_and_store_are_containers_by_these_names(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("gateway", monkeypatch)
    broker = urlsplit(settings.broker.get_secret_value())
    store = urlsplit(S3Place.from_url(settings.store).endpoint or "")
    assert (broker.hostname, broker.port) == ("broker", 5672)
    assert (store.hostname, store.port) == ("store", 8333)


@pytest.mark.parametrize(
    ("told", "published", "given_out"),
    [
        ({}, "127.0.0.1:8333", "http://127.0.0.1:8333"),
        ({"STORE_ADDRESS": "10.0.0.1", "STORE_PORT": "9000"}, "10.0.0.1:9000", "http://10.0.0.1:9000"),
        ({"STORE_ADDRESS": "0.0.0.0", "STORE_PUBLIC_URL": "https://s3.lab"}, "0.0.0.0:8333", "https://s3.lab"),
    ],
    ids=["default", "another address", "by a name"],
)
async def test_people_outside_reach_the_store_under_the_urls_that_they_are_given(
    told: dict[str, str], published: str, given_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given what the gateway is told of the store
    place = S3Place.from_url(services(**told)["gateway"]["environment"]["VOXLOOM_STORE"])
    for name, value in services()["gateway"]["environment"].items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    # When it makes a URL
    connection = await Connection.start(place)
    url = await Presigner(connection).sign("GET", place.spot("data-store", "files/1"), 60.0)
    await connection.close()
    # Then that leads to the port which the store publishes, outside of the containers' own network
    assert url.startswith(f"{given_out}/voxloom-data-store/files/1?")
    assert services(**told)["store"]["ports"] == [f"{published}:8333"]
    assert "outside" in services(**told)["store"]["networks"]


def test_the_broker_and_the_services_are_told_the_same_user() -> None:
    told = {"BROKER_USER": "somebody", "BROKER_PASSWORD": "secret1"}
    broker = services(**told)["broker"]["environment"]
    url = urlsplit(services(**told)["gateway"]["environment"]["VOXLOOM_BROKER"])
    vhost = url.path.removeprefix("/")
    theirs = [broker[f"RABBITMQ_DEFAULT_{name}"] for name in ("USER", "PASS", "VHOST")]
    assert [url.username, url.password, vhost] == theirs == ["somebody", "secret1", "voxloom"]


def test_the_store_and_the_services_are_told_the_same_key() -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    told = {"STORE_KEY": "key1", "STORE_SECRET": "secret1"}
    pairs = {tuple(services(**told)[one]["environment"][name] for name in names) for one in ["store", *OURS]}
    assert pairs == {("key1", "secret1")}


def test_another_broker_and_store_can_be_named() -> None:
    told = ours(BROKER_URL="amqps://b.example/v", STORE_URL="s3://other-")
    found = {(one["environment"]["VOXLOOM_BROKER"], one["environment"]["VOXLOOM_STORE"]) for one in told.values()}
    assert found == {("amqps://b.example/v", "s3://other-")}


def test_passwords_can_all_be_changed() -> None:
    """Nothing that sounds like a secret is written down but as a default."""
    for one in compose_file.read(COMPOSE)["services"].values():
        for name, value in one.get("environment", {}).items():
            if re.search("PASS|SECRET|KEY|VOXLOOM_BROKER|VOXLOOM_OUTSIDE", name):
                assert value.startswith("${")


def test_the_example_names_every_variable_with_its_default() -> None:
    used = {
        pair
        for path in (COMPOSE, RACK)
        for text in compose_file.texts(compose_file.read(path))
        for pair in compose_file.variables_of(text)
    }
    lines = [line.partition("=") for line in EXAMPLE.read_text().splitlines() if "=" in line and line[0] != "#"]
    # What they replace is made of others, or is not there.
    elsewhere = {(name, "") for name in ("BROKER_URL", "OUTSIDE_URL", "STORE_URL", "STORE_PUBLIC_URL")}
    assert {(name, value) for name, _, value in lines} == elsewhere | {
        (name, default) for name, default in used if not name.endswith("_URL")
    }


# --- health and the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_the_health_check_asks_where_the_process_answers(name: str) -> None:
    check = services()[name]["healthcheck"]["test"][-1]
    assert f"http://127.0.0.1:{environment_of(name)['VOXLOOM_OPS_PORT']}/readyz" in check


@pytest.mark.parametrize("name", OURS)
def test_a_health_check_waits_longer_than_the_answer_takes(name: str) -> None:
    from shared.ops import HEALTH_SECS

    check = services()[name]["healthcheck"]
    patience = re.search(r"timeout=(\d+)", check["test"][-1])
    assert patience is not None
    assert HEALTH_SECS < int(patience[1]) < seconds(check["timeout"])


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_a_worker_is_not_ended_before_it_has_given_its_work_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(name, monkeypatch)
    longest = settings.drain + settings.grace + GOODBYE_SECS + STOP_SECS
    assert seconds(services()[name]["stop_grace_period"]) > longest


@pytest.mark.parametrize("name", sorted(set(OURS) - {"worker", "worker-gpu"}))
def test_a_service_is_not_ended_before_it_has_stopped(name: str) -> None:
    assert seconds(services()[name]["stop_grace_period"]) > STOP_SECS + SHUTDOWN_SECS


# --- who can reach what ---------------------------------------------------------------------------------------


def test_what_opens_algorithms_shares_no_files_with_the_others() -> None:
    def named(names: set[str]) -> set[str]:
        volumes = (text for name in names for text in services()[name]["volumes"])
        return {text.partition(":")[0] for text in volumes if ":" in text}

    trusting = {"deployer", "worker", "worker-gpu"}
    assert named(trusting) & named(set(OURS) - trusting) == set()


def test_an_algorithm_cannot_call_anybody_outside() -> None:
    inner = {name for name, one in compose_file.load()["networks"].items() if one.get("internal")}
    for name in ("deployer", "worker", "worker-gpu"):
        assert set(services()[name]["networks"]) <= inner


@pytest.mark.parametrize("name", OURS)
def test_a_process_of_ours_can_become_nobody_else(name: str) -> None:
    one = services()[name]
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_by_default_only_this_machine_is_served() -> None:
    ports = [port for one in services().values() for port in one.get("ports", [])]
    assert {port.split(":")[0] for port in ports} == {"127.0.0.1"}


def test_the_gateway_is_published_where_it_listens() -> None:
    inner = {name: one["ports"][0].split(":")[-1] for name, one in services().items() if name == "gateway"}
    assert inner == {"gateway": str(Settings.model_fields["port"].default)}


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_processes_of_algorithms_have_room_and_may_be_many(name: str) -> None:
    one = services()[name]
    assert (one["shm_size"], one.get("pids_limit"), one.get("ulimits", {}).get("nproc")) == ("2gb", None, None)


def test_a_worker_for_cards_reserves_them() -> None:
    one: dict[str, Any] = services()["worker-gpu"]
    devices = one["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])]
    assert one["build"]["target"] == "torch"
