from typing import Any


def debug(
    algo_dir: str = ".", data: str = ".", params: dict[str, Any] | None = None, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Runs the algorithm in a folder on local data, prints its log and outputs, and returns the outputs."""
    from voxloom.compat.debugging import (
        debug as run,
    )  # What it needs is heavy, and this is imported by every Runner.py.

    return run(algo_dir, data, params, device)
