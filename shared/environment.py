"""What child processes that run other people's code or open other people's files see of our environment."""

from __future__ import annotations

from collections.abc import Mapping

_PASSED = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "MKL_NUM_THREADS",
        "MPLCONFIGDIR",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "TMPDIR",
        "TORCH_HOME",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "XDG_CACHE_HOME",
    }
)
_PASSED_FAMILIES = ("LC_", "CUDA", "NVIDIA")


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be seen: no settings of ours, no credentials."""
    return {name: value for name, value in environment.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
