"""The examples of docs/rest.md, asked of a gateway: what comes back has the fields that they show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.gateway.http.examples import Example, command_of
from services.gateway.routes import examples
from tests.contract.gateway_world import HDF5, World, eventually
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.operations_tools import Client, count_is, die, run_on_worker
from tests.unit.rest_examples import asked_by
from voxloom.models import Parameter, ParameterConfig

ZIP = b"PK\x03\x04" + bytes(100)
CUT = Parameter(name="cut", config=ParameterConfig(type="float", default=1.0))
DOCUMENT = Path(__file__).parents[2] / "docs/rest.md"


async def play(client: Client, example: Example, ids: Mapping[str, str] | None = None, file: bytes = b"") -> Any:
    """The answer, which has the fields that the example shows, with values of the same kinds."""
    call = list(asked_by(command_of(example), ids or {}))[-1]
    sent = call.body if call.body is not None else file
    answer = await client.request(call.method, call.path, params=call.query, content=sent)
    assert answer.status_code == example.status, answer.text
    if example.answer is None:
        return answer.content
    check_alike(example.answer, answer.json(), example.complete)
    return answer.json()


def check_alike(shown: Any, given: Any, complete: bool) -> None:
    match shown:
        case dict():
            assert shown.keys() <= given.keys()
            assert not complete or shown.keys() == given.keys()
            for name, value in shown.items():
                if value is not None and given[name] is not None:
                    assert isinstance(given[name], type(value) if not isinstance(value, int | float) else int | float)
        case list():
            assert given
            check_alike(shown[0], given[0], complete)


async def test_what_the_document_says_of_an_unknown_path_comes(client: Client) -> None:
    [said] = re.findall(r"^\$ curl -s \$U(/api/v0/nothing)\n(.+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert (await client.get(said[0])).text == said[1]


async def test_files_and_samples_come_and_go_as_the_examples_say(client: Client) -> None:
    file = (await play(client, examples.UPLOAD, file=HDF5))["file_id"]
    await play(client, replace(examples.FILES, command="curl -s $U/api/v1/files?kind=upload"))
    assert await play(client, examples.DOWNLOAD, {"FILE": file}) == HDF5
    assert await play(client, examples.DELETE_FILE, {"FILE": file}) == examples.DELETE_FILE.answer


async def test_a_file_that_was_put_to_a_url_is_used_as_the_examples_do(client: Client) -> None:
    [ask, _] = asked_by(command_of(examples.UPLOAD_URL), {})
    url = (await client.get(ask.path.replace("scan-1", "mask-1"))).json()["url"]
    assert (await client.put(url, content=HDF5)).is_success
    file = (await play(client, examples.UPLOAD, file=HDF5))["file_id"]
    sample = (await play(client, examples.SAMPLE, {"FILE": file}))["sample_id"]
    assert await play(client, examples.DELETE_SAMPLE, {"SAMPLE": sample}) == examples.DELETE_SAMPLE.answer


async def test_algorithms_are_deployed_run_and_removed_as_the_examples_say(client: Client, world: World) -> None:
    await play(client, examples.DEPLOY, file=ZIP)
    about: dict[str, Any] = {"algorithm_type": "Image2Image", "tags": ["contrast"], "additional_parameters": [CUT]}
    ids = {"ALGORITHM": await world.deploy(name="stretch", **about)}
    await play(client, examples.ALGORITHMS)
    ids["FILE"] = (await play(client, examples.UPLOAD, file=HDF5))["file_id"]
    ids["RUN"] = (await play(client, examples.EXECUTE, ids))["execution_id"]
    await eventually(lambda: is_asked_for(world, ids["RUN"]))
    await world.start(ids["RUN"])
    assert await play(client, examples.STOP, ids) == examples.STOP.answer
    await world.complete(ids["RUN"])
    assert (await play(client, examples.EXECUTION, ids))["status"] == "COMPLETED"
    await play(client, examples.EXECUTIONS)
    assert await play(client, examples.REMOVE) == examples.REMOVE.answer


async def is_asked_for(world: World, run: str) -> bool:
    return any(event.subject == run for event in world.heard)


async def test_what_operators_look_at_comes_as_the_examples_say(client: Client, world: World) -> None:
    await run_on_worker(client, world)
    await play(client, examples.WORKERS)
    await play(client, examples.QUEUES)
    await die(world, "broken")
    await eventually(lambda: count_is(client, 1))
    letter = (await play(client, examples.DEAD_LETTERS))["items"][0]["dead_letter_id"]
    many = replace(examples.REPLAY_MANY, sent={"ids": [letter, "nothing"]})
    assert await play(client, many) == {"replayed": 1, "not_found": ["nothing"]}
    await eventually(lambda: count_is(client, 1))
    letter = (await play(client, examples.DEAD_LETTERS))["items"][0]["dead_letter_id"]
    one = replace(examples.REPLAY, command=examples.REPLAY.command.replace("/1/", f"/{letter}/"))
    assert await play(client, one) == examples.REPLAY.answer
