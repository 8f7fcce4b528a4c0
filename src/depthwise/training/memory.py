"""The C library's memory while training: every step asks for the same tensors again.

glibc gives blocks of more than 32 MiB back to the system when they are freed, and a step of MobileNetV2 on 32 pictures
then waits for 100,000 new pages, a fifth of its time. Here they stay for the next step; the peak hardly changes.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
"""From glibc's malloc.h."""
MIB = 2**20
KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 * MIB}
"""-1: however much is free."""
USUAL = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 64 * MIB, M_TOP_PAD: MIB // 8, M_MMAP_THRESHOLD: 32 * MIB}
"""As glibc has them in a process that once freed such a block."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next allocations. Without glibc, nothing changes."""
    _set(KEPT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """The same within a block; at its end, what is free goes back to the system."""
    keep_freed_memory()
    try:
        yield
    finally:
        _set(USUAL)
        give_back_free_memory()


def give_back_free_memory() -> None:
    """Let the system have what is free now, as after steps that took more than those to come will."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _set(values: dict[int, int]) -> None:
    if _is_glibc():
        library = ctypes.CDLL(None)
        for name, value in values.items():
            library.mallopt(name, value)
