"""One process at a time: a lock that the system takes back when its holder ends, however it ends."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE_S = 0.1


@contextmanager
def locked(path: Path, *, is_patient: bool = True, on_wait: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made and stays. Yields False when it is taken and we do not wait.

    `on_wait` is called once when another holds it. Not for one process that locks the same file twice. Raises OSError
    where the file cannot be made or its file system knows no locks.
    """
    with open(path, "ab") as file:
        is_ours = _try(file.fileno())
        if not is_ours and is_patient:
            on_wait()
            while not is_ours:
                time.sleep(PAUSE_S)
                is_ours = _try(file.fileno())
        try:
            yield is_ours
        finally:
            if is_ours:
                _release(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def _try(handle: int) -> bool:
        os.lseek(handle, 0, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _release(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
