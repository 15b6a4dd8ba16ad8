"""How many threads libraries use, said to those that are loaded already, too."""

from __future__ import annotations

import os
from collections.abc import Mapping


def limit(variables: Mapping[str, str]) -> None:
    """Sets these variables, which libraries read while they are imported. What is there by now is told directly."""
    if not variables or variables.items() <= os.environ.items():
        return
    from threadpoolctl import threadpool_limits

    os.environ.update(variables)
    said = {"openmp": "OMP_NUM_THREADS", "blas": "OPENBLAS_NUM_THREADS"}
    threadpool_limits({kind: int(variables[name]) for kind, name in said.items() if name in variables})
