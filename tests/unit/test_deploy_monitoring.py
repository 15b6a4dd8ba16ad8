"""What the board and the alerts ask for is there to be asked."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from services.gateway.http.metrics import Metrics
from shared.bus import topology
from shared.room import BoundlessRoom
from shared.settings import Settings
from tests.unit import compose_file
from tests.unit.compose_file import OPS_PORT, ROOT, ours

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
SCRAPES = ROOT / "deploy" / "prometheus" / "prometheus.yml"
BOARD = ROOT / "deploy" / "grafana" / "dashboards" / "voxloom.json"
_NAME = re.compile(r"\bvoxloom_[a-z_]+")
_JOB = re.compile(r'job="([^"]+)"')


def told() -> set[str]:
    """Every series that a process of ours shows at /metrics."""
    return set(of_the_gateway()) | set(of_every_process()) | set(of_the_services())


def of_the_gateway() -> Iterator[str]:
    text = Metrics().render({}, 0, [], {}, 0, BoundlessRoom().figures).decode()
    for name, kind in re.findall(r"^# TYPE (voxloom_\w+) (\w+)$", text, re.MULTILINE):
        yield from [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]


def of_every_process() -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / "shared" / "ops.py").read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            yield node.value


def of_the_services() -> Iterator[str]:
    """The keys of what a service's `figures` returns."""
    for path in (ROOT / "services").glob("*/service.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name == "figures":
                keys = [key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys]
                names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
                yield from (f"voxloom_{name}" for name in names)


def expressions(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        own = {tree["expr"]} if isinstance(tree.get("expr"), str) else set()
        return own.union(*map(expressions, tree.values()))
    return set().union(*map(expressions, tree)) if isinstance(tree, list) else set()


def asked_by(path: Path) -> set[str]:
    return expressions(json.loads(path.read_text()) if path is BOARD else yaml.safe_load(path.read_text()))


def scrapes() -> dict[str, dict[str, Any]]:
    return {one["job_name"]: one for one in yaml.safe_load(SCRAPES.read_text())["scrape_configs"]}


def asked_where(job: str) -> tuple[set[str], int]:
    """The containers of a job that are found by their names, and their port."""
    (found,) = scrapes()[job]["dns_sd_configs"]
    return set(found["names"]), found["port"]


@pytest.mark.parametrize(("path", "at_least"), [(RULES, 5), (BOARD, 10)], ids=["alerts", "board"])
def test_every_figure_that_is_asked_for_is_told_by_somebody(path: Path, at_least: int) -> None:
    wanted = set(_NAME.findall(" ".join(asked_by(path))))
    assert len(wanted) > at_least
    assert wanted - told() == set()


def test_a_figure_under_half_its_name_would_not_pass_for_told() -> None:
    assert {"voxloom_http_requests", "voxloom_http_request_seconds", "voxloom_worker"} & told() == set()


def test_the_board_picks_jobs_that_there_are() -> None:
    picked = set(_JOB.findall(" ".join(asked_by(BOARD))))
    assert picked
    assert picked <= set(scrapes())


def test_every_container_of_ours_is_asked_for_its_figures() -> None:
    assert asked_where("services") == (set(ours()), OPS_PORT)


def test_every_gateway_is_asked_for_what_it_knows() -> None:
    gateways = {name for name, one in ours().items() if one["command"] == ["serve", "gateway"]}
    assert asked_where("gateways") == (gateways, Settings.model_fields["port"].default)


def test_broker_and_store_are_asked_where_they_answer() -> None:
    store = compose_file.services()["store"]["command"]
    plugins = (ROOT / "deploy" / "rabbitmq" / "enabled_plugins").read_text()
    targets = {target for one in scrapes().values() for it in one.get("static_configs", []) for target in it["targets"]}
    (port,) = [flag.partition("=")[2] for flag in store if flag.startswith("-metricsPort=")]
    assert "rabbitmq_prometheus" in plugins
    assert targets == {"broker:15692", f"store:{port}"}  # The first is where that plugin listens.


def rules() -> dict[str, dict[str, Any]]:
    found = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found}


def limits_of_age(queue: str) -> list[int]:
    """The seconds after which the alert on the age of events fires for this queue."""
    parts = re.findall(r'oldest_seconds\{queue(!~|=~)"([^"]+)"\}\) > (\d+)', rules()["VoxloomOldEvents"]["expr"])
    assert len(parts) == 2
    return [int(limit) for how, names, limit in parts if bool(re.fullmatch(names, queue)) == (how == "=~")]


def test_an_alert_fires_on_an_old_event_in_any_queue_and_later_where_work_may_take_long() -> None:
    names = [queue.name for queue in topology.ALL] + [topology.worker_queue("i").name]
    patient = {queue.name for queue in topology.ALL if queue.policy.delays is not None}
    limits = {name: limits_of_age(name) for name in names}
    assert limits == {name: [900] if name in patient else [60] for name in names}


def test_the_documentation_has_every_alert() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert {name for name in rules() if f"`{name}`" not in text} == set()


def test_an_alert_that_tells_a_number_tells_the_one_it_is_about() -> None:
    """`a and b` has the value of `a`: where that is compared with 0, the number told would be 0."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    telling = [rule["expr"] for rule in rules if "$value" in rule["annotations"]["summary"]]
    assert telling
    assert [text for text in telling if re.match(r"[^=]*== 0", text)] == []


@pytest.mark.parametrize("path", [RULES, BOARD], ids=lambda path: path.name)
def test_an_expression_closes_what_it_opens(path: Path) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert [text for text in asked_by(path) if text.count(opening) != text.count(closing)] == []
