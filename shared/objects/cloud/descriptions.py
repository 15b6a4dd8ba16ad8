"""What the library reads of S3 in its own files, before it can make a client: some megabytes of JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import create_loader


def share(session: Any) -> None:
    """All sessions of the process read the files once, together; each would do it for itself. Nobody changes what was
    read."""
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))


@cache
def _loader(path: str | None) -> Any:
    """`path`: where users keep descriptions of their own."""
    return create_loader(path)
