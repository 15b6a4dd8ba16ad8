"""Gateways of several versions beside each other: what one has set, another does not take away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from shared.control.store import COLLECTION
from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed

LATER = {"later": ["of a newer version"]}
PROJECT = "/api/v1/projects/lab1"


async def ok(sent: Any) -> Any:
    answer: httpx.Response = await sent
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_is_not_said_of_a_project_stays(closed: Closed) -> None:
    async with closed.asking("root") as root:
        told = [
            await ok(root.put("/api/v1/projects/common", json=body))
            for body in ({}, {"name": "For all"}, {"library": True}, {}, {"name": "", "library": None})
        ]
    assert [(one["name"], one["library"]) for one in told] == [
        ("", False),
        ("For all", False),
        ("For all", True),
        ("For all", True),
        ("", True),
    ]


async def test_a_name_that_is_not_said_of_a_principal_stays(closed: Closed) -> None:
    async with closed.asking("root") as root:
        path = "/api/v1/principals/nina"
        told = [await ok(root.put(path, json=body)) for body in ({"name": "Nina"}, {"disabled": True}, {"name": ""})]
    assert [(one["name"], one["disabled"]) for one in told] == [("Nina", False), ("Nina", True), ("", False)]


async def test_whatever_is_changed_what_a_newer_gateway_has_set_stays(closed: Closed) -> None:
    store, token = closed.world.store, closed.people.id_of("mia")
    async with closed.asking("root") as root:
        await ok(root.put(f"{PROJECT}/limits", json={"weight": 2}))
        # Given objects into which a newer version has written more
        keys = ["projects/lab1", "principals/mia", "members/lab1/mia", f"tokens/{token}", "limits/lab1", "admins"]
        for key in keys:
            said = json.loads(await store.get(COLLECTION, key))
            await store.put(COLLECTION, key, json.dumps({**said, **LATER}).encode())
        await closed.world.gateway._control.read_anew()
        # When this one changes each of them
        await ok(root.put(PROJECT, json={"name": "Other"}))
        await ok(root.put(f"{PROJECT}/limits", json={"weight": 3}))
        await ok(root.put(f"{PROJECT}/members/mia", json={"role": "viewer"}))
        await ok(root.post("/api/v1/principals/mia/logout"))
        await ok(root.delete(f"/api/v1/tokens/{token}"))
        await ok(root.put("/api/v1/principals/mia", json={"name": "Mia", "admin": True}))
        await ok(root.put("/api/v1/principals/mia", json={}))
    # Then that is still there
    found = [json.loads(one) for one in await asyncio.gather(*(store.get(COLLECTION, key) for key in keys))]
    assert [one.get("later") for one in found] == [LATER["later"]] * len(keys)
    assert (found[0]["name"], found[4]["weight"], found[2]["role"]) == ("Other", 3, "viewer")
