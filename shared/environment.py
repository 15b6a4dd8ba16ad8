"""What child processes that run other people's code or open other people's files see of our environment."""

from __future__ import annotations

from collections.abc import Mapping

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
"""Where libraries look how many threads they may have; PyTorch goes by the first and the third."""

_PASSED = frozenset(
    {
        *THREADS,
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "MPLCONFIGDIR",
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
