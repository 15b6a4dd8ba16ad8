"""Why the process that reads a pyproject has come to nothing."""

from __future__ import annotations

import signal

import pytest

from services.deployer import descriptions
from services.deployer.limited_process import Tried


@pytest.mark.parametrize(
    ("tried", "why"),
    [
        (Tried(ended=False, returncode=-signal.SIGKILL, printed=""), "takes longer than 30 s"),
        (Tried(ended=True, returncode=-signal.SIGKILL, printed=""), "takes longer than 30 s"),
        (Tried(ended=True, returncode=-signal.SIGXCPU, printed=""), "takes longer than 30 s"),
        (Tried(ended=True, returncode=1, printed="MemoryError"), "needs more memory than"),
    ],
)
def test_a_pyproject_that_cannot_be_read_is_refused_with_the_reason(tried: Tried, why: str) -> None:
    error = descriptions._unreadable(tried)

    assert why in error.message
    assert error.details == {"log": tried.printed}
