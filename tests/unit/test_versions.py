"""The rules by which minor versions are numbered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.versions import (
    REMEMBERED_DEPLOYS,
    AlgorithmEntry,
    Content,
    Deploy,
    Deployed,
    deploy_to,
    find_minor,
    pin,
    record_of,
    removed_from,
)
from tests.unit.training_samples import checkpoint_of
from voxloom.errors import NotAllowed, NotFound
from voxloom.manifest import Manifest
from voxloom.models import format_time, utc_now

NOW = utc_now()


def deploy(number: int, content: str, *, minor: str = "0", **manifest: Any) -> Deploy:
    return Deploy(
        deploy_id=f"deploy-{number}",
        project="default",
        manifest=Manifest(name="denoise", major="1", minor=minor, removable=True, **manifest),
        content=Content(f"module-{content}", f"assets-{content}", module_bytes=10, asset_bytes=100, asset_count=2),
        time=NOW,
    )


def deployed(*contents: str, first: str = "0") -> AlgorithmEntry:
    """The entry after deploys of these contents, one after the other."""
    entry = None
    for number, content in enumerate(contents):
        entry = deploy_to(entry, deploy(number, content, minor=first), f"id-{number}").entry
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    ("contents", "first", "minors"),
    [
        ("a", "0", ["0"]),
        ("a", "7", ["7"]),
        ("ab", "0", ["0", "1"]),
        ("aba", "0", ["0", "1", "2"]),
        ("aab", "0", ["0", "1"]),
        ("abb", "3", ["3", "4"]),
        ("abcdefghijkl", "0", [str(number) for number in range(12)]),
    ],
)
def test_the_first_minor_is_the_pyprojects_and_then_they_count_up(contents: str, first: str, minors: list[str]) -> None:
    assert record_of(deployed(*contents, first=first)).algorithm_minor_versions == minors


def test_the_highest_number_is_the_latest_also_beyond_nine() -> None:
    assert record_of(deployed(*"abcdefghijkl")).latest_algorithm_minor_version == "11"


def test_the_id_is_kept() -> None:
    assert deployed("a", "b", "c").algorithm_id == "id-0"


def test_equal_content_adds_nothing_but_is_described_anew() -> None:
    entry = deployed("a")

    again = deploy_to(entry, deploy(5, "a", description="better", tags=["new"]), "x")

    assert (again.minor, again.changed) == ("0", False)
    assert (record_of(again.entry).algorithm_description, record_of(again.entry).algorithm_tags) == ("better", ["new"])


@pytest.mark.parametrize("part", ["module", "assets"])
def test_another_module_or_other_assets_make_a_new_minor(part: str) -> None:
    changed = deploy(1, "a")
    changed = Deploy(
        changed.deploy_id,
        changed.project,
        changed.manifest,
        Content(**{**vars(changed.content), part: "other"}),
        changed.time,
    )

    assert deploy_to(deployed("a"), changed, "x").minor == "1"


def test_a_deploy_that_comes_again_changes_nothing() -> None:
    entry = deployed("a", "b", "c")

    again = deploy_to(entry, deploy(1, "b"), "x")

    assert again == Deployed(entry, "1", changed=True)


def test_only_so_many_deploys_are_remembered() -> None:
    entry = deployed(*("ab" * REMEMBERED_DEPLOYS))

    assert len(entry.deploys) == REMEMBERED_DEPLOYS


def test_a_number_that_was_removed_is_never_given_out_again() -> None:
    entry = removed_from(deployed("a", "b"), "1", regardless=False)

    assert deploy_to(entry, deploy(9, "c"), "x").minor == "2"


def test_removing_the_latest_moves_latest_to_the_highest_that_is_left() -> None:
    entry = removed_from(deployed("a", "b", "c"), "2", regardless=False)

    assert record_of(entry).latest_algorithm_minor_version == "1"


@pytest.mark.parametrize("minor", [None, "0"])
def test_without_minors_the_next_deploy_is_a_first_one_with_a_new_id(minor: str | None) -> None:
    empty = removed_from(deployed("a"), minor, regardless=False)

    again = deploy_to(empty, deploy(9, "a", minor="4"), "new-id")

    assert (again.entry.algorithm_id, again.minor, again.changed) == ("new-id", "4", True)


def test_an_unknown_minor_is_said_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="0, 1") as caught:
        find_minor(deployed("a", "b"), "7")

    assert caught.value.code == "minor_version_not_found"


def test_an_algorithm_that_is_not_removable_stays_unless_an_operator_says_so() -> None:
    entry = deployed("a")
    fixed = entry.model_copy(update={"about": entry.about.model_copy(update={"removable": False})})

    with pytest.raises(NotAllowed) as caught:
        removed_from(fixed, None, regardless=False)

    assert (caught.value.code, caught.value.http_status) == ("algorithm_not_removable", 400)
    assert removed_from(fixed, None, regardless=True).minors == {}


@pytest.mark.parametrize(("minor", "module"), [(None, "module-b"), ("0", "module-a")])
def test_a_pin_says_exactly_what_runs(minor: str | None, module: str) -> None:
    assert pin(deployed("a", "b"), minor).module == module


def test_metrics_count_equal_contents_once() -> None:
    metrics = record_of(deployed("a", "b", "a")).storage_metrics

    assert (metrics.module_bytes, metrics.asset_bytes, metrics.logical_size_bytes) == (20, 200, 220)
    assert (metrics.module_count, metrics.asset_count) == (2, 4)


@pytest.mark.parametrize(
    ("saved", "assets", "count"),
    [
        ([], 100, 2),
        ([{"w": "x"}], 107, 3),
        ([{"w": "x"}, {"w": "y"}], 112, 4),
        ([{"w": "x"}, {"w": "x"}], 107, 3),
        ([{"w": "x", "v": "x"}], 107, 3),
        ([{"w": "x"}, {"w": "y", "v": "x"}], 112, 4),
    ],
)
def test_metrics_count_checkpoints_and_their_equal_contents_once(
    saved: list[dict[str, str]], assets: int, count: int
) -> None:
    sizes = {"x": 7, "y": 5}
    checkpoints = [checkpoint_of(one, asset_sizes={name: sizes[name] for name in one.values()}) for one in saved]
    manifests = sum(len(one.manifest()) for one in checkpoints)

    metrics = record_of(deployed("a"), checkpoints).storage_metrics

    assert (metrics.asset_bytes, metrics.asset_count, metrics.checkpoint_count) == (assets, count, len(saved))
    assert (metrics.checkpoint_manifest_bytes, metrics.logical_size_bytes) == (manifests, 10 + assets + manifests)


def test_a_record_names_its_checkpoints_and_when_the_newest_came() -> None:
    first, second = (checkpoint_of({}, created_at=NOW + timedelta(seconds=age)) for age in (1, 2))

    record = record_of(deployed("a"), [first, second])

    assert record.checkpoints == [first.checkpoint_id, second.checkpoint_id]
    assert record.storage_metrics.last_recomputed_at == format_time(second.created_at)


def test_the_same_entry_gives_the_same_record() -> None:
    entry = deployed("a", "b")

    assert record_of(entry).model_dump_json() == record_of(entry).model_dump_json()


def test_an_entry_survives_being_written_and_read() -> None:
    entry = deployed("a", "b")

    assert AlgorithmEntry.model_validate_json(entry.model_dump_json()) == entry


@pytest.mark.parametrize(("content", "minor", "changed"), [("a", "0", False), ("b", "1", False), ("c", "2", True)])
def test_a_merge_adds_nothing_that_any_minor_version_has(content: str, minor: str, changed: bool) -> None:
    before = deployed(*"ab")
    came = deploy_to(before, replace(deploy(7, content), merge=True), "id-7")
    assert (came.minor, came.changed, came.entry.algorithm_id) == (minor, changed, before.algorithm_id)


def test_an_entry_of_an_earlier_version_is_shown_as_clients_expect_it() -> None:
    # Given an entry as it was written when options could be null and benchmark outputs were as in the pyproject
    old = deployed("a").model_dump(mode="json")
    old["about"]["additional_parameters"] = [{"name": "p", "config": {"type": "int", "options": None}}]
    old["about"]["benchmark_outputs"] = [{"name": "seconds", "config": {"type": "float"}}, "speed"]
    # When it is shown
    record = record_of(AlgorithmEntry.model_validate(old))
    # Then what has a form has all of it, and what has none is left out
    assert record.additional_parameters[0].config.options == []
    assert [one.displayed_name for one in record.benchmark_outputs] == ["Seconds"]
