"""`--json`: what every command tells programs. One JSON document on stdout, or one a line where it goes on and on; an
error is a problem document there, with the exit code that it has anyway. What people read of it stays on stderr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from voxloom.errors import VoxloomError

_WANTED = "voxloom.cli.json"


def _note(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta[_WANTED] = wanted
    return wanted


AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs; errors, too.", callback=_note)]


def wants_json(ctx: Any) -> bool:
    """Whether the command under way was given --json."""
    return bool(ctx.meta.get(_WANTED))


def show(answer: BaseModel | Sequence[BaseModel]) -> None:
    """The one document of a command."""
    told = [_plain(one) for one in answer] if isinstance(answer, Sequence) else _plain(answer)
    typer.echo(json.dumps(told, indent=2))


def show_line(answer: BaseModel) -> None:
    """One of many documents, each a line."""
    typer.echo(json.dumps(_plain(answer)))


def _plain(answer: BaseModel) -> Any:
    return answer.model_dump(mode="json")


def show_problem(error: VoxloomError | OSError, sentence: str) -> None:
    from voxloom.errors import VoxloomError
    from voxloom.models import Problem

    ours = error if isinstance(error, VoxloomError) else VoxloomError(sentence, code="os_error")
    show(
        Problem(
            title=type(error).__name__,
            status=ours.http_status,
            detail=sentence,
            code=ours.code,
            retryable=ours.retryable,
            details=json.loads(json.dumps(ours.details, default=str)) or None,
        )
    )
