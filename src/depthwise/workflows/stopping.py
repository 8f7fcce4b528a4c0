"""SIGTERM as an exception, as Ctrl-C is one: so that what is open is closed well."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """SIGTERM came. Not an Exception: nothing that mends errors shall catch it."""


def signum_of(stop: BaseException) -> int:
    """Return the signal behind a Stopped or a KeyboardInterrupt."""
    return signal.SIGTERM if isinstance(stop, Stopped) else signal.SIGINT


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, SIGTERM raises Stopped in the main thread, where signals arrive; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    usual = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
