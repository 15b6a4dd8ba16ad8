"""Parameters: what an algorithm may declare, and what may be sent to one.

What a value of a type is:

    string, int, float, bool     an int is a good float, 3.0 a good int; a bool is neither
    int_range, float_range       one number from `min` to `max` (`step` is for user interfaces)
    *_enum                       one of `options`
    *_list                       a list of such values, each among `options` where there are any

Values are handed on in the declared type: 3.0 sent for an int arrives as 3, 1 sent for a float as 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from voxloom.errors import InvalidInput
from voxloom.models import Parameter, ParameterConfig, ParameterType
from voxloom.nearest import hint

_NAMED = 5
_SHOWN = 80
"""Characters of a name."""
TYPES: tuple[str, ...] = get_args(ParameterType)
_KEYS = {"name", "displayed_name", "description", "config"}
_CONFIG_KEYS = set(ParameterConfig.model_fields)
_WORDS = {"string": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


class _Unfit(Exception):
    """A value is not what was declared; says what would be, and where in a list it went wrong."""

    def __init__(self, message: str, *where: int) -> None:
        super().__init__(message)
        self.where = where


# --- what is sent -----------------------------------------------------------------------------------------


def check_parameters(declared: Sequence[Parameter], sent: Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """What the author's code gets as `args`: what was sent, with the declared defaults filled in.

    Undeclared parameters are passed on as they are; `strict`: refused. A null counts as not sent where there is a
    default; a default of None fills nothing.

    Raises:
        InvalidInput: `request_validation_error`; `details["errors"]` names every bad parameter.
    """
    args = dict(sent)
    errors = [_undeclared(name, declared) for name in undeclared(declared, sent)[:_NAMED]] if strict else []
    for parameter in declared:
        name, config = parameter.name, parameter.config
        if args.get(name) is None:
            if config.default is not None:
                args[name] = _copy(config.default)
            continue
        try:
            args[name] = _fit(config, args[name])
        except _Unfit as error:
            errors.append({"loc": ["additional_parameters", name, *error.where], "msg": f"must be {error}"})
    if errors:
        raise _refused(errors)
    return args


def beyond(sent: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `args` that are not as they were sent: `{**sent, **beyond(sent, args)}` is `args`."""
    return {name: value for name, value in args.items() if name not in sent or not _same(sent[name], value)}


def _same(one: Any, other: Any) -> bool:
    """Whether they are the same to the author's code, for which 1 is not 1.0 and not True."""
    if isinstance(one, list) and isinstance(other, list):
        return one is other or (len(one) == len(other) and all(map(_same, one, other)))
    return one is other or (type(one) is type(other) and bool(one == other))


def undeclared(declared: Sequence[Parameter], sent: Mapping[str, Any]) -> list[str]:
    """Names that were sent and are not declared: misspelt, perhaps."""
    known = {parameter.name for parameter in declared}
    return [name for name in sent if name not in known]


def warnings(declared: Sequence[Parameter], sent: Mapping[str, Any]) -> list[str]:
    """A sentence for each parameter that is not declared, as far as anybody would read them."""
    names = undeclared(declared, sent)
    known = [parameter.name for parameter in declared]
    said = [
        f"The algorithm declares no parameter {name[:_SHOWN]!r}{hint(name, known)}; it is passed on as it is."
        for name in names[:_NAMED]
    ]
    left = len(names) - len(said)
    return [*said, f"{left} more parameters are not declared."] if left else said


def _undeclared(name: str, declared: Sequence[Parameter]) -> dict[str, Any]:
    known = [parameter.name for parameter in declared]
    return {"loc": ["additional_parameters", name], "msg": f"is not declared{hint(name, known)}"}


def _refused(errors: list[dict[str, Any]]) -> InvalidInput:
    said = "; ".join(f"{error['loc'][1]!r} {error['msg']}" for error in errors)
    return InvalidInput(
        f"The parameters do not fit what the algorithm declares: {said}.",
        code="request_validation_error",
        details={"errors": errors},
    )


def _copy(default: Any) -> Any:
    return list(default) if isinstance(default, list) else default


def _fit(config: ParameterConfig, value: Any) -> Any:
    """The value in its declared type. Raises _Unfit."""
    base, _, form = config.type.partition("_")
    if form == "list":
        return _fit_list(base, config, value)
    fitted = _fit_one(base, value)
    if form == "enum" and not _among(fitted, config.options):
        raise _Unfit(f"one of {_listed(config.options)}")
    if base in ("int", "float") and not _within(fitted, config):
        raise _Unfit(f"{_WORDS[base]} {_bounds(config)}")
    return fitted


def _fit_list(base: str, config: ParameterConfig, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _Unfit(f"a list, each item {_WORDS[base]}")
    options = _flat(config.options)
    known = {_told_apart(option) for option in options}
    fitted = []
    for index, item in enumerate(value):
        try:
            one = _fit_one(base, item)
        except _Unfit as error:
            raise _Unfit(str(error), index) from None
        if options and _told_apart(one) not in known:
            raise _Unfit(f"one of {_listed(options)}", index)
        fitted.append(one)
    return fitted


def _fit_one(base: str, value: Any) -> Any:
    good = {"string": _text, "int": _whole, "float": _number, "bool": _truth}[base](value)
    if good is None:
        raise _Unfit(_WORDS[base])
    return good


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _among(value: Any, options: Sequence[Any]) -> bool:
    return any(_told_apart(value) == _told_apart(option) for option in options)


def _told_apart(value: Any) -> tuple[bool, Any]:
    """A bool is equal to a number, and none."""
    return isinstance(value, bool), value


def _within(value: float, config: ParameterConfig) -> bool:
    return (config.min is None or value >= config.min) and (config.max is None or value <= config.max)


def _bounds(config: ParameterConfig) -> str:
    if config.max is None:
        return f"not below {config.min}"
    return f"not above {config.max}" if config.min is None else f"from {config.min} to {config.max}"


def _listed(options: Sequence[Any]) -> str:
    shown = ", ".join(repr(option) for option in options[:20])
    return shown if len(options) <= 20 else f"{shown}, …"


def _flat(options: Sequence[Any]) -> list[Any]:
    """The options of a list type may be written as items or as whole lists."""
    return [item for option in options for item in (option if isinstance(option, list) else [option])]


# --- what is shown ----------------------------------------------------------------------------------------


def shown(parameter: Parameter) -> Parameter:
    """The parameter as clients of Compox can read it: each option of a list is a list itself, and only numbers with a
    fraction have `decimal_precision`. What may be sent stays the same."""
    base, _, form = parameter.config.type.partition("_")
    config = parameter.config
    update: dict[str, Any] = {}
    if form == "list" and not all(isinstance(option, list) for option in config.options):
        update["options"] = [option if isinstance(option, list) else [option] for option in config.options]
    if base != "float" and config.decimal_precision is not None:
        update["decimal_precision"] = None
    return parameter.model_copy(update={"config": config.model_copy(update=update)}) if update else parameter


# --- what is declared -------------------------------------------------------------------------------------


def read_declarations(raw: Any, where: str) -> tuple[list[Parameter], list[str], list[str]]:
    """The parameters in a table of a pyproject, what is wrong with them, and what is odd (but no error)."""
    if not isinstance(raw, list):
        return [], [f"{where} must be a list of parameters"], []
    parameters: dict[str, Parameter] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for index, item in enumerate(raw):
        spot = f"{where}[{index}]"
        try:
            parameter = _declaration(item, spot, warnings)
            if parameter.name in parameters:
                raise _Unfit(f"the name {parameter.name!r} is taken by an earlier one")
            parameters[parameter.name] = parameter
        except _Unfit as error:
            problems.append(f"{spot}: {error}")
    return list(parameters.values()), problems, warnings


def _declaration(item: Any, spot: str, warnings: list[str]) -> Parameter:
    if not isinstance(item, dict):
        raise _Unfit("it must be a table with `name` and `config`")
    name, config = item.get("name"), item.get("config")
    if not isinstance(name, str) or not name.strip():
        raise _Unfit("`name` must be a text and not empty")
    if not isinstance(config, dict):
        raise _Unfit(f"{name!r} needs a table `config` with at least a `type`")
    unknown = sorted((item.keys() - _KEYS) | (config.keys() - _CONFIG_KEYS))
    warnings.extend(f"{spot} {name!r}: the key {key!r} is not known and was ignored" for key in unknown)
    try:
        return Parameter(
            name=name,
            displayed_name=_optional_text(item, "displayed_name") or _displayed(name),
            description=_optional_text(item, "description"),
            config=_config(config),
        )
    except _Unfit as error:
        raise _Unfit(f"{name!r}: {error}") from None


def _optional_text(item: dict[str, Any], key: str) -> str:
    value = item.get(key, "")
    if not isinstance(value, str):
        raise _Unfit(f"`{key}` must be a text")
    return value


def _displayed(name: str) -> str:
    words = " ".join(name.replace("_", " ").replace("-", " ").split())
    return words[:1].upper() + words[1:] or name


def _config(raw: dict[str, Any]) -> ParameterConfig:
    kind = raw.get("type")
    if kind not in TYPES:
        raise _Unfit(f"`type` is {kind!r}; it must be one of {', '.join(TYPES)}")
    base, _, form = kind.partition("_")
    config = ParameterConfig(
        type=kind,
        adjustable=_adjustable(raw),
        options=_options(base, form, raw),
        min=_limit(base, raw, "min"),
        max=_limit(base, raw, "max"),
        step=_limit(base, raw, "step"),
        decimal_precision=_precision(raw),
    )
    _check_limits(form, config)
    return config.model_copy(update={"default": _default(config, form, raw.get("default"))})


def _adjustable(raw: dict[str, Any]) -> bool:
    value = raw.get("adjustable", False)
    if not isinstance(value, bool):
        raise _Unfit("`adjustable` must be true or false")
    return value


def _precision(raw: dict[str, Any]) -> int | None:
    value = raw.get("decimal_precision")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise _Unfit("`decimal_precision` must be a whole number, 0 or more")
    return value


def _options(base: str, form: str, raw: dict[str, Any]) -> list[Any]:
    options = raw.get("options")
    if options is None and form != "enum":
        return []
    if not isinstance(options, list) or (form == "enum" and not options):
        raise _Unfit("`options` must be a list, and an enum needs at least one")
    try:
        return [_option(base, form, option) for option in options]
    except _Unfit as error:
        raise _Unfit(f"each of `options` must be {error}") from None


def _option(base: str, form: str, option: Any) -> Any:
    if form == "list" and isinstance(option, list):
        return [_fit_one(base, item) for item in option]
    return _fit_one(base, option)


def _limit(base: str, raw: dict[str, Any], key: str) -> float | None:
    """`min`, `max` or `step`; they mean nothing for texts and truths, where they are left out."""
    value = raw.get(key)
    if value is None or base not in ("int", "float"):
        return None
    try:
        limit: float = _fit_one(base, value)
    except _Unfit as error:
        raise _Unfit(f"`{key}` must be {error}") from None
    return limit


def _check_limits(form: str, config: ParameterConfig) -> None:
    missing = [key for key in ("min", "max", "step") if getattr(config, key) is None]
    if form == "range" and missing:
        raise _Unfit(f"a range needs `min`, `max` and `step`; {', '.join(missing)} is missing")
    if config.min is not None and config.max is not None and config.min >= config.max:
        raise _Unfit(f"`min` is {config.min} and `max` is {config.max}; `min` must be the smaller one")
    if config.step is not None and config.step <= 0:
        raise _Unfit(f"`step` is {config.step}; it must be more than 0")


def _default(config: ParameterConfig, form: str, raw: Any) -> Any:
    if raw is None:
        return config.options[0] if form == "enum" and config.options else None
    try:
        return _fit(config, raw)
    except _Unfit as error:
        raise _Unfit(f"`default` is {raw!r}; it must be {error}") from None
