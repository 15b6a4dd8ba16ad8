"""What is said of fields in the source: the text that follows a field of a class."""

from __future__ import annotations

import ast
import gc
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel


def field_docs(models: Iterable[type[BaseModel]]) -> Mapping[tuple[str, str], str]:
    """What is said of a field, by the names of its class and its own; of these models and all that are in them."""
    return {
        (model.__name__, field): told
        for model in _all_in(models)
        for above in reversed(model.__mro__)
        for field, told in _of_class(above).items()
        if field in model.model_fields
    }


def _all_in(models: Iterable[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    seen: set[type[BaseModel]] = set()
    left = list(models)
    while left:
        model = left.pop()
        if model not in seen:
            seen.add(model)
            yield model
            left += [one for field in model.model_fields.values() for one in models_in(field.annotation)]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _of_class(cls: type) -> Mapping[str, str]:
    module = inspect.getmodule(cls)
    return _of_module(module).get(cls.__name__, {}) if module is not None and issubclass(cls, BaseModel) else {}


@cache
def _of_module(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    tree = _parsed(inspect.getsource(module))
    return {node.name: dict(_of_body(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _parsed(source: str) -> ast.Module:
    """Without the collection of garbage: what runs then may parse as well (a traceback does), and Python 3.11 counts
    the depth of all parsers as one and raises SystemError (CPython issue 106905)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()


def _of_body(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=field)), ast.Expr(value=ast.Constant(value=str(told))):
                yield field, " ".join(inspect.cleandoc(told).split())
