"""How much room there is, and what follows from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.gateway.app import ROUTES
from shared.reserve import Reserve
from shared.room import (
    LOW_WATER,
    PIECES,
    RESERVE,
    Marks,
    Refusals,
    Room,
    Seen,
    Step,
    is_short,
    marks_of,
    next_step,
    refusal,
    told,
)
from voxloom.errors import StoreFull

MIB = 1 << 20
MARKS = Marks(low_water=100, reserve=80)
WHOLE = 80


@pytest.mark.parametrize(
    ("total", "low_water", "reserve", "marks"),
    [
        (1 << 40, None, None, (LOW_WATER, RESERVE)),
        (640 * MIB, None, None, (32 * MIB, 10 * MIB)),
        (640 * MIB, 5 * MIB, 0, (5 * MIB, 0)),
    ],
    ids=["of a usual disk", "of a small disk", "as they are set"],
)
def test_the_marks(total: int, low_water: int | None, reserve: int | None, marks: tuple[int, int]) -> None:
    assert marks_of(total, low_water, reserve) == marks


@pytest.mark.parametrize(
    ("free", "held", "short"),
    [(100, WHOLE, False), (99, WHOLE, True), (179, 0, True), (180, 0, False)],
    ids=["just enough", "a byte less", "what is owed to the reserve is not free", "enough for the reserve, too"],
)
def test_a_disk_is_full_below_its_low_water_mark(free: int, held: int, short: bool) -> None:
    assert is_short(Seen(1000, free, held), MARKS) is short


@pytest.mark.parametrize(
    ("free", "held", "needed", "step"),
    [
        (9, WHOLE, True, "give up"),
        (10, WHOLE, True, "nothing"),
        (0, 0, True, "nothing"),
        (0, WHOLE, False, "nothing"),
        (180, 0, False, "refill"),
        (179, 0, False, "nothing"),
        (500, WHOLE, False, "nothing"),
    ],
    ids=[
        "less than a piece is free",
        "a piece is free",
        "none is left",
        "nothing makes room just now",
        "there is room again",
        "there is not enough for both",
        "it is whole",
    ],
)
def test_what_is_done_with_the_reserve(free: int, held: int, needed: bool, step: Step) -> None:
    assert next_step(Seen(1000, free, held), MARKS, needed=needed) == step


def test_what_is_said_has_the_bytes_and_what_to_do() -> None:
    seen = Seen(1000, 50, 70)
    assert told(seen, MARKS).startswith("disk full: 50 bytes free of 1000")
    assert "voxloom rm" in refusal(seen, MARKS).message
    assert (refusal(seen, MARKS).http_status, refusal(seen, MARKS).code) == (507, "storage_full")
    assert "700 more bytes" in refusal(Seen(1000, 600, WHOLE), MARKS, 700).message


async def test_a_reserve_is_made_given_up_piece_by_piece_and_made_anew(tmp_path: Path) -> None:
    # Given a disk whose reserve is there
    size = PIECES * 4096
    reserve = Reserve(tmp_path / "reserve")
    reserve.fill(size)
    assert reserve.held() == size
    # When pieces are given up, then the rest is still there, until nothing is
    reserve.give_up(4096)
    assert reserve.held() == size - 4096
    reserve.give_up(2 * size)
    assert reserve.held() == 0
    # And it can be made again
    reserve.fill(size)
    assert reserve.held() == size


def test_a_reserve_that_is_nowhere_can_be_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    reserve.give_up(1)
    assert reserve.held() == 0


def test_a_file_without_blocks_is_no_reserve(tmp_path: Path) -> None:
    (tmp_path / "reserve").touch()
    os.truncate(tmp_path / "reserve", 1 << 20)
    assert Reserve(tmp_path / "reserve").held() == 0


async def test_a_room_that_is_short_refuses_and_one_that_keeps_nothing_of_clients_does_not(tmp_path: Path) -> None:
    for refuses in (True, False):
        room = Room(tmp_path, low_water=1 << 62, reserve=0, refuses=refuses)
        await room.open()
        try:
            assert room.short
            assert (await _is_refused(room)) is refuses
        finally:
            await room.close()


async def _is_refused(room: Room) -> bool:
    try:
        room.check()
    except StoreFull:
        return True
    return False


async def test_what_does_not_fit_is_refused_before_it_comes(tmp_path: Path) -> None:
    room = Room(tmp_path, low_water=0, reserve=0, refuses=True)
    await room.open()
    try:
        room.check(1)
        with pytest.raises(StoreFull, match="more bytes"):
            room.check(1 << 62)
    finally:
        await room.close()


def test_refusals_are_logged_a_line_a_second_with_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 0.5, 0.9, 2.0])
    refusals = Refusals(clock=lambda: next(times))
    for _ in range(4):
        refusals.note("POST '/x'", StoreFull("Full."))
    assert [record.getMessage() for record in caplog.records] == [
        "refused POST '/x': Full.",
        "refused POST '/x': Full. (2 more were since the last time)",
    ]


def test_every_route_that_makes_something_is_refused_on_a_full_disk_and_no_other() -> None:
    growing = {f"{one.method} {one.path}" for one in ROUTES if one.grows}
    assert growing == {
        "POST /api/v0/files",
        "POST /api/v0/sample",
        "POST /api/v1/samples",
        "POST /api/v0/deploy/local",
        "POST /api/v0/deploy/local-async",
        "POST /api/v1/algorithms",
        "POST /api/v0/execute-algorithm",
        "POST /api/v1/executions",
        "POST /api/v0/train-algorithm",
        "POST /api/v1/trainings",
        "POST /api/v1/trainings/{training_id}/continue",
        "POST /api/v0/benchmark-algorithm",
        "PUT /api/v1/files/{name}/keep",
        "PUT /api/v1/executions/{execution_id}/keep",
        "PUT /api/v1/trainings/{training_id}/keep",
        "POST /api/v1/tokens",
        "PUT /api/v1/principals/{principal_id}/password",
        "PUT /api/v1/principals/{principal_id}/identity",
        "PUT /api/v1/principals/{principal_id}",
        "PUT /api/v1/projects/{project_id}",
        "PUT /api/v1/projects/{project_id}/limits",
        "PUT /api/v1/projects/{project_id}/members/{principal_id}",
    }
