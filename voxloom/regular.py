"""Files that another process may have put something else in place of."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read a regular file with: a link is not followed, nor a pipe waited for. Blocks.

    Raises OSError, which is FileNotFoundError where there is something else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)


def read_regular(path: Path, most: int) -> bytes | None:
    """Its first bytes, at most so many; None where there is no regular file. Blocks."""
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(opened(path))
        except OSError:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
