"""One test for all rows of a table, where a test for each would cost more than what it does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Test = Callable[..., Any]


def each(argument: str, values: Iterable[Any], ids: Callable[[Any], str] = str) -> Callable[[Test], Test]:
    """Like `pytest.mark.parametrize`, in one test: it goes through all values, and fails with all that failed.

    All values share the fixtures of the test. Use it for rows that leave nothing behind.
    """
    rows = list(values)
    if not rows:
        raise ValueError(f"there is no value for {argument}")

    def decorate(test: Test) -> Test:
        def run(**fixtures: Any) -> None:
            with _Failures(len(rows)) as failures:
                for row in rows:
                    with failures.noted(f"{argument} = {ids(row)}"):
                        test(**fixtures, **{argument: row})

        async def run_async(**fixtures: Any) -> None:
            with _Failures(len(rows)) as failures:
                for row in rows:
                    with failures.noted(f"{argument} = {ids(row)}"):
                        await test(**fixtures, **{argument: row})

        return _without(argument, test, run_async if inspect.iscoroutinefunction(test) else run)

    return decorate


def _without(argument: str, test: Test, run: Test) -> Test:
    """`run` by the name of `test`, and with its fixtures."""
    signature = inspect.signature(test)
    rest = [parameter for name, parameter in signature.parameters.items() if name != argument]
    functools.update_wrapper(run, test)
    run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]  # pytest reads it
    return run


class _Failures:
    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._errors: list[Exception] = []

    def __enter__(self) -> _Failures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._errors:
            raise ExceptionGroup(f"{len(self._errors)} of {self._rows} rows fail", self._errors)

    @contextmanager
    def noted(self, row: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised with the others at the end
            error.add_note(row)
            self._errors.append(error)
