"""How the process deals with its memory."""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of the C library's mallopt."""

_LARGEST_BUFFER = 4 << 20
_KEPT = 32 << 20


def keep_buffers() -> None:
    """From now on the process uses the memory of its buffers again, up to 32 MiB of it, instead of returning it.

    Bytes come and go in pieces of 256 KiB to 1 MiB, thousands a second. The C library would give back each of them to
    the system and get it anew, page by page and cleared: more work than all else that is done with a piece. Elsewhere
    than with the GNU C library it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BUFFER)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def keep_imports() -> None:
    """What there is now stays for good, so the garbage collector no longer looks at it. It is most of what it would
    look at: a process of ours imports some hundred thousand objects, and stands still while they are searched."""
    gc.freeze()
