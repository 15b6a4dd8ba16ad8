"""The client's decisions, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.unit.client_fake import a_volume
from voxloom.client._address import find_address
from voxloom.client._events import EventDecoder, ServerEvent
from voxloom.client._generate import make_synchronous
from voxloom.client._inputs import FileId, Item, Wanted, as_list, open_body, plan_inputs, split
from voxloom.client._outage import Outage
from voxloom.client._outputs import Stack
from voxloom.client._problems import checked, failure_of, should_come_back
from voxloom.client._selector import Selector, parse_selector
from voxloom.errors import (
    Conflict,
    ControlUnavailable,
    InvalidInput,
    NotAllowed,
    NotFound,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    Unavailable,
    VoxloomError,
)
from voxloom.tiffs import ImageArray

# --- the address ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLOOM_URL", raising=False)
    monkeypatch.delenv("VOXLOOM_TOKEN", raising=False)


def test_what_is_given_goes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_address().url == "http://127.0.0.1:5481"
    monkeypatch.setenv("VOXLOOM_URL", "https://lab.example/voxloom/")
    assert find_address().url == "https://lab.example/voxloom"
    assert find_address("http://other:1").url == "http://other:1"


@pytest.mark.parametrize("url", ["lab.example", "ftp://lab.example", "http://", "http://lab:99999", "http://lab:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="is no address of a server"):
        find_address(url)


def test_secrets_are_never_shown() -> None:
    address = find_address("http://voxloom:hush@lab.example:5481", token="whisper")
    assert address.url == "http://lab.example:5481"
    assert "hush" not in repr(address)
    assert "whisper" not in repr(address)


@pytest.mark.parametrize(
    ("url", "local"),
    [("http://127.0.0.1:1", True), ("http://localhost", True), ("http://[::1]:5", True), ("http://10.0.0.1", False)],
)
def test_a_server_on_this_machine_is_known_as_such(url: str, local: bool) -> None:
    assert find_address(url).local is local


# --- problems ---------------------------------------------------------------------------------------------


def an_answer(status: int, code: str = "x", *, retryable: bool = False) -> httpx.Response:
    body = {"title": "t", "status": status, "detail": "Do this.", "code": code, "retryable": retryable}
    return httpx.Response(status, json=body, request=httpx.Request("GET", "http://u:p@lab/x?y=1"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_deployment_zip", InvalidInput),
        (400, "execution_not_stoppable", Conflict),
        (400, "algorithm_not_removable", Conflict),
        (401, "token_expired", Unauthenticated),
        (503, "control_unavailable", ControlUnavailable),
        (403, "x", NotAllowed),
        (404, "x", NotFound),
        (409, "file_in_use", Conflict),
        (413, "x", TooLarge),
        (422, "request_validation_error", InvalidInput),
        (500, "x", VoxloomError),
        (503, "store_unavailable", StoreUnavailable),
        (503, "x", Unavailable),
    ],
)
def test_a_problem_becomes_the_error_of_its_kind(status: int, code: str, kind: type[VoxloomError]) -> None:
    with pytest.raises(VoxloomError) as error:
        checked(an_answer(status, code))
    assert (type(error.value), error.value.code, error.value.http_status) == (kind, code, status)
    assert error.value.message == "Do this."


def test_an_answer_that_is_no_problem_names_the_server_without_secrets() -> None:
    page = httpx.Response(502, html="<h1>", request=httpx.Request("GET", "http://u:p@lab/x?y=1"))
    with pytest.raises(Unavailable, match=r"^http://lab/x answered 502 Bad Gateway"):
        checked(page)


@pytest.mark.parametrize(
    ("answer", "back"),
    [(an_answer(503, retryable=True), True), (an_answer(503), False), (an_answer(404, retryable=True), False)],
)
def test_only_a_server_that_says_so_is_asked_again(answer: httpx.Response, back: bool) -> None:
    assert should_come_back(answer) is back


def every_kind(root: type[httpx.TransportError]) -> list[type[httpx.TransportError]]:
    return [root, *(one for child in root.__subclasses__() for one in every_kind(child))]


@pytest.mark.parametrize("kind", every_kind(httpx.TransportError))
def test_every_failure_of_the_connection_becomes_an_error_of_ours(kind: type[httpx.TransportError]) -> None:
    error = failure_of(kind("why"), "http://lab")
    assert isinstance(error, Unavailable | InvalidInput)
    assert "http://lab" in error.message


# --- events -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_arrive(size: int) -> None:
    stream = ": hello\n\nid: 1\nevent: log\ndata: ä\u2028ö\n\ndata: a\r\ndata:b\r\n\r\nevent: x\n\n".encode()
    decoder = EventDecoder()
    events = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at : at + size])]
    assert events == [ServerEvent("log", "ä\u2028ö", "1"), ServerEvent("message", "a\nb", None)]


# --- outages ----------------------------------------------------------------------------------------------


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    with pytest.raises(Unavailable):
        Outage().delay(Unavailable("gone"))


def test_delays_grow_until_there_is_news() -> None:
    outage = Outage()
    outage.heard()
    assert [outage.delay(Unavailable("gone")) for _ in range(3)] == [0.1, 0.2, 0.4]
    outage.news()
    assert outage.delay(Unavailable("gone")) == 0.1


def test_a_server_that_was_not_heard_for_too_long_is_given_up() -> None:
    outage = Outage(longest=-1)
    outage.heard()
    with pytest.raises(Unavailable, match="gone"):
        outage.delay(Unavailable("gone"))


# --- which algorithm, which inputs ------------------------------------------------------------------------

AN_ID = "81847c09-ea01-11f1-97b4-b147d29b6f9e"


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("smooth", Selector("smooth")),
        ("smooth:2", Selector("smooth", "2")),
        ("smooth:2.13", Selector("smooth", "2", "13")),
        ("a:b", Selector("a:b")),
        ("a b:3", Selector("a b", "3")),
        (AN_ID, Selector(algorithm_id=AN_ID)),
    ],
)
def test_a_text_says_which_algorithm(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InvalidInput):
        parse_selector(" ")


def test_a_text_is_a_path_only_where_it_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.npy").touch()
    (tmp_path / AN_ID).touch()
    assert as_list(["scan.npy", "other", AN_ID]) == [Path("scan.npy"), "other", AN_ID]


def test_a_path_with_a_slip_in_it_is_missed_here_and_not_sent_as_an_id() -> None:
    with pytest.raises(NotFound, match=r"no file scna\.tif"), plan_inputs(as_list("scna.tif"), Wanted("Image2Image")):
        pass


def shapes_of(given: Any, kind: str) -> tuple[list[Any], list[int | None]]:
    with plan_inputs(as_list(given), Wanted(kind)) as plan:
        items = [one for one in plan.uploads if isinstance(one, Item)]
        return [(one.dataset, one.index) for one in items], plan.counts


@pytest.mark.parametrize(
    ("shape", "kind", "items", "counts"),
    [
        ((4, 4), "Image2Image", [("image", None)], [None]),
        ((2, 4, 4), "Image2Image", [("image", 0), ("image", 1)], [2]),
        ((1, 4, 4), "Image2Embedding", [("image", 0)], [1]),
        ((2, 3, 4, 4), "Image2Segmentation", [("image", 0), ("image", 1)], [2]),
        ((2, 4, 4), "Segmentation2Segmentation", [("mask", 0), ("mask", 1)], [2]),
        ((2, 4, 4), "Generic", [("image", None)], [None]),
        ((7,), "Undefined", [("image", None)], [None]),
    ],
)
def test_an_array_becomes_the_files_its_algorithm_reads(
    shape: tuple[int, ...], kind: str, items: list[Any], counts: list[int | None]
) -> None:
    assert shapes_of(np.zeros(shape), kind) == (items, counts)


def test_several_inputs_are_planned_one_by_one() -> None:
    with plan_inputs(["id", *as_list([a_volume(3), a_volume(1)[0]])], Wanted("Image2Image")) as plan:
        assert plan.counts == [None, 3, None]
        assert plan.uploads[0] == FileId("id")


@pytest.mark.parametrize("shape", [(), (5,), (2, 2, 2, 2, 2)])
def test_what_is_no_image_is_refused_for_an_image_algorithm(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="is no image or volume"):
        shapes_of(np.zeros(shape), "Image2Image")


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 0, 8), (0, 3, 8, 8)])
def test_an_input_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="has no pixels"):
        shapes_of(np.zeros(shape), "Image2Image")


@pytest.mark.parametrize("shape", [(64, 80, 3), (64, 80, 4), (2, 64, 80, 3)])
def test_colours_on_the_last_axis_are_not_taken_for_slices(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"put them before height and width"):
        shapes_of(np.zeros(shape), "Image2Image")


def test_a_colour_image_is_one_item_and_no_stack() -> None:
    assert split(ImageArray(np.zeros((3, 64, 80)), None, colour=True), "image", slices=True)[1] is None


def test_a_body_is_as_long_as_it_says() -> None:
    with open_body(Item(np.ones((300, 700)), "image")) as body:
        assert sum(len(chunk) for chunk in body) == body.size


def test_an_upload_takes_no_room_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_body(Item(np.ones((1 << 12, 1 << 12)), "image")):
        used = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*.h5"))
    assert used < 1 << 20


# --- results ----------------------------------------------------------------------------------------------


def test_outputs_that_are_alike_become_one_array_in_any_order() -> None:
    stack = Stack(3)
    for index in (2, 0, 1):
        stack.put(index, np.full((2, 2), index))
    np.testing.assert_array_equal(stack.result()[:, 0, 0], [0, 1, 2])


@pytest.mark.parametrize("other", [np.ones((3, 2)), np.ones((2, 2), "f4"), {"a": 1}])
def test_one_output_that_differs_leaves_a_list(other: Any) -> None:
    stack = Stack(2)
    stack.put(1, np.ones((2, 2)))
    stack.put(0, other)
    assert [type(one) for one in stack.result()] == [type(other), np.ndarray]


def test_no_outputs_are_an_empty_list() -> None:
    assert Stack(0).result() == []


# --- the generator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("async def f() -> AsyncIterator[int]:", "def f() -> Iterator[int]:"),
        ("async with a as b:", "with a as b:"),
        ("x = [y async for y in z]", "x = [y for y in z]"),
        ("await self.aclose()", "self.close()"),
        ("self._http = httpx.AsyncClient()", "self._http = httpx.Client()"),
        ("from voxloom.client._aio import aclosing", "from voxloom.client._sio import closing"),
        ("g: AsyncGenerator[Update, None]", "g: Generator[Update, None, None]"),
        ("the asynchronous awaits", "the synchronous awaits"),
    ],
)
def test_asynchronous_words_become_synchronous_ones(source: str, result: str) -> None:
    assert make_synchronous(source) == result
