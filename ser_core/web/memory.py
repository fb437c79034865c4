"""What glibc, the C library of most Linux, does with freed memory. Elsewhere nothing is done."""

import ctypes
import sys
from typing import Any

M_ARENA_MAX = -8
"""`mallopt`'s name for the number of heaps, from glibc's malloc.h."""
N_HEAPS = 2


def share_heaps() -> None:
    """Let all threads allocate from two heaps, not from eight a core, each with gaps of its own.

    To be called before the threads start.
    """
    if mallopt := _from_glibc("mallopt"):
        mallopt(M_ARENA_MAX, N_HEAPS)


def return_memory() -> None:
    """Hand freed memory back to the system."""
    if trim := _from_glibc("malloc_trim"):
        trim(0)


def _from_glibc(name: str) -> Any:
    """A function of glibc, None where that is not the C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
