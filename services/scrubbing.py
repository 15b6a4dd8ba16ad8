"""What `voxloom doctor --scrub` does on behalf of a server: it looks at every byte that the server has stored."""

from __future__ import annotations

from pathlib import Path

from shared.platform import scrubbing
from shared.platform.scrubbing import Tell
from shared.settings import load_settings


def scrub(tell: Tell, *, data: Path | None, give: bool) -> None:
    """Tells of every object of the server that would be started here. With `give`, one without a digest gets that of
    its bytes as they are now; on one machine the server must be stopped for that.

    Raises Misconfigured and StoreUnavailable.
    """
    scrubbing.scrub(load_settings(data=data), tell, give=give)
