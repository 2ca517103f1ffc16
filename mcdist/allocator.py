"""Allocator: how the C library keeps what torch frees on a CPU. By its own rule a process holds on to freed tensors of up to 32 MiB."""

import ctypes
import sys

M_MMAP_THRESHOLD = -3
"""glibc's malloc.h."""
RETURN_ABOVE_BYTES = 4 * 2**20


def return_freed_tensors(*, above_bytes: int = RETURN_ABOVE_BYTES) -> bool:
    """Give blocks larger than `above_bytes` back to the system as soon as they are freed. Whether this C library can; only glibc does.

    glibc raises this bound by itself up to 32 MiB with every large block that is freed, and afterwards keeps the holes between blocks: the
    peak of a training step then depends on what was allocated before it. Costs the page faults of fresh memory at each allocation.
    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_MMAP_THRESHOLD, above_bytes) == 1
