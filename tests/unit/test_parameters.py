"""What may be declared and what may be sent."""

from __future__ import annotations

from typing import Any

import pytest

from voxloom.errors import InvalidInput
from voxloom.models import Parameter
from voxloom.parameters import beyond, check_parameters, read_declarations, shown


def declared(**config: Any) -> list[Parameter]:
    """One parameter, `p`, of that config."""
    parameters, problems, _ = read_declarations([{"name": "p", "config": config}], "additional_parameters")
    assert problems == []
    return parameters


RANGE = {"min": 0, "max": 10, "step": 1}


@pytest.mark.parametrize(
    ("config", "sent", "arrives"),
    [
        ({"type": "string"}, "", ""),
        ({"type": "int"}, 3, 3),
        ({"type": "int"}, 3.0, 3),
        ({"type": "int"}, -(10**30), -(10**30)),
        ({"type": "float"}, 1, 1.0),
        ({"type": "float"}, 0.5, 0.5),
        ({"type": "bool"}, False, False),
        ({"type": "int_range", **RANGE}, 0, 0),
        ({"type": "int_range", **RANGE}, 10.0, 10),
        ({"type": "float_range", **RANGE}, 9.99, 9.99),
        ({"type": "float", "min": 0}, 0, 0.0),
        ({"type": "string_enum", "options": ["a", "b"]}, "b", "b"),
        ({"type": "int_enum", "options": [1, 2]}, 2.0, 2),
        ({"type": "float_enum", "options": [1, 2.5]}, 1, 1.0),
        ({"type": "string_list"}, [], []),
        ({"type": "int_list"}, [1, 2.0], [1, 2]),
        ({"type": "float_list"}, (1, 2.5), [1.0, 2.5]),
        ({"type": "bool_list"}, [True], [True]),
        ({"type": "int_list", "options": [1, 2, 3]}, [3, 3], [3, 3]),
        ({"type": "int_list", "options": [[1, 2], [3]]}, [1, 3], [1, 3]),
    ],
)
def test_a_good_value_arrives_in_the_declared_type(config: dict[str, Any], sent: Any, arrives: Any) -> None:
    args = check_parameters(declared(**config), {"p": sent})

    assert args == {"p": arrives}
    assert type(args["p"]) is type(arrives)


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"type": "string"}, 1),
        ({"type": "int"}, True),
        ({"type": "int"}, 3.5),
        ({"type": "int"}, "3"),
        ({"type": "int"}, float("inf")),
        ({"type": "float"}, False),
        ({"type": "float"}, float("nan")),
        ({"type": "float"}, 10**400),
        ({"type": "bool"}, 1),
        ({"type": "int_range", **RANGE}, 11),
        ({"type": "int_range", **RANGE}, [1, 2]),
        ({"type": "float_range", **RANGE}, -0.001),
        ({"type": "int", "max": 5}, 6),
        ({"type": "string_enum", "options": ["a", "b"]}, "c"),
        ({"type": "int_enum", "options": [1, 2]}, True),
        ({"type": "string_list"}, "abc"),
        ({"type": "int_list"}, [1, "2"]),
        ({"type": "bool_list"}, [1]),
        ({"type": "string_list", "options": ["a"]}, ["b"]),
    ],
)
def test_a_bad_value_is_refused(config: dict[str, Any], sent: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_parameters(declared(**config), {"p": sent})

    assert caught.value.code == "request_validation_error"
    assert caught.value.details["errors"][0]["loc"][:2] == ["additional_parameters", "p"]


def test_every_bad_parameter_is_named_with_its_place() -> None:
    parameters = [
        parameter.model_copy(update={"name": name})
        for name, kind in (("a", "int"), ("b", "float_list"), ("c", "bool"))
        for parameter in declared(type=kind)
    ]

    with pytest.raises(InvalidInput) as caught:
        check_parameters(parameters, {"a": "x", "b": [1.0, "y"], "c": True})

    assert caught.value.details["errors"] == [
        {"loc": ["additional_parameters", "a"], "msg": "must be a whole number"},
        {"loc": ["additional_parameters", "b", 1], "msg": "must be a number"},
    ]


def test_defaults_are_filled_in_and_undeclared_parameters_passed_on() -> None:
    assert check_parameters(declared(type="int", default=7), {"other": [1]}) == {"p": 7, "other": [1]}


@pytest.mark.parametrize(
    ("sent", "args", "differs"),
    [
        ({"a": 1, "l": [1, 2]}, {"a": 1, "l": [1, 2]}, {}),
        ({"a": 1}, {"a": 1, "b": None}, {"b": None}),
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"l": [1, 2]}, {"l": [1, 2.0]}, {"l": [1, 2.0]}),
        ({"l": [1]}, {"l": [1, 1]}, {"l": [1, 1]}),
        ({"a": None}, {"a": 7}, {"a": 7}),
    ],
)
def test_what_differs_from_what_was_sent_makes_it_whole(
    sent: dict[str, Any], args: dict[str, Any], differs: dict[str, Any]
) -> None:
    found = beyond(sent, args)

    assert repr({**sent, **found}) == repr(args)
    assert repr(found) == repr(differs)


def test_a_default_of_none_fills_nothing() -> None:
    assert check_parameters(declared(type="int"), {}) == {}


@pytest.mark.parametrize(("default", "arrives"), [(7, 7), (None, None)])
def test_null_counts_as_not_sent_where_there_is_a_default(default: int | None, arrives: int | None) -> None:
    config = {"type": "int"} if default is None else {"type": "int", "default": default}

    assert check_parameters(declared(**config), {"p": None}) == {"p": arrives}


def test_a_list_default_cannot_be_changed_by_one_run_for_the_next() -> None:
    parameters = declared(type="int_list", default=[1])

    check_parameters(parameters, {})["p"].append(2)

    assert check_parameters(parameters, {}) == {"p": [1]}


def test_what_was_sent_stays_as_it_was() -> None:
    sent = {"p": 3.0}

    check_parameters(declared(type="int"), sent)

    assert repr(sent) == "{'p': 3.0}"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "`type` is None"),
        ({"type": "number"}, "`type` is 'number'"),
        ({"type": ["int"]}, "`type` is"),
        ({"type": "int", "default": "x"}, "`default` is 'x'"),
        ({"type": "bool", "default": 1}, "`default` is 1"),
        ({"type": "int_range", "min": 0, "max": 1}, "step is missing"),
        ({"type": "int_range", "min": 5, "max": 5, "step": 1}, "`min` must be the smaller one"),
        ({"type": "float_range", "min": 0, "max": 1, "step": 0}, "`step` is 0.0"),
        ({"type": "int_range", "min": 0.5, "max": 3, "step": 1}, "`min` must be a whole number"),
        ({"type": "float_range", "min": float("nan"), "max": 3, "step": 1}, "`min` must be a number"),
        ({"type": "int_range", "min": 0, "max": 3, "step": 1, "default": 4}, "`default` is 4"),
        ({"type": "string_enum"}, "an enum needs at least one"),
        ({"type": "string_enum", "options": []}, "an enum needs at least one"),
        ({"type": "string_enum", "options": ["a", 1]}, "each of `options` must be a text"),
        ({"type": "string_enum", "options": ["a"], "default": "b"}, "`default` is 'b'"),
        ({"type": "int_list", "default": 3}, "`default` is 3"),
        ({"type": "int", "adjustable": "yes"}, "`adjustable`"),
        ({"type": "float", "decimal_precision": -1}, "`decimal_precision`"),
    ],
)
def test_a_bad_declaration_is_said_with_its_place_and_name(config: dict[str, Any], said: str) -> None:
    _, problems, _ = read_declarations([{"name": "p", "config": config}], "additional_parameters")

    assert len(problems) == 1
    assert problems[0].startswith("additional_parameters[0]: 'p': ")
    assert said in problems[0]


@pytest.mark.parametrize(
    "raw", [{}, "x", [1], [{}], [{"name": ""}], [{"name": 1, "config": {"type": "int"}}], [{"name": "p"}]]
)
def test_what_is_no_parameter_is_said(raw: Any) -> None:
    parameters, problems, _ = read_declarations(raw, "additional_parameters")

    assert (parameters, len(problems)) == ([], 1)


def test_a_name_is_declared_once() -> None:
    twice = [{"name": "p", "config": {"type": "int"}}] * 2

    assert "is taken" in read_declarations(twice, "x")[1][0]


def test_unknown_keys_warn() -> None:
    raw = [{"name": "p", "unit": "px", "config": {"type": "int", "mni": 1}}]

    _, problems, warnings = read_declarations(raw, "additional_parameters")

    assert problems == []
    assert ["'mni'" in warnings[0], "'unit'" in warnings[1]] == [True, True]


@pytest.mark.parametrize(
    ("name", "shown"), [("min_size", "Min size"), ("sigma", "Sigma"), ("DPI", "DPI"), ("max-size__px", "Max size px")]
)
def test_the_displayed_name_comes_from_the_name(name: str, shown: str) -> None:
    parameters, _, _ = read_declarations([{"name": name, "config": {"type": "int"}}], "x")

    assert parameters[0].displayed_name == shown


def test_what_is_not_declared_is_not_adjustable_and_has_no_options() -> None:
    config = declared(type="int")[0].config

    assert (config.adjustable, config.options) == (False, [])


@pytest.mark.parametrize("options", [[1, 2, 3], [[1], [2, 3]]])
def test_options_of_a_list_are_shown_as_lists_and_allow_the_same(options: list[Any]) -> None:
    told = [shown(one) for one in declared(type="int_list", options=options)]

    assert all(isinstance(option, list) for option in told[0].config.options)
    assert check_parameters(told, {"p": [1, 3]}) == {"p": [1, 3]}


@pytest.mark.parametrize(("kind", "precision"), [("int", None), ("float", 2)])
def test_only_fractions_are_shown_with_a_precision(kind: str, precision: int | None) -> None:
    assert shown(declared(type=kind, decimal_precision=2)[0]).config.decimal_precision == precision


def test_an_enum_without_default_has_its_first_option() -> None:
    assert declared(type="string_enum", options=["b", "a"])[0].config.default == "b"


def test_limits_of_whole_numbers_stay_whole_numbers_in_json() -> None:
    config = declared(type="int_range", min=0, max=10.0, step=1)[0].config

    assert config.model_dump_json(include={"min", "max", "step"}) == '{"min":0,"max":10,"step":1}'


class Compared:
    """Counts how often one of its numbers or texts is compared with another."""

    count = 0


class Number(int):
    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_a_list_is_looked_up_among_its_options_and_not_compared_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Compared, "count", 0)
    parameters = declared(type="int_list", options=list(range(300)))

    check_parameters(parameters, {"p": [Number(number) for number in range(300)]})

    assert Compared.count <= 2 * 300


def test_a_name_that_is_taken_is_found_without_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*(f"p{number}" for number in range(3000)), "p7"]
    raw = [{"name": name, "config": {"type": "int"}} for name in names]
    read: list[str] = []
    monkeypatch.setattr(Parameter, "__getattribute__", _noting(read))

    parameters, problems, _ = read_declarations(raw, "additional_parameters")

    assert (len(parameters), len(problems), "taken" in problems[0]) == (3000, 1, True)
    assert len(read) <= 10 * len(names)


def _noting(read: list[str]) -> Any:
    def note(self: object, name: str) -> Any:
        if name == "name":
            read.append(name)
        return object.__getattribute__(self, name)

    return note
