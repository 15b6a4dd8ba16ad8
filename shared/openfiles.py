"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

MOST = 65_536


def allow_many() -> None:
    """Every connection is one; systems begin with 1024, for programs older than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
