"""How the process holds on to memory between requests."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

__all__ = ["KEPT_BYTES", "give_back_memory", "keep_freed_memory"]

KEPT_BYTES: Final = 64 * 2**20
"""As much freed memory as stays with the process: 1,000 whole nodes, their parts and the answer."""
# The most that glibc takes for a single piece.
_LARGEST_BYTES: Final = 32 * 2**20
# Of glibc's malloc.h; there they are ABI.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def keep_freed_memory() -> bool:
    """Let the C library keep what a large body took, for the next one.

    It would give megabytes back to the kernel after each request, and taking them again
    costs more than all else that is done with the body: each page comes by a fault.

    Returns
    -------
    bool
        Whether this C library could be told; others are left as they are.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Of one arena for each thread all would hold on to what was freed in them: a fifth of the process.
    mallopt(_M_ARENA_MAX, 1)
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES))


def give_back_memory() -> bool:
    """Give freed memory back to the kernel, after work that took much of it and comes seldom.

    Returns
    -------
    bool
        Whether this C library could be told.
    """
    if sys.platform != "linux":
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))
