"""What those outside hear of, what is kept for them, and what the log says of what they send."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
import pytest

from messages.runs import TASKS
from messages.wire import EVENTS, decode
from services.gateway.operations.outside_tally import MOST_APART, MOST_KNOWN, Tally
from shared.bus import topology
from shared.bus.outside import BRIDGE, INBOX, PUBLIC, REQUESTS, TOLD, outward
from shared.bus.outside import EVENTS as EXCHANGE
from shared.control.directory import Directory
from shared.control.objects import Admins, Member, Principal, Project, Role
from shared.settings import load_settings
from tests.each import each
from tests.unit.control_objects import ASKED as MADE
from voxloom.errors import Misconfigured, NotAllowed, Unauthenticated

GOLDEN = Path(__file__).parent.parent / "golden"
SECRET = "18f6c2a0-c5a1-11f0-9dda-92a3b4c5d6e7"
"""The session's token in the goldens."""
INTERNAL = {"worker", "scheduler", "gateway", "service", "control"}


def golden(name: str) -> tuple[dict[str, object], bytes]:
    told = orjson.loads((GOLDEN / f"{name}.json").read_bytes())
    return told["headers"], orjson.dumps(told["data"])


@each("name", sorted(EVENTS))
def test_what_is_said_outside_has_one_key_and_no_token(name: str) -> None:
    message = outward(decode(*golden(name)))
    assert (message is not None) == (EVENTS[name].event in PUBLIC)
    if message is not None:
        entity, verb = name.removeprefix("voxloom.").split(".")[:2]
        (key,) = message.routing_keys
        assert key.startswith(f"{entity}.{verb}.lab-7.")
        assert SECRET.encode() not in message.body
        assert message.headers[TOLD] == 1
        assert decode(message.headers, message.body, message.routing_keys).type_name == name


def test_of_every_event_it_is_decided_whether_those_outside_hear_it() -> None:
    """A new one comes into `PUBLIC`, or here."""
    hidden = {kind.name for kind in EVENTS.values() if kind.event not in PUBLIC and kind.entity not in INTERNAL}
    runs = ("finished", "handed-over", "stop-passed", "progressed", "logged", "state-set")
    assert hidden == {
        *(f"{task}.{verb}" for task in TASKS for verb in runs),
        "file.uploaded",
        "file.delete-requested",
        "file.delete-refused",
        "deploy.requested",
        "algorithm.delete-requested",
        "algorithm.delete-refused",
        "record.delete-requested",
    }


def test_nothing_is_said_of_what_services_tell_one_another() -> None:
    public = {kind.name for kind in EVENTS.values() if kind.event in PUBLIC}
    assert {name.partition(".")[0] for name in public} & INTERNAL == set()
    assert public & {"execution.handed-over", "execution.stop-passed", "execution.finished"} == set()


def test_all_that_is_said_outside_comes_to_the_bridge() -> None:
    said = {kind.name for kind in EVENTS.values() if kind.event in PUBLIC} - {"execution.rejected"}
    assert set(BRIDGE.bindings) == {f"{name}.#" for name in said}
    assert BRIDGE.name not in {queue.name for queue in topology.ALL}


def test_the_queue_of_requests_is_called_otherwise_than_what_others_have_a_right_to() -> None:
    assert INBOX not in (REQUESTS, EXCHANGE)


def test_a_line_tells_of_many_messages(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(logging.getLogger("t"))
    tally.note("accepted")
    tally.tell()
    assert caplog.messages == []
    for number in range(2 * MOST_KNOWN):
        tally.note("ignored", "user_missing" if number % 2 else f"code{number}", None)
    tally.tell()
    tally.tell()
    (line,) = caplog.messages
    assert line.count(",") == MOST_APART
    assert "1000 of 'nobody' ignored (user_missing)" in line
    assert tally.counted == {"accepted": 1, "repeated": 0, "rejected": 0, "ignored": 2 * MOST_KNOWN}


@pytest.mark.parametrize("broker", ["", "amqp://a:b@h/v"])
def test_nobody_outside_is_spoken_to_without_a_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broker: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXLOOM_BROKER", broker)
    monkeypatch.setenv("VOXLOOM_OUTSIDE", "amqp://a:hunter2@h/outside")
    if broker:
        assert load_settings().outside
    else:
        with pytest.raises(Misconfigured, match="`broker`") as told:
            load_settings()
        assert "hunter2" not in str(told.value)


def directory() -> Directory:
    objects = [Admins(principals=("root",)), Project(id="lab1", **MADE), Project(id="lab2", **MADE)]
    objects.append(Project(id="gone", state="removing", **MADE))
    roles: dict[str, Role] = {"mia": "member", "vera": "viewer", "off": "member"}
    people = [Principal(id=one, disabled=one == "off", **MADE) for one in ("root", *roles)]
    members = [Member(project="lab1", principal=one, role=role, **MADE) for one, role in roles.items()]
    members.append(Member(project="gone", principal="mia", role="member", **MADE))
    return Directory({one.key: one for one in [*objects, *people, *members]})


@each(
    "row",
    [
        ("mia", "lab1", "run"),
        ("root", "lab2", "admin deploy run"),
        ("vera", "lab1", ""),
        ("mia", "lab2", "project_not_allowed"),
        ("mia", "gone", "project_not_allowed"),
        ("mia", "system", "project_not_allowed"),
        ("off", "lab1", "principal_disabled"),
        ("nobody", "lab1", "principal_disabled"),
        ("local", "default", "principal_disabled"),
        ("../admins", "lab1", "principal_disabled"),
    ],
)
def test_who_asks_without_a_token_has_the_rights_of_their_role(row: tuple[str, str, str]) -> None:
    name, project, expected = row
    assert rights_or_code(name, project) == expected


def rights_or_code(name: str, project: str) -> str:
    """What they may beyond looking, or why not."""
    try:
        return " ".join(sorted(directory().caller_named(name, project).rights - {"read"}))
    except (NotAllowed, Unauthenticated) as error:
        return error.code
